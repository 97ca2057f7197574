"""The queue in front of a model: two lanes, batches, limits, and workers shared over all functions.

Requests that somebody waits for stand in the users' lane, bounded in number, in bytes and in time, in which accounts
take turns: one that asks for much fills the lane with its own, and neither turns others away nor lets them wait.
Probes stand in a lane of their own: what fills the other one cannot turn them away, and they are computed however late.
They go first: until a probe is settled it holds tokens of the error budget, about one for each hit served meanwhile, so
a budget that waits for a crowded model would soon refuse the very hits that keep the crowd small. For the same reason
no hit is served while more of them wait than the next batch takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from time import perf_counter

from likewise.errors import DeadlineExceeded, LikewiseError, ModelFailed, Overloaded
from likewise.inference.batch import Computed, Output, compute
from likewise.inference.lane import Job, Lane
from likewise.inference.run_limit import RUN_LIMIT
from likewise.inference.workers import Workers
from likewise.ports import Model
from likewise.throughput import TIMELY, Throughput
from likewise.types import Halfway, Input, Tensor

log = logging.getLogger("likewise.inference")

BRISK_S = 0.005
"""Seconds that a batch should take at most, if it has more than one input, while there are probes: so soon the next one
may have its turn, and until it is settled hardly a hit is served."""
CALM = 8
"""Batches without a probe after which they may take longer again."""
LATELY_S, MODERATE_S = 10.0, 0.03
"""Seconds after a probe until they may take as long as they like, and what they should take at most until then: the
next probe may come right after one began."""
PATIENCE = 4
"""Batches of probes that waiting users let go ahead of them."""
LATE_S, LATE = 2.0, 20.0
"""Seconds, and times of what its inputs usually take, after which a batch is worked on beside others."""
HOPELESS = 3.0
"""Limits for runs after which a batch, which should have been ended within two, is given up with its thread."""
AT_ONCE = 2
"""Answers of a batch that are handed over in one round of the loop: each is followed by a third of a millisecond of
learning, keeping and sending, and hits that came meanwhile need not wait for all of them."""


Done = Computed | BaseException
"""What a worker brings back, or what went wrong with the batch."""


class Batcher:
    """Queues inputs of one model and runs them in batches. Belongs to one event loop."""

    def __init__(
        self,
        model: Model,
        prepare: Callable[[Input | Halfway], Tensor],
        workers: Workers,
        *,
        batch_max: int = 16,
        queue_limit: int = 256,
        queue_bytes: int = 256 << 20,
        queue_timeout_s: float = 10.0,
    ) -> None:
        """Set up. queue_limit, queue_bytes: inputs, and bytes of them once decoded, that may wait in each lane.

        queue_timeout_s: how long one may wait before it is refused; a probe is not.
        """
        self._model = model
        self._prepare = prepare
        self._workers = workers
        self._batch_max = batch_max if model.dynamic_batch else 1
        self.queue_timeout_s = queue_timeout_s
        self._users = Lane(queue_limit, queue_bytes)
        self._probes = Lane(queue_limit, queue_bytes)
        self._probes_soon = max(2, self._batch_max)
        self._yielded = 0
        self._probing = 0
        self._moment: asyncio.TimerHandle | None = None
        self._had_moment = False
        self.expects_probe: Callable[[], bool] = lambda: False
        """Says whether a probe may come in a moment, since requests wait that are decided once the last is settled."""
        self._calm, self._probed = CALM, -math.inf
        self._timer: asyncio.TimerHandle | None = None
        self.is_waiting = False
        self.mean_cost_s = 0.05
        """Moving average of the seconds that one input takes."""
        self._throughput = Throughput()
        self._running = 0
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._lent: list[Sequence[Job]] = []
        self._lost: list[Sequence[Job]] = []
        self._batches = 0
        self.inferences = 0
        """Inputs computed so far."""
        self.unclaimed: Callable[[str, float], None] = lambda _account, _seconds: None
        """Told of what was computed for somebody who did not wait for it, and about the seconds that it took."""

    @property
    def queued(self) -> int:
        """Inputs that wait for a worker, probes included."""
        return len(self._users) + len(self._probes)

    @property
    def queued_probes(self) -> int:
        """Probes that wait for a worker."""
        return len(self._probes)

    def takes_probes(self, account: str) -> bool:
        """Say whether one more probe of an account would be settled soon: when its turn comes next."""
        return self._probes.of(account) < self._probes_soon

    @property
    def wait_s(self) -> float:
        """Seconds that a user's input would take that came now, as far as can be told: 0 where nothing waits."""
        if not (self.queued and self.inferences):
            return 0.0
        return (self.queued + 1) * (self._throughput.pace_s(perf_counter()) or self.mean_cost_s)

    async def infer(
        self,
        value: Input | Halfway,
        *,
        probe: bool = False,
        within_s: float = math.inf,
        account: str = "",
        wanted: asyncio.Future[None] | None = None,
    ) -> tuple[list[Tensor], float]:
        """Return the outputs for one input, without batch axis, and the seconds it cost.

        probe: waits in the probes' lane, as long as it takes; where that overflows, the oldest goes of the account that
        has most there. account: who asks, of those that take turns.
        within_s: raises DeadlineExceeded where no worker has taken it by then; not for probes.
        wanted: done once others wait for it, too: it goes ahead of others of its account then, every second time.
        Raises Overloaded at once where the lane is full and no account has more of it, where another makes room for
        one that has less, or once the input has waited too long; ModelFailed or InvalidValue from the model and the
        preparation. Cancelled before a worker took it, it is never computed.
        """
        if not probe and within_s != math.inf and TIMELY * within_s <= self.wait_s:
            raise _late()
        size = value.size_bytes
        lane = self._probes if probe else self._users
        while not lane.has_room(size):
            waiting = f"{len(lane)} {'probes' if probe else 'inputs'} wait for inference already"
            given_up = self._oldest_probe() if probe else lane.yields(account, size)
            if given_up is None:
                raise self.overloaded(waiting)
            if not given_up.future.done():
                given_up.future.set_exception(self.overloaded(waiting))
        loop = asyncio.get_running_loop()
        now = loop.time()
        job = Job(
            value, size, account, loop.create_future(), now + self.queue_timeout_s,
            math.inf if probe else now + within_s, probe,
        )  # fmt: skip
        lane.put(job)
        if wanted is not None:
            wanted.add_done_callback(lambda _: lane.want(job))
        self.start()
        if self._timer is None and not probe:
            self._timer = loop.call_at(job.due, self._expire, loop)
        timer = loop.call_at(job.deadline, self._pass, job) if job.deadline < job.due else None
        try:
            return await job.future
        except asyncio.CancelledError:
            if not lane.drop(job):
                self.unclaimed(account, self.mean_cost_s)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _oldest_probe(self) -> Job:
        oldest = self._probes.oldest(self._probes.greediest())
        assert oldest is not None
        self._probes.drop(oldest)
        return oldest

    def start(self) -> None:
        """Start batches while there are inputs and free workers."""
        while self.queued:
            if not self._workers.free:
                self._workers.wait(self)
                return
            if self._leaves_room():
                return
            batch = self._take()
            if not batch:
                return
            if not self._running:
                self._throughput.begin(perf_counter())
            self._running += 1
            self._probing += sum(job.probe for job in batch)
            self._workers.free -= 1
            loop = asyncio.get_running_loop()
            self._workers.run(self._work, batch, loop)
            if RUN_LIMIT.seconds < math.inf:
                late_s = max(LATE_S, LATE * self.mean_cost_s * len(batch))
                self._timers[id(batch)] = loop.call_later(late_s, self._make_way, batch)

    def _leaves_room(self) -> bool:
        """Say whether users' inputs wait for a moment, for a probe that is about to come.

        Behind them it would take twice as long, and until it is settled its account answers hardly anything. They wait
        no longer than one of them takes, and not at all once half of their `PATIENCE` is over.
        """
        if self._had_moment or self._probes or self._probing or self._yielded >= PATIENCE // 2:
            return False
        if not self.expects_probe():
            return False
        if self._moment is None:
            moment_s = min(self.mean_cost_s, BRISK_S)
            self._moment = asyncio.get_running_loop().call_later(moment_s, self._end_moment)
        return True

    def _end_moment(self) -> None:
        self._moment, self._had_moment = None, True
        self.start()

    def _take(self) -> list[Job]:
        """Take the next batch: probes first, but users before them once they let `PATIENCE` batches go ahead."""
        if self._moment is not None:
            self._moment.cancel()
        self._moment, self._had_moment = None, False
        batch: list[Job] = []
        users_first = self._yielded >= PATIENCE
        now = asyncio.get_running_loop().time()
        if self._probes:
            self._calm, self._probed = 0, now
        else:
            self._calm += 1
        # a batch of inputs that take long has to end within the limit for runs, too
        longest_s = 0.5 * RUN_LIMIT.seconds
        if now < self._probed + LATELY_S:
            longest_s = min(longest_s, BRISK_S if self._calm < CALM else MODERATE_S)
        most = max(1, int(min(self._batch_max, longest_s / max(self.mean_cost_s, 1e-6))))
        lanes = (self._users, self._probes) if users_first else (self._probes, self._users)
        self._yielded = 0 if users_first or not (self._users and self._probes) else self._yielded + 1
        for lane in lanes:
            while lane and len(batch) < most:
                job = lane.take()
                soonest = now + (len(batch) + 1) * self.mean_cost_s if lane else now
                if job.deadline <= soonest and not job.future.done():
                    job.future.set_exception(_late())
                if not job.future.done():  # else its client went away
                    batch.append(job)
        return batch

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        """Refuse users' inputs that still wait when their time is over; one timer serves all, for the oldest is first.

        It is not stopped where nothing waits any more: most inputs are taken at once, and a timer for each would cost
        more than what is looked at here.
        """
        now = loop.time()
        while (job := self._users.oldest()) is not None and job.due <= now:
            self._users.drop(job)
            if not job.future.done():
                job.future.set_exception(self.overloaded(f"waited over {self.queue_timeout_s:g} s for inference"))
        self._timer = loop.call_at(job.due, self._expire, loop) if job is not None else None

    def _pass(self, job: Job) -> None:
        """Refuse a user's input whose deadline passes while it waits; one that a worker has taken is finished."""
        if not job.future.done() and self._users.drop(job):
            job.future.set_exception(_late())

    def _work(self, batch: Sequence[Job], loop: asyncio.AbstractEventLoop) -> None:
        """Run a batch on a worker's thread and bring its answers to the loop; asyncio's futures do it at more cost."""
        try:
            done: Done = compute(self._model, self._prepare, [job.value for job in batch])
        except BaseException as error:
            done = error
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever waited
            loop.call_soon_threadsafe(self._finish, batch, done)

    def _make_way(self, batch: Sequence[Job]) -> None:
        """Let others go on beside a batch that takes long, and end all hope for it in time."""
        if self._workers.lend():
            self._lent.append(batch)
        later_s = HOPELESS * RUN_LIMIT.seconds
        self._timers[id(batch)] = asyncio.get_running_loop().call_later(later_s, self._give_up, batch)

    def _give_up(self, batch: Sequence[Job]) -> None:
        """Go on without a batch whose run cannot be ended: one operator that takes for ever."""
        log.error("an inference does not end, nor can it be ended; its thread is lost")
        self._lost.append(batch)
        self._settle(
            batch, ModelFailed("The model does not end for this input, nor can it be ended; send another one.")
        )
        self.start()

    def _finish(self, batch: Sequence[Job], done: Done) -> None:
        if (timer := self._timers.pop(id(batch), None)) is not None:
            timer.cancel()
        if batch in self._lost:  # it ended after all
            self._lost.remove(batch)
        else:
            self._settle(batch, done)
        if batch in self._lent:
            self._lent.remove(batch)
            self._workers.lent -= 1
        else:
            self._workers.release()
        self.start()

    def _settle(self, batch: Sequence[Job], done: Done) -> None:
        self._running -= 1
        self._probing -= sum(job.probe for job in batch)
        self._throughput.served(perf_counter(), len(batch))
        if isinstance(done, BaseException):
            raised = (
                done if isinstance(done, ModelFailed) else ModelFailed(f"the inference worker raised: {done!r}"[:300])
            )
            for job in batch:
                if not job.future.done():
                    job.future.set_exception(raised)
        else:
            answers, seconds = done
            cost_s = seconds / len(batch)
            self._batches += 1
            self.mean_cost_s += max(0.1, 1.0 / self._batches) * (cost_s - self.mean_cost_s)
            self.inferences += len(batch)
            self._hand_over(list(zip(batch, answers, strict=True)), cost_s)

    def _hand_over(self, answered: list[tuple[Job, Output]], cost_s: float) -> None:
        """Wake those who wait for answers, a few in each round of the loop."""
        for job, answer in answered[:AT_ONCE]:
            if job.future.done():
                continue
            if isinstance(answer, LikewiseError):
                job.future.set_exception(answer)
            else:
                job.future.set_result((answer, cost_s))
        if len(answered) > AT_ONCE:
            asyncio.get_running_loop().call_soon(self._hand_over, answered[AT_ONCE:], cost_s)

    def overloaded(self, why: str) -> Overloaded:
        """Return the error for an input that cannot be computed now, with the time after which to come back."""
        wait_s = max(1.0, self.queued * self.mean_cost_s)
        return Overloaded(f"{why}; come back in about {wait_s:.0f} s, or raise queue_limit", wait_s)


def _late() -> DeadlineExceeded:
    return DeadlineExceeded("The time in Request-Timeout passed before the model had room; give more, or come back.")
