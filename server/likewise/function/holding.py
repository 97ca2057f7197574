"""Requests that are not decided yet, since the tokens that their answers would be given by are tied up in probes.

A probe holds nearly all tokens until its result is there; meanwhile hardly anything is answered but by the full model.
Where inputs wait for that already, a request is answered sooner, and computes less, if it waits for the probe, which
goes first.
"""

from __future__ import annotations

import asyncio

from likewise.decision.budget import Budget
from likewise.ports import Runner
from likewise.requests import Asked

MOST = 256
"""Requests that wait so at once; others are computed for certain."""


class Holding:
    """Says who has to wait for probes to be settled, and wakes those who do. Belongs to one event loop."""

    def __init__(self, runner: Runner, budget: Budget) -> None:
        """Set up. runner: computes the probes; budget: whose tokens they hold."""
        self._runner = runner
        self._budget = budget
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._came = 0
        self.held = 0
        """Requests that wait now."""

    @property
    def has_room(self) -> bool:
        """Whether one more may wait."""
        return self.held < MOST

    def tied_up(self, asked: Asked) -> bool:
        """Say whether tokens are tied up that it could be answered by, and the model is busy with others."""
        runner = self._runner
        if not runner.queued:
            return False
        return not runner.takes_probes or self._budget.ledger(asked.account).tied_up

    def __enter__(self) -> int:
        """Count one that waits, and return its number."""
        self.held += 1
        self._came += 1
        return self._came

    def __exit__(self, *_: object) -> None:
        """Count one less."""
        self.held -= 1

    def settled(self) -> None:
        """Wake those who wait: a result is there, or will never be.

        The last who came goes first: where more come than can be answered, some are answered soon so, and not all late.
        """
        waiting, self._waiting = self._waiting, {}
        for number in sorted(waiting, reverse=True):
            if not waiting[number].done():
                waiting[number].set_result(None)

    def next(self, number: int) -> asyncio.Future[None]:
        """Return what is done with the next result, for the request of that number."""
        found = self._waiting[number] = asyncio.get_running_loop().create_future()
        return found
