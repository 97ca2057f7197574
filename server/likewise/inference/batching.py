"""Inference off the event loop: a bounded queue, micro-batches that grow with the load, users before probes.

No timer delays a lone request: a batch is whatever waits when a worker comes free, so a quiet server runs
batches of one at once, and a loaded one fills them by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from likewise.errors import LikewiseError, ModelFailed, Overloaded
from likewise.ports import Model
from likewise.types import Input, Tensor


class Workers:
    """How many batches may run at once, over all functions of a server."""

    def __init__(self, executor: Executor, limit: int) -> None:
        self.executor = executor
        self.free = limit
        self._waiting: deque[Batcher] = deque()

    def wait(self, batcher: Batcher) -> None:
        """Remember a batcher that has work and found no free worker."""
        if not batcher.is_waiting:
            batcher.is_waiting = True
            self._waiting.append(batcher)

    def release(self) -> None:
        """Give a worker back, and start the batcher that has waited longest."""
        self.free += 1
        while self.free and self._waiting:
            batcher = self._waiting.popleft()
            batcher.is_waiting = False
            batcher.start()


@dataclass(slots=True)
class _Job:
    value: Input
    future: asyncio.Future[tuple[list[Tensor], float]]
    deadline: float


Done = tuple[list[list[Tensor] | LikewiseError], float] | BaseException
"""What a worker brings back: an answer for each input and the seconds for all, or what went wrong with the batch."""


class Batcher:
    """Queues inputs of one model and runs them in batches. Belongs to one event loop."""

    def __init__(
        self,
        model: Model,
        prepare: Callable[[Input], Tensor],
        workers: Workers,
        *,
        batch_max: int = 16,
        queue_limit: int = 256,
        queue_timeout_s: float = 10.0,
    ) -> None:
        """Set up. queue_limit: inputs that may wait; queue_timeout_s: how long one may wait before it is refused."""
        self._model = model
        self._prepare = prepare
        self._workers = workers
        self._batch_max = batch_max if model.dynamic_batch else 1
        self._queue_limit = queue_limit
        self._queue_timeout_s = queue_timeout_s
        self._users: deque[_Job] = deque()
        self._probes: deque[_Job] = deque()
        self._yielded = 0
        self.is_waiting = False
        self.mean_cost_s = 0.05
        """Moving average of the seconds that one input takes."""
        self.inferences = 0
        """Inputs computed so far."""

    @property
    def queued(self) -> int:
        """Inputs that wait for a worker."""
        return len(self._users) + len(self._probes)

    async def infer(self, value: Input, *, probe: bool = False) -> tuple[list[Tensor], float]:
        """Return the outputs for one input, without batch axis, and the seconds it cost.

        probe: yields to waiting users. Raises Overloaded at once where the queue is full or has waited too long;
        ModelFailed or InvalidValue from the model and the preparation.
        """
        if self.queued >= self._queue_limit:
            raise self._overloaded(f"{self.queued} inputs wait for inference already")
        loop = asyncio.get_running_loop()
        job = _Job(value, loop.create_future(), perf_counter() + self._queue_timeout_s)
        (self._probes if probe else self._users).append(job)
        self.start()
        return await job.future

    def start(self) -> None:
        """Start batches while there are inputs and free workers."""
        while self.queued:
            if not self._workers.free:
                self._workers.wait(self)
                return
            batch = self._take()
            if not batch:
                return
            self._workers.free -= 1
            loop = asyncio.get_running_loop()
            self._workers.executor.submit(self._work, batch, loop)

    def _take(self) -> list[_Job]:
        """Take the next batch: users first; a probe that yielded four times comes before them."""
        batch: list[_Job] = []
        now = perf_counter()
        probes_first = self._yielded >= 4
        queues = (self._probes, self._users) if probes_first else (self._users, self._probes)
        self._yielded = 0 if probes_first or not self._probes else self._yielded + 1
        for queue in queues:
            while queue and len(batch) < self._batch_max:
                job = queue.popleft()
                if job.future.done():  # its client went away
                    continue
                if job.deadline < now:
                    job.future.set_exception(self._overloaded(f"waited over {self._queue_timeout_s:g} s for inference"))
                    continue
                batch.append(job)
        return batch

    def _work(self, batch: Sequence[_Job], loop: asyncio.AbstractEventLoop) -> None:
        """Run a batch on a worker's thread and bring its answers to the loop; asyncio's futures do it at more cost."""
        try:
            done: Done = self._compute([job.value for job in batch])
        except BaseException as error:
            done = error
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever waited
            loop.call_soon_threadsafe(self._finish, batch, done)

    def _compute(self, values: Sequence[Input]) -> tuple[list[list[Tensor] | LikewiseError], float]:
        """Run a batch; one input that cannot be prepared does not spoil the others."""
        started = perf_counter()
        answers: list[list[Tensor] | LikewiseError] = []
        tensors: list[Tensor] = []
        places: list[int] = []
        for place, value in enumerate(values):
            try:
                tensors.append(self._prepare(value))
            except LikewiseError as error:
                answers.append(error)
            else:
                answers.append([])
                places.append(place)
        for group in _by_shape(tensors):
            chosen = [tensors[i] for i in group]
            try:
                outputs = self._model.run(chosen[0][None] if len(chosen) == 1 else np.stack(chosen))
            except LikewiseError as error:
                for i in group:
                    answers[places[i]] = error
            else:
                for row, i in enumerate(group):
                    answers[places[i]] = [output[row] for output in outputs]
        return answers, perf_counter() - started

    def _finish(self, batch: Sequence[_Job], done: Done) -> None:
        if isinstance(done, BaseException):
            for job in batch:
                if not job.future.done():
                    job.future.set_exception(ModelFailed(f"the inference worker raised: {done!r}"[:300]))
        else:
            answers, seconds = done
            cost_s = seconds / len(batch)
            self.mean_cost_s += 0.1 * (cost_s - self.mean_cost_s)
            self.inferences += len(batch)
            for job, answer in zip(batch, answers, strict=True):
                if job.future.done():
                    continue
                if isinstance(answer, LikewiseError):
                    job.future.set_exception(answer)
                else:
                    job.future.set_result((answer, cost_s))
        self._workers.release()
        self.start()

    def _overloaded(self, why: str) -> Overloaded:
        wait_s = max(1.0, self.queued * self.mean_cost_s)
        return Overloaded(f"{why}; come back in about {wait_s:.0f} s, or raise queue_limit", wait_s)


def _by_shape(tensors: Sequence[Tensor]) -> list[list[int]]:
    """Return the positions of the tensors grouped by shape: only equal shapes stack."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, tensor in enumerate(tensors):
        groups.setdefault(tensor.shape, []).append(i)
    return list(groups.values())
