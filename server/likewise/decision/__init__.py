"""Where reuse is safe, and how much of it: policies that turn neighbors into verdicts.

Pure: no clock, no lock, no I/O, no hidden randomness. Start at `catalog.make_policy`.
"""

from likewise.decision.ledger import Ledger
from likewise.decision.make import POLICIES, make_policy

__all__ = ["POLICIES", "Ledger", "make_policy"]
