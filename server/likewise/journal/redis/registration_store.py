"""Functions registered at run time, as Redis keeps them: the newest change of each name, for nodes of now and later.

- `PREFIX:{registered}`: the set of all names.
- `PREFIX:{registered}:NAME`: a hash with the newest change of a name as `frame` (a function with its files, or that it
  was removed), and as `at` when it was made. One command sets both.

Not a stream, since a node that joins later needs all of it and a model is large. Every node compares these moments with
its own now and then, takes what is newer there, and puts what is newer here: so it ends alike on all, whoever was away,
and also where Redis lost everything.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from typing import NamedTuple

from likewise.errors import JournalError
from likewise.journal import codec
from likewise.journal.redis.refusals import CommandRefused
from likewise.journal.redis.streams import Link, Names
from likewise.ports import Registrations
from likewise.records import Registered, Unregistered

_log = logging.getLogger(__name__)

Change = Registered | Unregistered


class _Published(NamedTuple):
    """A change of a name that was made in this very process."""

    at: float
    change: Change | None
    """None: it is in Redis; where Redis loses it, the registrations have it."""
    sent: bool = False
    """It was seen in Redis, or a newer one."""


class RegistrationStore:
    """One node's side of the functions registered at run time."""

    def __init__(self, link: Link, names: Names) -> None:
        self._link = link
        self._names = names
        self._published: dict[str, _Published] = {}
        self._read: dict[str, float] = {}
        self._unsendable: dict[str, float] = {}
        self._unusable: set[str] = set()
        """Names whose key, and the name empty where the set of all, is used by somebody else for something else."""
        self.registrations: Registrations | None = None
        """What this node keeps, where it keeps any."""
        self.refused = 0
        """Changes of others that could not be read."""

    def publish(self, change: Change) -> None:
        """Have a change sent with the next `exchange`, in place of an older one of its name."""
        name = _name(change)
        if change.at >= self._known(name):
            self._published[name] = _Published(change.at, change)

    @property
    def pending(self) -> int:
        """Changes that are not in Redis yet."""
        return sum(not published.sent for published in self._published.values())

    async def exchange(self) -> list[Change]:
        """Send what is newer here and return what is newer there. Raises JournalError where Redis does not do it.

        A key that is not what it should be keeps nothing but itself from being exchanged.
        """
        try:
            theirs = await self._moments()
        except CommandRefused as error:
            self._leave_alone("", error)
            return []
        for name, published in list(self._published.items()):
            if not published.sent and theirs.get(name, -math.inf) >= published.at:
                # what was removed is nowhere else, and small
                kept = published.change if isinstance(published.change, Unregistered) else None
                self._published[name] = _Published(published.at, kept, sent=True)
        for name in {*self._kept(), *self._published} - self._unusable:
            if max(theirs.get(name, -math.inf), self._unsendable.get(name, -math.inf)) < self._ours(name):
                try:
                    await self._put(name)
                except CommandRefused as error:
                    self._leave_alone(name, error)
        found: list[Change] = []
        for name, at in theirs.items():
            if at > self._known(name) and (change := await self._get(name)) is not None:
                found.append(change)
            self._read[name] = max(at, self._read.get(name, at))
        return sorted(found, key=lambda change: change.at)

    async def _moments(self) -> dict[str, float]:
        """Return when the newest change of each name was made that Redis has."""
        names = [raw.decode(errors="replace") for raw in await self._link.ask("SMEMBERS", self._names.registered)]
        self._unusable.discard("")
        names = sorted({*names, *self._unusable})
        if not names:
            return {}
        answers = await self._link.ask_many([("HGET", self._names.registered_change(name), "at") for name in names])
        moments: dict[str, float] = {}
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, CommandRefused):
                self._leave_alone(name, answer)
            elif isinstance(answer, JournalError):
                raise answer
            else:
                moments[name] = _moment(answer)
                self._unusable.discard(name)
        return moments

    def _leave_alone(self, name: str, error: CommandRefused) -> None:
        if name not in self._unusable:
            self._unusable.add(name)
            self.refused += 1
            what = f"the function {name!r}" if name else "functions"
            _log.error("What is registered of %s is not shared until its key in Redis is gone. %s", what, error.detail)

    def _kept(self) -> Mapping[str, float]:
        return self.registrations.kept() if self.registrations is not None else {}

    def _ours(self, name: str) -> float:
        """Return when the newest change of a name was made that this node could publish again."""
        published = self._published.get(name)
        return max(published.at if published else -math.inf, self._kept().get(name, -math.inf))

    def _known(self, name: str) -> float:
        return max(self._ours(name), self._read.get(name, -math.inf))

    async def _put(self, name: str) -> None:
        published = self._published.get(name)
        change = published.change if published and published.at >= self._kept().get(name, -math.inf) else None
        if change is None and self.registrations is not None:
            change = await asyncio.to_thread(self.registrations.registration, name)
        if change is None:
            return
        try:
            frame = await asyncio.to_thread(codec.encode, change)
        except JournalError as error:
            _log.error("%s cannot be shared: %s", change.function, error.detail)
            self._unsendable[name] = change.at
            return
        # Where two nodes do this at once, the older change may stay: who has the newer one sees it and sends it again.
        await self._link.ask("HSET", self._names.registered_change(name), "at", repr(change.at), "frame", frame)
        await self._link.ask("SADD", self._names.registered, name)

    async def _get(self, name: str) -> Change | None:
        frame = await self._link.ask("HGET", self._names.registered_change(name), "frame")
        try:
            change = await asyncio.to_thread(codec.decode, frame or b"")
        except JournalError as error:
            self.refused += 1
            _log.error("What Redis keeps of the function %s is left alone: %s", name, error.detail)
            return None
        return change if isinstance(change, Registered | Unregistered) and _name(change) == name else None


def _name(change: Change) -> str:
    return change.function.partition("@")[0]


def _moment(raw: bytes | None) -> float:
    try:
        at = float(raw or b"")
    except ValueError:
        return -math.inf
    return at if math.isfinite(at) else -math.inf  # nothing would ever be newer
