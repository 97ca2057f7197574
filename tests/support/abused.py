"""A server's pipeline as it is, without HTTP, whose requests are abused in every way, and whose world turns."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from likewise.clocks import monotonic
from likewise.decision.ladder import Ladder, Step
from likewise.decision.opinions import Opinion
from likewise.errors import LikewiseError, ModelFailed, Overloaded
from likewise.function.assembly import Assembler, Defaults
from likewise.function.function import Function
from likewise.function.holding import Holding
from likewise.function.variants import Said, Variants
from likewise.http.leased import Lessee, Wish
from likewise.inference.workers import Workers
from likewise.journal.memory import MemoryJournal
from likewise.pipeline import Pipeline
from likewise.requests import NO_CONTROL, Answer, Asked, Outcome
from likewise.types import Array, Input, Result, Session
from likewise_client._device.lease import Terms, read_terms

TARGET = 0.9
SLACK = 3.0
PLACES = 4

SPEC = """
[input]
kind = "array"
[[keys]]
name = "v"
extractor = "vector"
dimension = 1
metric = "l2"
"""


class World:
    """What the right answer at each place is; it changes when it was reused often enough to hurt."""

    def __init__(self, rng: random.Random, patience: int) -> None:
        self._rng = rng
        self._patience = patience
        self._reused = [0] * PLACES
        self.truth = list(range(PLACES))

    def right(self, value: float) -> int:
        return self.truth[round(value / 10)]

    def note(self, value: float) -> None:
        place = round(value / 10)
        self._reused[place] += 1
        if self._patience and self._reused[place] >= self._patience:
            self._reused[place] = 0
            self.truth[place] += PLACES

    def result(self, value: float) -> Result:
        return Result(b'{"label": %d}' % self.right(value))


class WorldRunner:
    """Computes what the world says, unless the script has it fail or hang."""

    patience_s = 0.002
    mean_cost_s = 0.01
    queued = 1  # requests are held while the tokens are tied up
    wait_s = 0.0
    computed = 0

    def __init__(self, world: World) -> None:
        self._world = world
        self.script = "compute"
        self.hanging: list[asyncio.Future[None]] = []

    async def run(
        self, value: Input, *, probe: bool, within_s: float = float("inf"), account: str = "", wanted: object = None
    ) -> tuple[Result, float]:
        assert isinstance(value, Array)
        if self.script == "refuse" and not probe:
            raise Overloaded("full")
        if self.script == "fail":
            raise ModelFailed("raised")
        if self.script == "hang":
            self.hanging.append(asyncio.get_running_loop().create_future())
            await self.hanging[-1]
        return self._world.result(float(value.values[0])), 0.01

    def takes_probes(self, account: str) -> bool:
        return True

    def expect_probes(self, expected: Callable[[], bool]) -> None:
        pass

    def overloaded(self, why: str) -> Overloaded:
        return Overloaded(why)

    def wake(self) -> None:
        for future in self.hanging:
            if not future.done():
                future.set_result(None)
        self.hanging.clear()


class WorldVariant:
    """A cheaper model: sure of what was right at first, whatever the world says by now."""

    memory_bytes = 0
    model = SimpleNamespace(present=True)

    def __init__(self, world: World, label: Callable[[Result], int], step: Step) -> None:
        self._world, self._label, self.step = world, label, step
        self.name = step.name

    def is_quick(self, asked: Asked) -> bool:
        return True

    def now(self, asked: Asked) -> Said:
        assert isinstance(asked.value, Array)
        place = round(float(asked.value.values[0]) / 10)
        result = Result(b'{"label": %d}' % place)
        return Said(result, Opinion(self._label(result), 8.0, 8.0), 0.001, self.name)


@dataclass
class Phone:
    """An honest device with a tier of its own, of one entry for each place."""

    session: Session
    terms: Terms | None = None
    answered: int = 0
    """Under its lease."""
    idle: bool = True

    def __post_init__(self) -> None:
        self.entries: dict[int, tuple[int, Result]] = {}

    def end(self) -> None:
        """Answer nothing by itself until there is another lease."""
        self.terms = None


class Stage:
    """One server with one function, that may restart."""

    def __init__(self, folder: Path, seed: int, patience: int, *, variants: bool = False) -> None:
        self._with_variants = variants
        self.rng = random.Random(seed)
        self.coin = random.Random(~seed)
        self.world = World(self.rng, patience)
        self.folder = folder
        self.pool = ThreadPoolExecutor(1)
        self.false = self.asked = self.by_phones = self.by_variants = 0
        self.session = Session()
        self.fn = self._build()
        self.phone = self._phone()

    def _build(self) -> Function:
        fn = Assembler(
            Defaults(accuracy_target=TARGET), Workers(self.pool, 1), self.pool, time.time, self.coin.random
        ).build(self.folder)
        self.runner = fn.runner = WorldRunner(self.world)  # type: ignore[assignment]
        policy: Any = fn.policies["v"]
        fn.holding = Holding(fn.runner, policy._budget)
        self.pipeline = Pipeline(MemoryJournal(), time.time, 1 << 20)
        if self._with_variants:
            step = Step("small", 0.1, 0.9)
            ladder = Ladder(TARGET, self.coin.random, fn.policies["v"], [step])  # type: ignore[arg-type]
            variant: Any = WorldVariant(self.world, fn.labels.label, step)
            pager: Any = SimpleNamespace(put=lambda _: None, tend=lambda: None)
            fn.variants = Variants(fn.id, [variant], ladder, pager, lambda: 0.01)
        return fn

    def _phone(self) -> Phone:
        return Phone(self.fn.devices.get(f"phone {self.rng.random()}"))

    def restart(self) -> None:
        """Come back with what the journal keeps: entries, and what the policy learned."""
        state = self.fn.policies["v"].state()
        entries = self.fn.namespace.page(1000).entries
        self.fn = self._build()
        self.fn.adopter.adopt_many(entries)
        self.fn.policies["v"].restore(state)
        self.session = Session()
        phone = self._phone()
        phone.entries, phone.terms, phone.answered = self.phone.entries, self.phone.terms, self.phone.answered
        self.phone = phone

    def value(self) -> float:
        return 10.0 * self.rng.randrange(PLACES) + self.rng.uniform(0, 0.02)

    async def infer(self, script: str = "compute") -> None:
        value = self.value()
        self.runner.script = script
        self.asked += 1
        right = self.world.result(value)
        task = asyncio.create_task(
            self.pipeline.answer(self.fn, "application/json", b"[%r]" % value, session=self.session)
        )
        for _ in range(4):
            await asyncio.sleep(0)
        if script == "hang" and not task.done():
            task.cancel()
            if self.rng.random() < 0.5:
                self.runner.wake()
        with suppress(LikewiseError, asyncio.CancelledError):
            self._judge(value, right, await task)
        self.runner.script = "compute"

    def lookup(self, redeem: bool, session: Session | None = None) -> None:
        value = self.value()
        session = session or self.session
        self.asked += 1
        right = self.world.result(value)
        key = np.array([value], np.float32)
        found = self.pipeline.lookup(self.fn, key, session=session)
        if isinstance(found, Answer):
            self._judge(value, right, found)
        elif redeem:
            entry = self.pipeline.entry(self.fn, {"v": key}, right, 0.01)
            self.pipeline.insert(self.fn, entry, found.token)

    async def leased(self, script: str = "compute") -> None:
        """Let a phone ask that answers by itself where its lease and its coin let it."""
        phone, value = self.phone, self.value()
        place, right, terms = round(value / 10), self.world.result(value), phone.terms
        known = phone.entries.get(place)
        self.asked += 1
        probe = None
        if terms is not None and terms.pi < 1.0 and phone.idle and known is not None:
            if self.coin.random() >= terms.pi:
                phone.answered += 1
                self.by_phones += 1
                self.false += known[1] != right
                self.world.note(value)
                return
            probe = known[0]
        wish = Wish("" if terms is None else terms.id, answered=phone.answered, probe=probe, idle=phone.idle)
        leasing = self.fn.leasing
        assert leasing is not None
        lessee = Lessee(self.fn, leasing, wish, phone.session, self.pipeline)
        phone.idle = probe is None
        self.runner.script = script
        task = asyncio.create_task(
            self.pipeline.answer(
                self.fn, "application/json", b"[%r]" % value, lessee.control(NO_CONTROL), phone.session
            )
        )
        for _ in range(4):
            await asyncio.sleep(0)
        if script == "hang" and not task.done():
            task.cancel()
            self.runner.wake()
        try:
            answer = await task
        except (LikewiseError, asyncio.CancelledError):
            lessee.refuse()
            phone.end()
        else:
            self._hear(phone, place, answer, lessee)
            self._judge(value, right, answer)
        self.runner.script = "compute"

    def _hear(self, phone: Phone, place: int, answer: Answer, lessee: Lessee) -> None:
        headers = {name.decode(): text.decode() for name, text in lessee.headers(answer)}
        terms = read_terms(headers)
        assert terms is not None
        if phone.terms is None or terms.id != phone.terms.id:
            phone.answered = 0
        phone.terms = terms if terms.id else None
        if terms.verdict == "confirmed":
            phone.idle = True
        elif terms.verdict:
            phone.end()
        phone.idle = phone.idle or phone.terms is None
        if answer.entry_id >= 0 and terms.radius > 0.05:
            phone.entries[place] = answer.entry_id, answer.result
        else:
            phone.entries.pop(place, None)

    def gone(self) -> None:
        """Let a phone take a lease, and be silent for ever."""
        leasing = self.fn.leasing
        assert leasing is not None
        for _ in range(8):
            leasing.open("", "", f"gone {self.rng.random()}", True)

    def late(self) -> None:
        """Let so much time pass that all leases are over; their phones know it."""
        leasing = self.fn.leasing
        assert leasing is not None
        leasing.leases.sweep(monotonic() + 1000.0)
        self.phone.end()

    def _judge(self, value: float, right: Result, answer: Answer) -> None:
        if answer.outcome in (Outcome.HIT, Outcome.VARIANT):
            self.false += answer.result != right
            self.world.note(value)
        self.by_variants += answer.outcome is Outcome.VARIANT

    @property
    def tokens(self) -> float:
        return self.fn.policies["v"].statistics().tokens
