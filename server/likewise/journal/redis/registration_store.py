"""Functions registered at run time, as Redis keeps them: the newest word on each name, for nodes of now and later.

- `PREFIX:{registered}`: the set of all names.
- `PREFIX:{registered}:NAME`: a hash with the newest word on a name as `frame` (a function with its files, or that it
  was removed), and as `at` when it was said. One command sets both.

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
from likewise.journal.redis.streams import Link, Names
from likewise.ports import Registrations
from likewise.types import Registered, Unregistered

_log = logging.getLogger(__name__)

Word = Registered | Unregistered


class _Said(NamedTuple):
    """What was said on a name by this very process."""

    at: float
    word: Word | None
    """None: it is in Redis; where Redis loses it, the registrations have it."""
    sent: bool = False
    """It was seen in Redis, or a newer one."""


class Shelf:
    """One node's side of the functions registered at run time."""

    def __init__(self, link: Link, names: Names) -> None:
        self._link = link
        self._names = names
        self._said: dict[str, _Said] = {}
        self._read: dict[str, float] = {}
        self._unsendable: dict[str, float] = {}
        self.registrations: Registrations | None = None
        """What this node keeps, where it keeps any."""
        self.refused = 0
        """Words of others that could not be read."""

    def say(self, word: Word) -> None:
        """Have a word sent with the next `exchange`, in place of an older one on its name."""
        name = _name(word)
        if word.at >= self._known(name):
            self._said[name] = _Said(word.at, word)

    @property
    def pending(self) -> int:
        """Words that are not in Redis yet."""
        return sum(not said.sent for said in self._said.values())

    async def exchange(self) -> list[Word]:
        """Send what is newer here and return what is newer there. Raises JournalError where Redis does not do it."""
        theirs = await self._moments()
        for name, said in list(self._said.items()):
            if not said.sent and theirs.get(name, -math.inf) >= said.at:
                # what was removed is nowhere else, and small
                self._said[name] = _Said(said.at, said.word if isinstance(said.word, Unregistered) else None, sent=True)
        for name in {*self._kept(), *self._said}:
            if max(theirs.get(name, -math.inf), self._unsendable.get(name, -math.inf)) < self._ours(name):
                await self._put(name)
        found: list[Word] = []
        for name, at in theirs.items():
            if at > self._known(name) and (word := await self._get(name)) is not None:
                found.append(word)
            self._read[name] = max(at, self._read.get(name, at))
        return sorted(found, key=lambda word: word.at)

    async def _moments(self) -> dict[str, float]:
        """Return when the newest word on each name was said that Redis has."""
        names = [raw.decode(errors="replace") for raw in await self._link.ask("SMEMBERS", self._names.registered)]
        if not names:
            return {}
        answers = await self._link.ask_many([("HGET", self._names.registered_word(name), "at") for name in names])
        for answer in answers:
            if isinstance(answer, JournalError):
                raise answer
        return {name: _moment(at) for name, at in zip(names, answers, strict=True)}

    def _kept(self) -> Mapping[str, float]:
        return self.registrations.kept() if self.registrations is not None else {}

    def _ours(self, name: str) -> float:
        """Return when the newest word on a name was said that this node could say again."""
        said = self._said.get(name)
        return max(said.at if said else -math.inf, self._kept().get(name, -math.inf))

    def _known(self, name: str) -> float:
        return max(self._ours(name), self._read.get(name, -math.inf))

    async def _put(self, name: str) -> None:
        said = self._said.get(name)
        word = said.word if said and said.at >= self._kept().get(name, -math.inf) else None
        if word is None and self.registrations is not None:
            word = await asyncio.to_thread(self.registrations.word, name)
        if word is None:
            return
        try:
            frame = await asyncio.to_thread(codec.encode, word)
        except JournalError as error:
            _log.error("%s cannot be shared: %s", word.function, error.detail)
            self._unsendable[name] = word.at
            return
        # Where two nodes do this at once, the older word may stay: who has the newer one sees it and says it again.
        await self._link.ask("HSET", self._names.registered_word(name), "at", repr(word.at), "frame", frame)
        await self._link.ask("SADD", self._names.registered, name)

    async def _get(self, name: str) -> Word | None:
        frame = await self._link.ask("HGET", self._names.registered_word(name), "frame")
        try:
            word = await asyncio.to_thread(codec.decode, frame or b"")
        except JournalError as error:
            self.refused += 1
            _log.error("What Redis keeps of the function %s is left alone: %s", name, error.detail)
            return None
        return word if isinstance(word, Registered | Unregistered) and _name(word) == name else None


def _name(word: Word) -> str:
    return word.function.partition("@")[0]


def _moment(raw: bytes | None) -> float:
    try:
        return float(raw or b"")
    except ValueError:
        return -math.inf
