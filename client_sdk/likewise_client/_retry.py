"""How often and when to try again."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retry:
    """Settings for trying again: exponential backoff with full jitter, honoring `Retry-After`.

    A round asks each node at most once; only between rounds does the client sleep.
    """

    rounds: int = 4
    """Rounds in all, at least 1; 1 means never to try again on the same node."""
    first_delay_s: float = 0.1
    """Longest sleep after the first round; it doubles from round to round."""
    max_delay_s: float = 5.0
    """No backoff is longer than this."""
    deadline_s: float = 30.0
    """No sleep begins that would end later than this after the call began."""

    def __post_init__(self) -> None:
        if self.rounds < 1 or min(self.first_delay_s, self.max_delay_s, self.deadline_s) < 0:
            raise ValueError("Retry takes at least 1 round and no negative seconds")

    def delay_s(self, round_number: int, retry_after_s: float, rng: random.Random) -> float:
        """Return how long to sleep after a round, in seconds.

        round_number: 0 after the first round. Drawn evenly from [0, backoff] (full jitter), on top of what
        the server asked for, so that clients told the same second do not come back all at once.
        """
        backoff = min(self.max_delay_s, self.first_delay_s * 2.0 ** min(round_number, 60))
        return retry_after_s + rng.uniform(0.0, backoff)


NEVER = Retry(rounds=1)
"""One round: every node once, then the error."""
