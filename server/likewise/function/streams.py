"""The frames of cameras: a rung of the ladder that computes each from the one before; see docs/video.md."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from hashlib import sha256
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from likewise.decision.frames import FramePolicy
from likewise.errors import LikewiseError
from likewise.function.parts import Computation
from likewise.function.preparation_spec import Preparation
from likewise.inference.model import OnnxModel
from likewise.requests import Answer, Asked, Outcome
from likewise.results.labels import Labels
from likewise.types import Input, Result, Tensor, Verdict
from likewise.video.stream import Stream, StreamStore
from likewise.video.waiting import FrameRoom

if TYPE_CHECKING:
    from likewise.video.method import Frame, Method
    from likewise.video.model import VideoModel

log = logging.getLogger(__name__)

SHAPES = 4
"""Shapes of input for which a model is kept ready, where it takes several."""
RATE = 0.1


@dataclass(slots=True)
class Offered:
    """What a stream has for a frame: the offer's result, or the full run's where the method made one."""

    stream: Stream
    result: Result
    full: bool
    cost_s: float


class Streams:
    """The streams of one function. A `likewise.ports.Rung`; belongs to one event loop.

    method: a name in `video.methods.make`. unit: what one gray level of 255 is in the model's input; None: its
    range is taken from the first frame. room: for the frames that wait.
    """

    def __init__(
        self,
        function: str,
        computation: Computation,
        policy: FramePolicy,
        labels: Labels,
        store: StreamStore,
        executor: Executor,
        *,
        method: str = "auto",
        epsilon: float = 0.05,
        unit: tuple[float, ...] | None = None,
        room: FrameRoom | None = None,
    ) -> None:
        self._function = function
        self._computation = computation
        self.policy = policy
        self._labels = labels
        self._store = store
        self._executor = executor
        self._method = method
        self._epsilon = epsilon
        self._unit = unit
        self._models: dict[tuple[int, ...], VideoModel | None] = {}
        self._building = asyncio.Lock()
        self._work = math.nan
        self._failed = False
        self._room = room or FrameRoom()

    async def follow(self, asked: Asked) -> None:
        """Compute a frame from those before it, in its turn, and put what comes out into the request.

        Nothing where a full run is cheaper. Raises LateFrame where the request wants that; Overloaded, and
        DeadlineExceeded, where it has no turn.
        """
        tag = asked.control.stream
        assert tag is not None
        assert asked.value is not None
        if self._failed:
            return
        account = asked.session.account if asked.session is not None else ""
        place = self._function, account, tag.name
        stream = self._store.get(place)
        with self._room.place(account, asked.value.size_bytes) as frame:
            sent = b""
            if tag.number >= 0:  # else nothing tells one that is sent again
                sent = asked.body_digest or sha256(asked.body, usedforsecurity=False).digest()
            async with stream.turn(tag, self._room.waiting(frame, asked.left_s), sent) as next_one:
                if next_one and not (stream.method is not None and stream.method.passes()):
                    await self._compute(place, stream, asked, asked.value)

    async def _compute(self, place: tuple[str, str, str], stream: Stream, asked: Asked, value: Input) -> None:
        started = perf_counter()
        loop = asyncio.get_running_loop()
        given = await loop.run_in_executor(self._executor, self._prepare, value)
        if stream.method is None:
            stream.method = await self._open(given)
        if stream.method is None:
            return
        try:
            found = await loop.run_in_executor(self._executor, self._run, stream.method, given, value)
        except LikewiseError as error:
            log.warning("%s: stream `%s` starts anew: %s", self._function, place[2], error.detail)
            stream.method = None
            return
        finally:
            self._store.settle(place, stream)
        if found is not None:
            frame, result = found
            self._work = frame.work if math.isnan(self._work) else self._work + RATE * (frame.work - self._work)
            asked.offered = Offered(stream, result, frame.full, perf_counter() - started)

    def _prepare(self, value: Input) -> Tensor:
        return np.ascontiguousarray(self._computation.prepare(value), np.float32)

    def _run(self, method: Method, given: Tensor, value: Input) -> tuple[Frame, Result] | None:
        frame = method.frame(given)
        if frame is None:
            return None
        return frame, self._computation.encode([output[0] for output in frame.outputs], value)

    async def _open(self, given: Tensor) -> Method | None:
        """Return the method of a new stream; None where the model cannot be computed incrementally."""
        async with self._building:
            if given.shape not in self._models:
                loop = asyncio.get_running_loop()
                model = await loop.run_in_executor(self._executor, self._build, given)
                if len(self._models) >= SHAPES:
                    self._models.pop(next(iter(self._models)))
                self._models[given.shape] = model
        model = self._models.get(given.shape)
        if model is None:
            return None
        from likewise.video.methods.make import make_method  # needs the extra `video`

        return make_method(self._method, model, self._epsilon)

    def _build(self, given: Tensor) -> VideoModel | None:
        computation = self._computation
        try:
            from likewise.video.model import VideoModel  # needs the extra `video`
        except ImportError:
            log.warning("%s: streams are computed in full; install likewise[video]", self._function)
            self._failed = True
            return None
        unit = self._unit or (max(float(given.max() - given.min()), 1e-6) / 255.0,)
        try:
            whole = computation.model
            if computation.feed is not computation.prepare:
                raise ValueError("an early layer of its model is the key")
            if not isinstance(whole, OnnxModel) or not whole.plain:
                raise ValueError("its model runs in windows, has other inputs, or has no batch axis on both sides")
            if given.ndim != 3 or whole.dtype != np.float32:
                raise ValueError(f"its input has shape {list(given.shape)} and type {whole.dtype}")
            if len(unit) not in (1, len(given)):
                raise ValueError("its channels do not come first")
            model = VideoModel(whole.path, given.shape, whole.outputs, whole.run, unit)
            if not model.fits:
                raise ValueError("nothing in it is computed for each place of a picture")
            model.warm()
        except (LikewiseError, ValueError) as error:
            log.warning("%s: frames are computed in full: %s", self._function, error)
            return None
        return model

    # ── the rung ───────────────────────────────────────────────────────────────────────────────────────────

    def offer(self, asked: Asked) -> Verdict | None:
        """Return the verdict on what was computed for a frame, None where there is nothing."""
        offered: Offered | None = asked.offered
        if offered is None or offered.full:
            return None
        method = offered.stream.method
        risk = method.risk if method is not None else 0.5
        label = self._labels.label(offered.result)
        risk = offered.stream.novelty.risk(risk, offered.result, self._labels.alike)
        return self.policy.decide(label, risk, offered, asked.session, asked.limit)

    def take(self, asked: Asked, verdict: Verdict, full_s: float) -> tuple[Answer, float]:
        """Return the answer for an offer that was taken, and the seconds saved."""
        offered: Offered = asked.offered
        answer = Answer(offered.result, Outcome.HIT, verdict.reason, confidence=verdict.confidence)
        return answer, max(0.0, full_s - offered.cost_s)

    def learn(self, verdict: Verdict, label: int, result: Result) -> bool:
        """Take in a full run of a frame that had an offer; return whether that was wrong.

        What moves passes from one group of equal results to another, so the two are compared by themselves.
        """
        offered: Offered = verdict.origin
        wrong = not self._labels.alike(result, offered.result)
        self.policy.learn(verdict, label, wrong)
        method = offered.stream.method
        if method is not None:
            method.learn(wrong)
        return wrong

    def close(self) -> None:
        """Drop all state."""
        self._store.forget(self._function)

    def statistics(self) -> Mapping[str, Any]:
        """Return the numbers of /v1/stats."""
        streams = self._store.of(self._function)
        return {
            "streams": len(streams),
            "bytes": sum(stream.nbytes for stream in streams),
            "frames": sum(stream.frames for stream in streams),
            "offers": self.policy.offers,
            "taken": self.policy.taken,
            "probes": self.policy.probes,
            "wrong": self.policy.wrong,
            "work": None if math.isnan(self._work) else round(self._work, 4),
            "method": self._method,
        }


def unit_of(preparation: Preparation) -> tuple[float, ...]:
    """Return what one gray level is in a prepared picture, by channel."""
    std, scale = preparation.std or (1.0,), preparation.scale or 255.0
    return tuple(1.0 / (scale * each) for each in (std * preparation.channels if len(std) == 1 else std))
