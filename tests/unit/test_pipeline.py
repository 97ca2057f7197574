"""The flow of a request when things go wrong: overload, clients that leave, tickets that never come back."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from likewise.errors import DeadlineExceeded, LikewiseError, Overloaded
from likewise.function.assembly import Assembler, Defaults
from likewise.function.function import Function
from likewise.inference.batching import Batcher
from likewise.inference.runner import ModelRunner
from likewise.inference.workers import Workers
from likewise.journal.memory import MemoryJournal
from likewise.pipeline import Pipeline
from likewise.requests import NO_CONTROL, Answer, Asked, Control, Outcome, Ticket
from likewise.types import Result, Session

FUNCTION = """
[input]
kind = "array"
[model]
[result]
kind = "tensors"
equality = "close"
[[keys]]
name = "v"
extractor = "vector"
dimension = 1
metric = "l2"
"""


class Coin:
    """Falls as the test says: 0.0 probes wherever a probe is possible, 0.999 nowhere."""

    def __init__(self) -> None:
        self.next = 0.999

    def __call__(self) -> float:
        return self.next


class Gate:
    """The real model, behind a gate that a test opens and shuts."""

    def __init__(self, model: object) -> None:
        self._model = model
        self.open = threading.Event()
        self.open.set()
        self.batches: list[list[float]] = []
        self.dynamic_batch = True

    def run(self, batch: np.ndarray) -> list[np.ndarray]:
        assert self.open.wait(20)
        self.batches.append(batch.ravel().tolist())
        return self._model.run(batch)  # type: ignore[attr-defined]


def body(value: float) -> bytes:
    return b"[%f]" % value


@pytest.fixture
def bench(tmp_path: Path, toys: SimpleNamespace) -> Iterator[SimpleNamespace]:
    """A function with a real model behind a gate, a queue of two, and a coin of the test's own."""
    toys.write_fragile(tmp_path)
    (tmp_path / "fragile" / "function.toml").write_text(FUNCTION)
    coin = Coin()
    with ThreadPoolExecutor(1) as pool, ThreadPoolExecutor(1) as readers:
        fn = Assembler(Defaults(), Workers(pool, 1), readers, time.time, coin).build(tmp_path / "fragile")
        runner = fn.runner
        assert isinstance(runner, ModelRunner)
        gate = Gate(runner._batcher._model)
        fn.runner = ModelRunner(
            Batcher(
                gate,
                runner._batcher._prepare,
                Workers(pool, 1),
                batch_max=1,
                queue_limit=2,
                queue_timeout_s=20.0,
            ),
            runner._encode,
        )
        yield SimpleNamespace(fn=fn, gate=gate, coin=coin, pipeline=Pipeline(MemoryJournal(), time.time, 1 << 20))
        gate.open.set()


async def ask(bench: SimpleNamespace, value: float, **control: bool) -> Answer:
    return await bench.pipeline.answer(bench.fn, "application/json", body(value), Control(**control))


async def warm(bench: SimpleNamespace) -> None:
    """Ask near 0 and near 3 until both are reused."""
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(600):
        answer = await ask(bench, float(rng.integers(2)) * 3 + rng.uniform(0, 0.01))
        hits = hits + 1 if answer.outcome is Outcome.HIT else 0
        if hits == 30:
            return
    pytest.fail("nothing is reused")


def tokens(fn: Function) -> float:
    return fn.policies["v"].statistics().tokens


def near() -> float:
    return 0.005 + 1e-6 * time.perf_counter_ns() % 0.004


async def until(condition: object) -> None:
    deadline = time.monotonic() + 20
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


async def fill(bench: SimpleNamespace) -> list[asyncio.Task[Answer]]:
    """Shut the gate and fill the users' lane."""
    bench.gate.open.clear()
    tasks = [asyncio.create_task(ask(bench, value, no_store=True)) for value in (1.0, 1.1, 1.2)]
    await until(lambda: bench.fn.runner.queued == 2)
    return tasks


async def test_a_probe_that_meets_a_full_queue_costs_nothing_in_the_end(bench: SimpleNamespace) -> None:
    """Its client is told to come back, the check is made later, and the reservation returns."""
    await warm(bench)
    before = tokens(bench.fn)
    crowd = await fill(bench)
    bench.coin.next = 0.0
    bench.fn.runner._batcher.queue_timeout_s = 0.05
    with pytest.raises(Overloaded):
        await ask(bench, near())
    assert tokens(bench.fn) < before
    bench.coin.next = 0.999
    bench.gate.open.set()
    await asyncio.gather(*crowd, return_exceptions=True)
    await bench.pipeline.settle()
    assert tokens(bench.fn) > before


async def test_hits_go_on_while_the_queue_is_full(bench: SimpleNamespace) -> None:
    """What is cached needs no model."""
    await warm(bench)
    crowd = await fill(bench)
    for _ in range(50):
        assert (await ask(bench, near())).outcome is Outcome.HIT
    bench.gate.open.set()
    await asyncio.gather(*crowd, return_exceptions=True)


async def test_what_others_wait_for_is_computed_ahead_of_what_came_before_it(bench: SimpleNamespace) -> None:
    """One inference answers several then."""
    bench.gate.open.clear()
    tasks = [asyncio.create_task(ask(bench, value)) for value in (1.0, 1.1, 1.2)]
    await until(lambda: bench.fn.runner.queued == 2)
    tasks.append(asyncio.create_task(ask(bench, 1.2)))
    await until(lambda: bench.fn.in_flight.same(body(1.2)).wanted.done())
    bench.gate.open.set()
    answers = await asyncio.gather(*tasks)
    assert np.allclose(bench.gate.batches, [[1.0], [1.2], [1.1]])
    assert [answer.outcome for answer in answers] == [Outcome.MISS] * 3 + [Outcome.COALESCED]


async def test_a_probe_goes_on_when_its_client_leaves(bench: SimpleNamespace) -> None:
    """The budget waits for what it finds out."""
    await warm(bench)
    before = tokens(bench.fn)
    bench.gate.open.clear()
    bench.coin.next = 0.0
    task = asyncio.create_task(ask(bench, near()))
    await until(lambda: tokens(bench.fn) < before)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    bench.gate.open.set()
    await bench.pipeline.settle()
    assert tokens(bench.fn) > before
    assert bench.fn.policies["v"].statistics().probes >= 1


async def test_a_miss_whose_client_leaves_is_not_computed(bench: SimpleNamespace) -> None:
    """Unless somebody else waits for it."""
    bench.gate.open.clear()
    running = asyncio.create_task(ask(bench, 0.0))
    await until(lambda: len(bench.fn.in_flight) == 1 and bench.fn.runner.queued == 0)
    gone = asyncio.create_task(ask(bench, 2.0))
    await until(lambda: bench.fn.runner.queued == 1)
    gone.cancel()
    await until(lambda: bench.fn.runner.queued == 0)
    bench.gate.open.set()
    await asyncio.wait([running, gone])
    assert [2.0] not in bench.gate.batches


async def test_a_follower_takes_over_when_the_leader_leaves(bench: SimpleNamespace) -> None:
    """Of those who sent the same bytes one computes, and all are answered."""
    bench.fn.runner._batcher.queue_timeout_s = 20.0
    bench.gate.open.clear()
    running = asyncio.create_task(ask(bench, 0.0))
    await until(lambda: len(bench.fn.in_flight) == 1 and bench.fn.runner.queued == 0)
    leader = asyncio.create_task(ask(bench, 2.0))
    await until(lambda: bench.fn.runner.queued == 1)
    followers = [asyncio.create_task(ask(bench, 2.0)) for _ in range(5)]
    await asyncio.sleep(0)
    leader.cancel()
    await until(lambda: leader.done() and bench.fn.runner.queued == 1)
    bench.gate.open.set()
    answers = await asyncio.gather(running, *followers)
    assert len({answer.result for answer in answers[1:]}) == 1
    assert bench.gate.batches.count([2.0]) == 1


@pytest.mark.parametrize("room", [0, 4, 1 << 20])
async def test_inputs_that_wait_for_others_are_held_within_bounds(
    bench: SimpleNamespace, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those beyond wait without their decoded input, and have it again where they have to compute."""
    reader, decoded, waiting = bench.fn.reader, [], []
    reader.inline_bytes, reader._room, decode, waits = 0, room, reader._decode, reader.waits

    def counted(media_type: str, content: bytes) -> object:
        decoded.append(content)
        return decode(media_type, content)

    @contextmanager
    def noted(asked: Asked) -> Iterator[None]:
        with waits(asked):
            waiting.append(asked.value)
            yield

    monkeypatch.setattr(reader, "_decode", counted)
    monkeypatch.setattr(reader, "waits", noted)
    bench.gate.open.clear()
    leader = asyncio.create_task(ask(bench, 2.0))
    await until(lambda: bench.fn.runner._batcher._running)
    followers = [asyncio.create_task(ask(bench, 2.0)) for _ in range(3)]
    await until(lambda: len(waiting) == 3)
    held = [value.size_bytes for value in waiting if value is not None]
    assert len(held) == {0: 0, 4: 1, 1 << 20: 3}[room]
    assert sum(held) <= room
    leader.cancel()
    await asyncio.wait([leader])
    bench.gate.open.set()
    answers = await asyncio.gather(*followers)
    assert len({answer.result.body for answer in answers}) == 1
    assert bench.gate.batches == [[2.0], [2.0]]
    assert (len(decoded) > 4) == (room < 1 << 20)
    assert reader._room == room


async def test_requests_that_arrive_together_share_one_inference(bench: SimpleNamespace) -> None:
    """Sixteen are begun before the event loop comes to any of them."""
    begun = [bench.pipeline.begin(bench.fn, "application/json", body(2.0), Control(), Session()) for _ in range(16)]
    answers = await asyncio.gather(*begun, return_exceptions=True)
    assert bench.gate.batches == [[2.0]]
    assert sum(isinstance(each, Answer) and each.outcome is Outcome.MISS for each in answers) == 1


async def test_what_is_dropped_before_it_began_is_nobodys_leader_and_is_charged(bench: SimpleNamespace) -> None:
    """As when a client goes in the very moment: the next one computes, and tokens are not held for ever."""
    await warm(bench)
    ledger = bench.fn.policies["v"]._budget.ledger()
    bench.coin.next = 0.0
    value = near()
    task = asyncio.create_task(bench.pipeline.begin(bench.fn, "application/json", body(value), Control(), Session()))
    assert ledger.reserved
    assert len(bench.fn.in_flight)
    task.cancel()
    await asyncio.wait([task])
    del task
    await until(lambda: not len(bench.fn.in_flight))
    assert not ledger.reserved
    bench.coin.next = 0.999
    assert (await ask(bench, value)).outcome in (Outcome.HIT, Outcome.MISS)


async def test_a_function_that_is_retired_leaves_no_trace(bench: SimpleNamespace) -> None:
    """What was in flight is answered, and neither kept nor journaled."""
    records: list[object] = []
    bench.pipeline._journal.append = records.append
    bench.gate.open.clear()
    task = asyncio.create_task(ask(bench, 1.0))
    await until(lambda: len(bench.fn.in_flight) == 1)
    bench.fn.retired = True
    bench.gate.open.set()
    assert (await task).stored is False
    assert len(bench.fn.namespace) == 0
    assert records == []


def lookup(bench: SimpleNamespace, value: float, session: Session, **control: bool) -> Answer | Ticket:
    return bench.pipeline.lookup(bench.fn, np.array([value], np.float32), None, Control(**control), session)


def bring(bench: SimpleNamespace, value: float, ticket: Ticket) -> None:
    result = Result(b'{"outputs":{"outputs":{"shape":[1],"data":[%d.0]}}}' % int(value))
    entry = bench.pipeline.entry(bench.fn, {"v": np.array([value], np.float32)}, result, 0.01)
    bench.pipeline.insert(bench.fn, entry, ticket.token)


async def test_lookups_that_are_never_redeemed_end_nobodys_reuse(bench: SimpleNamespace) -> None:
    """Whoever leaves probes open is refused, and the others go on as before."""
    await warm(bench)
    rng = np.random.default_rng(3)
    silent, honest = Session(), Session()

    def play(count: int) -> int:
        hits = 0
        for _ in range(count):
            bench.coin.next = rng.random()
            value = float(rng.integers(2)) * 3 + rng.uniform(0, 0.01)
            found = lookup(bench, value, honest)
            hits += isinstance(found, Answer)
            if isinstance(found, Ticket):
                bring(bench, value, found)
        return hits

    play(400)
    for _ in range(5):
        for _ in range(200):
            bench.coin.next = rng.random()
            lookup(bench, near(), silent)
        assert not isinstance(lookup(bench, near(), silent), Answer)
        assert play(200) >= 150


async def test_a_lookup_that_is_to_leave_no_trace_leaves_none(bench: SimpleNamespace) -> None:
    """No ticket, no count in the policy, no tokens earned; what is asked anew gets a ticket and no hit."""
    await warm(bench)
    before = bench.fn.policies["v"].state(), len(bench.fn.tickets)
    found = lookup(bench, near(), Session(), no_store=True)
    assert found == Ticket("", Outcome.BYPASS)
    assert (bench.fn.policies["v"].state(), len(bench.fn.tickets)) == before
    again = lookup(bench, near(), Session(), no_cache=True)
    assert isinstance(again, Ticket)
    assert again.token


async def test_the_deadline_of_a_leader_is_not_that_of_its_followers(bench: SimpleNamespace) -> None:
    """Who gave it up has its problem; who waits for the same input gets it computed."""
    bench.fn.runner._batcher.queue_timeout_s = 60.0
    bench.gate.open.clear()
    first = asyncio.create_task(ask(bench, 2.0))
    await until(lambda: bench.fn.runner.computed == 0 and bench.fn.runner.queued == 0 and len(bench.fn.in_flight) == 1)
    hasty = asyncio.create_task(ask(bench, 1.0, timeout_s=0.5))
    await until(lambda: bench.fn.runner.queued == 1)
    follower = asyncio.create_task(ask(bench, 1.0))
    with pytest.raises(DeadlineExceeded):
        await hasty
    bench.gate.open.set()
    await first
    assert (await follower).outcome is Outcome.MISS
    assert [1.0] in bench.gate.batches
    assert bench.gate.batches.count([1.0]) == 1


async def test_a_follower_has_a_deadline_of_its_own(bench: SimpleNamespace) -> None:
    """It stops waiting; the leader goes on."""
    bench.fn.runner._batcher.queue_timeout_s = 60.0
    bench.gate.open.clear()
    leader = asyncio.create_task(ask(bench, 2.0))
    await until(lambda: len(bench.fn.in_flight) == 1)
    with pytest.raises(DeadlineExceeded):
        await ask(bench, 2.0, timeout_s=0.005)
    bench.gate.open.set()
    assert (await leader).outcome is Outcome.MISS


async def test_an_input_sent_for_a_ticket_settles_it(bench: SimpleNamespace) -> None:
    """It is computed without a second decision, learned from and kept; a ticket that is used up changes nothing."""
    session = Session()
    missed = lookup(bench, 2.0, session)
    assert isinstance(missed, Ticket)
    computed = len(bench.gate.batches)
    answer = await bench.pipeline.answer(bench.fn, "application/json", body(2.0), NO_CONTROL, session, missed.token)
    assert (answer.outcome, answer.stored, len(bench.gate.batches)) == (Outcome.MISS, True, computed + 1)
    assert len(bench.fn.tickets) == 0
    again = await bench.pipeline.answer(bench.fn, "application/json", body(2.0), NO_CONTROL, session, missed.token)
    assert again.outcome is Outcome.EXACT
    assert len(bench.gate.batches) == computed + 1


async def test_a_probe_sent_for_a_ticket_returns_its_tokens(bench: SimpleNamespace) -> None:
    """As a device's insert does; what does not decode has not used the ticket."""
    await warm(bench)
    session = Session()
    before = tokens(bench.fn)
    bench.coin.next = 0.0
    held = lookup(bench, near(), session)
    assert isinstance(held, Ticket)
    assert held.outcome is Outcome.PROBE
    assert tokens(bench.fn) < before
    with pytest.raises(LikewiseError):
        await bench.pipeline.answer(bench.fn, "application/json", b"[nan]", NO_CONTROL, session, held.token)
    assert len(bench.fn.tickets) == 1
    answer = await bench.pipeline.answer(bench.fn, "application/json", body(near()), NO_CONTROL, session, held.token)
    assert answer.outcome is Outcome.PROBE
    assert len(bench.fn.tickets) == 0
    assert tokens(bench.fn) >= before


async def test_a_probe_sent_for_a_ticket_goes_on_when_its_client_leaves(bench: SimpleNamespace) -> None:
    """A device that sends an input and hangs up is credited for a probe that is settled."""
    await warm(bench)
    session = Session()
    bench.coin.next = 0.0
    held = lookup(bench, near(), session)
    assert isinstance(held, Ticket)
    before = bench.fn.policies["v"].statistics().tokens
    bench.gate.open.clear()
    work = bench.pipeline.answer(bench.fn, "application/json", body(near()), NO_CONTROL, session, held.token)
    task = asyncio.create_task(work)
    await until(lambda: len(bench.fn.tickets) == 0)
    task.cancel()
    await asyncio.wait([task])
    bench.gate.open.set()
    await bench.pipeline.settle()
    assert tokens(bench.fn) > before


@pytest.mark.parametrize("brought", [pytest.param(False, id="computed-here"), pytest.param(True, id="by-a-device")])
async def test_what_the_model_computed_and_many_used_stays_though_something_near_it_differs(
    bench: SimpleNamespace, brought: bool
) -> None:
    """Nobody takes such an entry out by inputs close to it; what a device brought may be wrong itself, and goes."""
    await warm(bench)
    fn, value = bench.fn, 0.0123
    result = (await ask(bench, near())).result
    entry = bench.pipeline.entry(fn, {"v": np.float32([value])}, result, 0.1, digest=b"" if brought else b"d" * 16)
    fn.keep(entry, fn.labels.label(result))
    asked = Asked("v", np.float32([value]))
    for _ in range(8):
        verdict = fn.neighbors.offer(asked)
        assert fn.nearest_id(verdict) == entry.id
        fn.namespace.use(verdict.slot)
    bench.coin.next = 0.0
    verdict = fn.neighbors.offer(asked)
    assert verdict.probe
    lesson, _, contradicted = fn.learn("v", verdict, entry.id, Result(b'{"outputs": "another"}'))
    assert lesson.wrong
    assert contradicted == (entry.id if brought else -1)
    assert (fn.namespace.slot_of(entry.id) < 0) is brought
