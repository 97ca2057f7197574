"""Where reuse is safe, and how much of it: policies that turn neighbors into verdicts.

Pure: no clock, no lock, no I/O, no hidden randomness. Start at `make.make_policy`.
"""

from likewise.decision.budget import Budget
from likewise.decision.ledger import Ledger
from likewise.decision.make import POLICIES, make_policy, neighbors_read

__all__ = ["POLICIES", "Budget", "Ledger", "make_policy", "neighbors_read"]
