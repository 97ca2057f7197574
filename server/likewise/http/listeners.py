"""Who follows the changes of functions: bounded, shared among accounts, and sent away when the server stops."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from likewise.errors import Overloaded
from likewise.shares import Shares


@dataclass(slots=True, eq=False)
class Listener:
    """One stream of changes."""

    account: str
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there is something to tell, or when it is over."""
    over: bool = False
    """Whether it has to end."""

    def end(self) -> None:
        """Have it end."""
        self.over = True
        self.news.set()


class Listeners:
    """All streams of changes of a worker. Belongs to one event loop."""

    def __init__(self) -> None:
        self._all: Shares[Listener] = Shares()
        self._stopping = False

    def __len__(self) -> int:
        return len(self._all)

    def join(self, account: str, limit: int) -> Listener:
        """Return a place, to be left again. limit: places in all.

        Where all are taken the oldest stream of the account that has most of them makes room, if that account has more
        than this one would have then. Raises Overloaded.
        """
        if len(self) >= limit:
            if limit == 0 or self._all.of(self._all.greediest()) <= self._all.of(account) + 1:
                raise Overloaded(f"{len(self)} devices follow changes here already, the limit; ask again later.")
            self._all.give_up()[1].end()
        listener = Listener(account)
        self._all.add(account, listener)
        if self._stopping:
            listener.end()
        return listener

    def leave(self, listener: Listener) -> None:
        """Free a place; one may leave twice."""
        self._all.remove(listener.account, listener)

    def stop(self) -> None:
        """End all streams, those that come later, too: the server stops, and does not wait for them."""
        self._stopping = True
        for listener in self._all:
            listener.end()
