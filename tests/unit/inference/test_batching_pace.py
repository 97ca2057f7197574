"""The inference queue while there are probes, and before inputs that would be late."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from likewise.errors import DeadlineExceeded
from likewise.inference import batching
from likewise.inference.batching import Batcher
from likewise.inference.workers import Workers
from likewise.types import Array


class Gated:
    """A model that waits at a gate, and remembers its batches."""

    dynamic_batch = True

    def __init__(self):
        self.gate = threading.Event()
        self.batches = []

    def run(self, batch):
        assert self.gate.wait(10)
        self.batches.append(batch[:, 0].tolist())
        return [batch]


@pytest.fixture
def executor():
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def model():
    return Gated()


def value(number):
    return Array(np.array([number], np.float32))


def batcher(model, executor, **options):
    return Batcher(model, lambda given: given.values, Workers(executor, 1), **options)


async def settled(queue, count):
    while queue.queued < count:
        await asyncio.sleep(0)


async def of_batches_after_a_probe(model, executor, cost_s):
    """Return the lengths of batches of a probe and 16 inputs that came meanwhile, at a mean cost of each."""
    queue = batcher(model, executor, batch_max=4)
    queue.mean_cost_s, queue._batches = cost_s, 100
    tasks = [asyncio.create_task(queue.infer(value(i), probe=not i)) for i in range(17)]
    await settled(queue, 16)
    model.gate.set()
    await asyncio.gather(*tasks)
    return [len(batch) for batch in model.batches]


async def test_batches_are_short_while_there_are_probes(model, executor):
    """What comes next may be a probe, and hardly a hit is served until that is settled."""
    lengths = await of_batches_after_a_probe(model, executor, 1.0)
    assert lengths == [1] * 17


async def test_batches_grow_again_when_probes_have_ceased(model, executor, monkeypatch):
    """Some of them, and some time, after the last one: a probe that comes right after a long one began has to wait."""
    monkeypatch.setattr(batching, "LATELY_S", 0.0)
    lengths = await of_batches_after_a_probe(model, executor, 1.0)
    assert lengths == [1, 4, 4, 4, 4]


async def test_batches_are_of_moderate_length_between_probes(model, executor):
    """Of what takes 9 ms three at a time, once eight batches had no probe."""
    lengths = await of_batches_after_a_probe(model, executor, 0.02)
    assert lengths[:9] == [1] * 8 + [3]


async def test_what_could_not_be_computed_in_time_is_refused_before_it_waits(model, executor):
    """By what inputs took so far."""
    queue = batcher(model, executor, batch_max=1)
    queue.mean_cost_s, queue.inferences = 5.0, 1
    tasks = [asyncio.create_task(queue.infer(value(i), within_s=1000.0)) for i in range(2)]
    await settled(queue, 1)
    with pytest.raises(DeadlineExceeded):
        await queue.infer(value(3), within_s=9.0)
    model.gate.set()
    await asyncio.gather(*tasks)


async def test_no_time_left_is_refused_at_once_and_a_probe_is_owed(model, executor):
    """Nothing is queued for it; what settles the budget is computed however late."""
    queue = batcher(model, executor)
    with pytest.raises(DeadlineExceeded):
        await queue.infer(value(1), within_s=0.0)
    assert queue.queued == 0
    model.gate.set()
    outputs, _ = await queue.infer(value(2), probe=True, within_s=0.0)
    assert float(outputs[0][0]) == 2
