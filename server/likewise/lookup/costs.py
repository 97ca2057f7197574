"""What computing a result may plausibly have cost: devices say so themselves, and what is dear is kept longer."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

MAX_COST_S = 600.0
"""No inference counts for more seconds than this."""
PLAUSIBLE = 4.0
"""Times the median that a cost may count for."""
_LEAST_S = 1e-6
_STEP = 1.02
_FAR_STEP = 1.0002
"""What an implausible cost moves the median by: thousands of them hardly do."""


class Costs:
    """The running median of the costs of one function, and what it makes of those that are said.

    The median moves by two percent with each cost, up or down, whatever its size: a few that are far too high move it
    by little, and the costs of as many honest entries move it back. Source of the estimate: stochastic approximation
    of a quantile (Robbins and Monro, 1951), in the logarithm.
    """

    def __init__(self) -> None:
        self._median = 0.0

    @property
    def limit_s(self) -> float:
        """The most that a cost counts for now, in seconds."""
        return min(MAX_COST_S, PLAUSIBLE * self._median) if self._median else MAX_COST_S

    def note(self, cost_s: float) -> float:
        """Take in the cost of a new entry, in seconds; return it, at least 0 and at most `MAX_COST_S`."""
        cost_s = min(cost_s, MAX_COST_S) if cost_s > 0.0 else 0.0  # NaN is 0, too
        seen = max(cost_s, _LEAST_S)
        if not self._median:
            self._median = seen
        elif seen > self._median:
            self._median = min(seen, self._median * (_STEP if seen <= PLAUSIBLE * self._median else _FAR_STEP))
        else:
            self._median = max(seen, self._median / _STEP)
        return cost_s

    def note_many(self, costs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what `note` does for each, shape (n,); as many steps of the median are taken at once."""
        costs = np.clip(np.nan_to_num(costs, nan=0.0, posinf=MAX_COST_S, neginf=0.0), 0.0, MAX_COST_S)
        if costs.size:
            middle = max(float(np.median(costs)), _LEAST_S)
            if not self._median:
                self._median = middle
            else:
                reach = costs.size * math.log(_STEP if middle <= PLAUSIBLE * self._median else _FAR_STEP)
                self._median *= math.exp(min(reach, max(-reach, math.log(middle / self._median))))
        return costs
