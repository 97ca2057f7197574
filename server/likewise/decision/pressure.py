"""How hard a function has to save computation just now, and what a token is worth then."""

from __future__ import annotations

AIM = 0.9
"""What of its budgets is to be used: above, pressure rises; below, it falls."""
RATE = 0.5
"""Level that pressure gains in a second for each time that a budget is exceeded."""
MOST_STEP = 2.0
LEAST_STEP = -0.5
"""Bounds of what a budget is exceeded by, so that a spike does not count for more, and relief comes slowly."""
LONGEST_S = 5.0
"""Time without news counts for no more."""
FASTEST = 0.02
"""Price of a token at full pressure, as a share of the usual one, where there are plenty of tokens."""
SAVING = 2.0
"""Price of a token where nothing is asked for, as a multiple of the usual one."""
PLENTY = 30.0
"""Tokens from which they are spent at the price of full pressure. With none the usual price is the cheapest in the
long run: an emptied ledger probes nearly every request, which costs more than it saves."""


class Pressure:
    """A level from -1 (idle: tokens are saved) to 1 (spend what there is); an integrator, as a thermostat has one.

    Source: the schedulers of MCDNN (Han et al., MobiSys 2016) and NestDNN (Fang et al., MobiCom 2018) choose among
    variants by accuracy lost per resource; here the price of a token does, so the accuracy target stays.
    """

    __slots__ = ("level",)

    def __init__(self) -> None:
        self.level = 0.0

    def follow(self, load: float, elapsed_s: float) -> None:
        """Take in what is used of the budgets, as a share of the one that is used most, 1: all of it."""
        step = min(max(load - AIM, LEAST_STEP), MOST_STEP) * RATE * min(max(elapsed_s, 0.0), LONGEST_S)
        self.level = min(max(self.level + step, -1.0), 1.0)

    def price(self, tokens: float) -> float:
        """Return the price of a token as a multiple of the usual one; tokens: that there are, at least 0."""
        if self.level <= 0.0:
            return float(SAVING**-self.level)
        return float(FASTEST ** (self.level * min(tokens / PLENTY, 1.0)))
