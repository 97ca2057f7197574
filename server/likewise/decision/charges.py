"""Charges check the score: they say whether more false hits were served than the confidence foresaw."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

DOUBT = 15.0
"""Tokens that expected and real charges are both raised by before they are compared, so that one charge is no panic."""
HALF_LIFE = 1000.0
"""Requests after which the comparison has half forgotten."""
MOST = 5.0


class ChargeCheck:
    """The ledger's charges estimate the false hits served without bias, whatever the evidence says.

    Where they exceed what was foreseen, the evidence is worth less here than elsewhere, and every risk is to be taken
    for so much larger.
    """

    __slots__ = ("_at", "_charged", "expected", "factor")

    def __init__(self) -> None:
        self.expected = 0.0
        """False hits served, as foreseen; the policy adds to it directly, on its fastest path."""
        self.factor = 1.0
        """How much larger than foreseen a risk is taken for, 1 to 5."""
        self._charged = 0.0
        self._at = 0

    def charge(self, tokens: float) -> None:
        """Add what a detected false hit cost."""
        self._charged += tokens

    def compare(self, clock: int) -> None:
        """Set the factor. clock: requests so far."""
        forget = 0.5 ** ((clock - self._at) / HALF_LIFE)
        self._at = clock
        self.expected *= forget
        self._charged *= forget
        self.factor = min(max((self._charged + DOUBT) / (self.expected + DOUBT), 1.0), MOST)

    def state(self) -> dict[str, float]:
        """Return all of it, JSON-able."""
        return {"expected": self.expected, "charged": self._charged, "factor": self.factor}

    def restore(self, state: Mapping[str, Any], clock: int) -> None:
        """Take over a state. Raises KeyError, TypeError or ValueError where it is none."""
        expected, charged, factor = float(state["expected"]), float(state["charged"]), float(state["factor"])
        if not (1.0 <= factor <= MOST and 0.0 <= expected < inf and 0.0 <= charged < inf):
            raise ValueError(f"factor {factor}, expected {expected}, charged {charged}")
        self.expected, self._charged, self.factor, self._at = expected, charged, factor, clock
