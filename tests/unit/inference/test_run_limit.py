"""A run that takes too long is ended, wherever it is; others beside and after it are not."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
from models import looping

from likewise.errors import ModelFailed
from likewise.inference.batching import Batcher
from likewise.inference.graphs import Piece
from likewise.inference.model import OnnxModel
from likewise.inference.run_limit import RUN_LIMIT, RunLimit
from likewise.inference.threads import Threads
from likewise.inference.workers import Workers
from likewise.types import Array

ENDLESS, BRIEF = np.array([[1e18, 1.0]], np.float32), np.array([[3.0, 1.0]], np.float32)


@pytest.fixture
def limit():
    """The limit of this process, short while a test runs."""
    RUN_LIMIT.set(3.0)
    yield RUN_LIMIT
    RUN_LIMIT.set(1e6)


@pytest.fixture
def path(tmp_path):
    (tmp_path / "m.onnx").write_bytes(looping())
    return tmp_path / "m.onnx"


@pytest.mark.parametrize("how", ["run", "run_one", "piece"])
def test_a_run_without_an_end_is_ended_and_the_next_runs(limit, path, how):
    """Of a model, of one with bound buffers, and of a part of one."""
    model = OnnxModel(path)
    run = {
        "run": lambda x: model.run(x)[0],
        "run_one": lambda x: model.run_one()(x[0])[None],
        "piece": lambda x: Piece(path.read_bytes()).run({"x": x})[0],
    }[how]
    for _ in range(2):
        with pytest.raises(ModelFailed, match=r"over its share of 3 s; .* raise inference_timeout_s"):
            run(ENDLESS)
        np.testing.assert_array_equal(run(BRIEF), [[6.0, 4.0]])


async def test_others_of_a_batch_are_computed(limit, path):
    """By themselves, once the batch was ended; the worker goes on."""
    with ThreadPoolExecutor(1) as pool:
        queue = Batcher(OnnxModel(path), lambda value: value.values, Workers(pool, 1))
        values = [Array(row[0]) for row in (BRIEF, ENDLESS, BRIEF, BRIEF, ENDLESS)]
        found = await asyncio.gather(*map(queue.infer, values), return_exceptions=True)
        assert [isinstance(each, ModelFailed) for each in found] == [False, True, False, False, True]
        outputs, _ = await queue.infer(Array(BRIEF[0]))
        np.testing.assert_array_equal(outputs[0], [6.0, 4.0])


class Hopeless:
    """Does not end for large numbers, until it is told to."""

    dynamic_batch = True

    def __init__(self):
        self.done = Event()

    def run(self, batch):
        if batch[0, 0] > 1e17:
            assert self.done.wait(60)
        return [batch]


@pytest.fixture
def hopeless(monkeypatch):
    """Yield such a model, and a queue in front of it, which is impatient, with its workers: one thread."""
    monkeypatch.setattr("likewise.inference.batching.LATE_S", 0.05)
    monkeypatch.setattr("likewise.inference.batching.LATE", 0.0)
    threads, model = Threads(1, "hopeless"), Hopeless()
    workers = Workers(threads, 1)
    yield model, Batcher(model, lambda value: value.values, workers, batch_max=1), workers
    model.done.set()
    RUN_LIMIT.set(1e6)
    threads.shutdown()


async def test_others_go_on_beside_a_run_that_takes_long(hopeless):
    """On threads more, within bounds, for as long as it takes; its own requests are answered in the end."""
    model, queue, workers = hopeless
    RUN_LIMIT.set(1e6)
    slow = [asyncio.create_task(queue.infer(Array(ENDLESS[0]))) for _ in range(3)]
    outputs, _ = await asyncio.wait_for(queue.infer(Array(BRIEF[0])), 60)
    np.testing.assert_array_equal(outputs[0], BRIEF[0])
    assert workers.lent == 3
    model.done.set()
    for outputs, _ in await asyncio.gather(*slow):
        np.testing.assert_array_equal(outputs[0], ENDLESS[0])
    assert (workers.lent, workers.free) == (0, 1)


async def test_no_more_threads_are_lent_than_a_few(hopeless, monkeypatch):
    """Then others wait."""
    monkeypatch.setattr("likewise.inference.workers.MOST_LENT", 2)
    model, queue, workers = hopeless
    RUN_LIMIT.set(1e6)
    slow = [asyncio.create_task(queue.infer(Array(ENDLESS[0]))) for _ in range(4)]
    while workers.lent < 2:
        await asyncio.sleep(0.001)
    assert queue.queued == 1
    assert workers.free == 0
    model.done.set()
    await asyncio.gather(*slow)
    assert (workers.lent, workers.free) == (0, 1)


async def test_a_run_that_cannot_be_ended_costs_a_thread_and_no_more(hopeless):
    """Its requests are told, and the next input is computed; one that ends after all is forgotten."""
    model, queue, workers = hopeless
    RUN_LIMIT.set(0.1)
    for each in [asyncio.create_task(queue.infer(Array(ENDLESS[0]))) for _ in range(2)]:
        with pytest.raises(ModelFailed, match="nor can it be ended"):
            await asyncio.wait_for(each, 60)
    outputs, _ = await asyncio.wait_for(queue.infer(Array(BRIEF[0])), 60)
    np.testing.assert_array_equal(outputs[0], BRIEF[0])
    assert workers.lent == 2
    model.done.set()
    while workers.lent:
        await asyncio.sleep(0.001)
    assert workers.free == 1


async def test_a_batch_is_no_larger_than_what_ends_in_time(limit):
    """Where each input takes long, some may have to be computed one by one."""
    sizes = []

    class Slow:
        dynamic_batch = True

        def run(self, batch):
            sizes.append(len(batch))
            return [batch]

    with ThreadPoolExecutor(1) as pool:
        workers = Workers(pool, 1)
        queue = Batcher(Slow(), lambda value: value.values, workers)
        for cost_s in (0.5, 5.0, 0.01):
            queue.mean_cost_s = cost_s
            workers.free = 0
            tasks = [asyncio.create_task(queue.infer(Array(BRIEF[0]))) for _ in range(16)]
            while queue.queued < 16:
                await asyncio.sleep(0)
            sizes.clear()
            workers.release()
            await asyncio.gather(*tasks)
            assert sizes[0] == {0.5: 3, 5.0: 1, 0.01: 16}[cost_s]


def test_a_share_holds_for_all_runs_within_it():
    """Also where each of them is short: what one took is not there for the next."""
    limit = RunLimit()
    limit.seconds = 100.0
    times = []

    def note(options):
        times.append(next(until for until, mine in limit._runs.values() if mine is options))

    with limit.within(0.5):
        limit.run(note)
        with limit.within(1.0):
            limit.run(note)
    limit.run(note)
    assert times[0] == times[1]
    assert 45 < times[2] - times[0] < 100
    assert not limit._runs


def test_the_options_of_a_run_have_what_onnx_runtime_looks_for():
    """An option that is missing raises inside of each run: more than a small model takes."""
    assert RunLimit().run(lambda options: options.get_run_config_entry("gpu_graph_id")) == "0"
