"""How often and when to try again."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

SHORTEST_S = 0.02
"""Backoff that keeps rounds without a limit from following each other at once."""


@dataclass(frozen=True)
class Retry:
    """Settings for trying again: exponential backoff with full jitter, honoring `Retry-After`.

    A round asks each node at most once; only between rounds does the client sleep. Rounds follow each other until
    the deadline, so that a server that restarts within it is waited for. What a client may repeat is bounded over all
    its calls, too: once its budget is spent, a failure is raised at once. Where a node could not even be reached, the
    next one is asked all the same.
    """

    rounds: int | None = None
    """Rounds at most, at least 1; 1 means never to try again on the same node; None: until the deadline."""
    first_delay_s: float = 0.1
    """Longest sleep after the first round; it doubles from round to round. At least 0.02 without a limit of rounds."""
    max_delay_s: float = 5.0
    """No backoff is longer than this."""
    deadline_s: float = 30.0
    """No round begins later than this after the call began."""
    budget: float = 0.2
    """Retries and hedges for each call of the client, over all its calls; 0 leaves `burst` and `per_s`."""
    burst: int = 100
    """Retries and hedges that a client may make at once, beyond the budget's share; they come back with its calls."""
    per_s: float = 0.5
    """Retries that come back with time, so that a client that calls seldom outlasts more than one outage."""

    def __post_init__(self) -> None:
        if self.rounds is not None and (isinstance(self.rounds, float) or self.rounds < 1):
            raise ValueError(f"Retry: rounds is a whole number, at least 1, or None, not {self.rounds!r}")
        if isinstance(self.burst, float) or self.burst < 0:
            raise ValueError(f"Retry: burst is a whole number, at least 0, not {self.burst!r}")
        for name in ("budget", "per_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"Retry: {name} is a number, at least 0, not {getattr(self, name)!r}")
        for name in ("first_delay_s", "max_delay_s", "deadline_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"Retry: {name} is a number of seconds, at least 0, not {getattr(self, name)!r}")

    def wait_s(self, round_number: int, spent_s: float, retry_after_s: float, rng: random.Random) -> float | None:
        """Return how long to sleep after a round, in seconds; None where no other round may follow.

        round_number: 0 after the first round. spent_s: since the call began. retry_after_s: what the server asked for.
        Drawn evenly from [0, backoff] (full jitter), on top of what the server asked for, so that clients told the
        same second do not come back all at once; cut where it would end after the deadline.
        """
        left_s = self.deadline_s - spent_s
        if round_number + 1 == self.rounds or left_s <= 0 or retry_after_s > left_s:
            return None
        backoff_s = min(self.max_delay_s, self.first_delay_s * 2.0 ** min(round_number, 60))
        if self.rounds is None:
            backoff_s = max(backoff_s, SHORTEST_S)
        return min(left_s, retry_after_s + rng.uniform(0.0, backoff_s))


NEVER = Retry(rounds=1)
"""One round: every node once, then the error."""
