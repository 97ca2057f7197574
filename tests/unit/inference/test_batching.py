"""The inference queue: batches, limits, priorities, failures."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from likewise.errors import DeadlineExceeded, InvalidValue, ModelFailed, Overloaded
from likewise.inference.batching import AT_ONCE, Batcher
from likewise.inference.workers import Workers
from likewise.types import Array


class Gated:
    """A model that doubles its input, and waits at a gate so that a test owns the order."""

    dynamic_batch = True

    def __init__(self):
        self.gate = threading.Event()
        self.batches = []
        self.lock = threading.Lock()
        self.running = 0

    def run(self, batch):
        with self.lock:
            self.running += 1
            assert self.running <= 1, "more batches at once than workers"
        assert self.gate.wait(10)
        self.batches.append(batch[:, 0].tolist())
        with self.lock:
            self.running -= 1
        if (batch < 0).any():
            raise ModelFailed("negative")
        return [batch * 2]


def prepare(value):
    if value.values.size != 1 and value.values.size != 2:
        raise InvalidValue("one or two numbers")
    return value.values


def value(*numbers):
    return Array(np.array(numbers, np.float32))


@pytest.fixture
def executor():
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def model():
    return Gated()


def batcher(model, executor, **options):
    return Batcher(model, prepare, Workers(executor, 1), **options)


async def settled(queue, count):
    while queue.queued < count:
        await asyncio.sleep(0)


async def test_what_waits_becomes_one_batch(model, executor):
    """The first runs alone, those that came meanwhile run together."""
    queue = batcher(model, executor)
    tasks = [asyncio.create_task(queue.infer(value(i))) for i in range(5)]
    await settled(queue, 4)
    model.gate.set()
    answers = await asyncio.gather(*tasks)
    assert [float(outputs[0][0]) for outputs, _ in answers] == [0, 2, 4, 6, 8]
    assert model.batches == [[0], [1, 2, 3, 4]]
    assert all(cost > 0 for _, cost in answers)
    assert queue.inferences == 5


async def test_a_batch_has_a_largest_size(model, executor):
    """batch_max bounds what runs at once."""
    queue = batcher(model, executor, batch_max=2)
    tasks = [asyncio.create_task(queue.infer(value(i))) for i in range(6)]
    await settled(queue, 5)
    model.gate.set()
    await asyncio.gather(*tasks)
    assert max(map(len, model.batches)) == 2


async def test_a_fixed_batch_axis_runs_one_by_one(model, executor):
    """A model without a dynamic batch axis never sees two."""
    model.dynamic_batch = False
    queue = batcher(model, executor)
    model.gate.set()
    await asyncio.gather(*(queue.infer(value(i)) for i in range(4)))
    assert [len(batch) for batch in model.batches] == [1, 1, 1, 1]


async def test_different_shapes_do_not_stack(model, executor):
    """Inputs of other shapes run in calls of their own."""
    queue = batcher(model, executor)
    tasks = [asyncio.create_task(queue.infer(v)) for v in (value(1), value(2), value(3, 3), value(4))]
    await settled(queue, 3)
    model.gate.set()
    answers = await asyncio.gather(*tasks)
    assert [outputs[0].tolist() for outputs, _ in answers] == [[2], [4], [6, 6], [8]]


async def test_probes_come_before_users(model, executor):
    """What holds tokens of the error budget is settled first."""
    queue = batcher(model, executor, batch_max=1)
    order = []

    async def ask(name, number, probe):
        await queue.infer(value(number), probe=probe)
        order.append(name)

    tasks = [asyncio.create_task(ask("first", 0, False))]
    await settled(queue, 0)
    tasks += [asyncio.create_task(ask("user", 2, False)), asyncio.create_task(ask("probe", 1, True))]
    await settled(queue, 2)
    model.gate.set()
    await asyncio.gather(*tasks)
    assert order == ["first", "probe", "user"]


async def test_users_are_not_starved(model, executor):
    """Having let four batches of probes go ahead, one comes first."""
    queue = batcher(model, executor, batch_max=1)
    tasks = [asyncio.create_task(queue.infer(value(0)))]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(queue.infer(value(100))))
    tasks += [asyncio.create_task(queue.infer(value(i), probe=True)) for i in range(1, 9)]
    await settled(queue, 9)
    model.gate.set()
    await asyncio.gather(*tasks)
    assert model.batches.index([100]) <= 5


async def test_users_leave_room_for_a_probe_that_is_about_to_come(model, executor):
    """Though a worker is free; where none comes, they go on by themselves."""
    queue = batcher(model, executor, batch_max=1)
    queue.expects_probe = lambda: True
    model.gate.set()
    await asyncio.gather(queue.infer(value(1)), queue.infer(value(2), probe=True))
    assert model.batches == [[2], [1]]
    await queue.infer(value(3))
    queue.expects_probe = lambda: False
    await asyncio.gather(queue.infer(value(4)), queue.infer(value(5), probe=True))
    assert model.batches[2:] == [[3], [4], [5]]


@pytest.mark.parametrize(("ahead", "asks"), [(1, True), (2, False)])
async def test_users_leave_room_only_for_so_long(model, executor, ahead, asks):
    """Having let some probes go ahead, they do not wait for such as are not there yet."""
    queue = batcher(model, executor, batch_max=1)
    asked = []
    queue.expects_probe = lambda: bool(asked.append(len(model.batches))) or True
    tasks = [asyncio.create_task(queue.infer(value(0), probe=True))]
    await settled(queue, 0)
    tasks.append(asyncio.create_task(queue.infer(value(100))))
    tasks += [asyncio.create_task(queue.infer(value(i), probe=True)) for i in range(1, 1 + ahead)]
    await settled(queue, 1 + ahead)
    model.gate.set()
    await asyncio.gather(*tasks)
    assert model.batches[-1] == [100]
    assert bool(asked) == asks


async def test_a_full_queue_refuses_at_once(model, executor):
    """Overloaded, with the time to come back."""
    queue = batcher(model, executor, queue_limit=2)
    tasks = [asyncio.create_task(queue.infer(value(i))) for i in range(3)]
    await settled(queue, 2)
    with pytest.raises(Overloaded) as caught:
        await queue.infer(value(9))
    assert caught.value.retry_after_s >= 1
    model.gate.set()
    await asyncio.gather(*tasks)


async def test_an_input_that_waited_too_long_is_refused(model, executor):
    """Also while no worker is free; a probe waits on."""
    queue = batcher(model, executor, queue_timeout_s=0.01)
    running = asyncio.create_task(queue.infer(value(0)))
    probe = asyncio.create_task(queue.infer(value(2), probe=True))
    await settled(queue, 1)
    with pytest.raises(Overloaded, match="waited"):
        await queue.infer(value(1))
    assert queue.queued == queue.queued_probes == 1
    model.gate.set()
    await asyncio.gather(running, probe)
    assert model.batches == [[0], [2]]


async def test_a_raising_model_fails_its_batch_and_the_next_runs(model, executor):
    """The error reaches each caller of that batch, and nobody else."""
    queue = batcher(model, executor)
    model.gate.set()
    with pytest.raises(ModelFailed, match="negative"):
        await queue.infer(value(-1))
    outputs, _ = await queue.infer(value(1))
    assert outputs[0].tolist() == [2]


async def test_an_input_that_cannot_be_prepared_does_not_spoil_the_batch(model, executor):
    """Only its sender hears of it."""
    queue = batcher(model, executor)
    tasks = [asyncio.create_task(queue.infer(v)) for v in (value(1), value(1, 2, 3), value(2))]
    await settled(queue, 2)
    model.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[1], InvalidValue)
    assert [answers[i][0][0].tolist() for i in (0, 2)] == [[2], [4]]


async def test_a_caller_that_left_is_not_computed(model, executor):
    """A cancelled request makes room at once."""
    queue = batcher(model, executor, queue_limit=2)
    tasks = [asyncio.create_task(queue.infer(value(i))) for i in range(3)]
    await settled(queue, 2)
    tasks[1].cancel()
    await asyncio.wait([tasks[1]])
    assert queue.queued == 1
    model.gate.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert model.batches == [[0], [2]]


async def test_probes_have_a_lane_of_their_own(model, executor):
    """Users that fill theirs cannot turn a probe away."""
    queue = batcher(model, executor, queue_limit=2, batch_max=1)
    tasks = [asyncio.create_task(queue.infer(value(i))) for i in range(3)]
    await settled(queue, 2)
    with pytest.raises(Overloaded):
        await queue.infer(value(9))
    probe = asyncio.create_task(queue.infer(value(100), probe=True))
    await settled(queue, 3)
    model.gate.set()
    await asyncio.gather(probe, *tasks)
    assert [100] in model.batches


async def test_the_oldest_probe_goes_where_their_lane_overflows(model, executor):
    """It is told, and the others are computed."""
    queue = batcher(model, executor, queue_limit=2, batch_max=1)
    running = asyncio.create_task(queue.infer(value(0)))
    await settled(queue, 0)
    await asyncio.sleep(0)
    probes = [asyncio.create_task(queue.infer(value(i), probe=True)) for i in (1, 2, 3)]
    with pytest.raises(Overloaded, match="probes"):
        await probes[0]
    model.gate.set()
    await asyncio.gather(running, *probes[1:])
    assert model.batches == [[0], [2], [3]]


async def test_what_waits_is_bounded_in_bytes(model, executor):
    """Few large inputs take as much room as many small ones; an empty lane takes any one."""
    queue = batcher(model, executor, queue_bytes=10)
    running = asyncio.create_task(queue.infer(value(0)))
    await settled(queue, 0)
    await asyncio.sleep(0)
    waiting = asyncio.create_task(queue.infer(value(1, 2)))
    await settled(queue, 1)
    with pytest.raises(Overloaded):
        await queue.infer(value(3))
    model.gate.set()
    await asyncio.gather(running, waiting)


async def test_an_input_that_makes_the_model_raise_fails_alone(model, executor):
    """Those that came in the same batch are answered."""
    queue = batcher(model, executor)
    tasks = [asyncio.create_task(queue.infer(value(i))) for i in (0, 1, -1, 2)]
    await settled(queue, 3)
    model.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[2], ModelFailed)
    assert [answers[i][0][0].tolist() for i in (0, 1, 3)] == [[0], [2], [4]]


async def test_two_models_share_the_workers(executor):
    """Never more batches at once than workers, and both get their turn."""
    workers = Workers(executor, 1)
    model = Gated()
    queues = [Batcher(model, prepare, workers) for _ in range(2)]
    tasks = [asyncio.create_task(queues[i % 2].infer(value(i))) for i in range(10)]
    await asyncio.sleep(0)
    model.gate.set()
    answers = await asyncio.gather(*tasks)
    assert [float(outputs[0][0]) for outputs, _ in answers] == [2 * i for i in range(10)]
    assert workers.free == 1


async def test_what_waits_past_its_deadline_is_never_computed(model, executor):
    """It is refused when its time is over, not when a worker comes free; the others are computed."""
    queue = batcher(model, executor)
    first = asyncio.create_task(queue.infer(value(1)))
    await settled(queue, 0)
    late = asyncio.create_task(queue.infer(value(2), within_s=0.01))
    patient = asyncio.create_task(queue.infer(value(3), within_s=1000.0))
    with pytest.raises(DeadlineExceeded):
        await late
    model.gate.set()
    await asyncio.gather(first, patient)
    assert model.batches == [[1], [3]]


async def test_what_a_worker_has_taken_is_finished(model, executor):
    """A deadline is no reason to throw away what was computed."""
    queue = batcher(model, executor)
    task = asyncio.create_task(queue.infer(value(1), within_s=0.02))
    while not model.running:
        await asyncio.sleep(0)
    until = asyncio.get_running_loop().time() + 0.03
    while asyncio.get_running_loop().time() < until:
        await asyncio.sleep(0)
    model.gate.set()
    outputs, _ = await task
    assert float(outputs[0][0]) == 2


async def test_a_busy_loop_lets_no_late_input_through(model, executor):
    """Its timer may come after the worker: the batch looks at the deadline, too."""
    queue = batcher(model, executor)
    first = asyncio.create_task(queue.infer(value(1)))
    await settled(queue, 0)
    while not model.running:
        await asyncio.sleep(0)
    late = asyncio.create_task(queue.infer(value(2), within_s=0.001))
    await settled(queue, 1)
    loop = asyncio.get_running_loop()
    until = loop.time() + 0.002
    while loop.time() < until:
        pass
    assert queue._take() == []
    with pytest.raises(DeadlineExceeded):
        await late
    model.gate.set()
    await first
    assert model.batches == [[1]]


async def test_answers_of_a_batch_are_handed_over_a_few_at_a_time(model, executor):
    """What follows on an answer takes time, and others have their turn in between."""
    queue = batcher(model, executor)
    rounds, rounds_of = [0], {}
    loop = asyncio.get_running_loop()

    def tick():
        rounds[0] += 1
        loop.call_soon(tick)

    async def ask(number):
        outputs, _ = await queue.infer(value(number))
        rounds_of[number] = rounds[0]
        return float(outputs[0][0])

    tasks = [asyncio.create_task(ask(number)) for number in range(8)]
    await settled(queue, 7)
    tick()
    model.gate.set()
    assert await asyncio.gather(*tasks) == [2.0 * number for number in range(8)]
    assert model.batches == [[0], [1, 2, 3, 4, 5, 6, 7]]
    together = [rounds_of[number] for number in range(1, 8)]
    assert together == sorted(together), "first come, first served"
    assert max(together.count(each) for each in together) == AT_ONCE
