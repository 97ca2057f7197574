"""One method plays one video: some frames by the full run, and the same by the method as it is served, in turns."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from time import thread_time
from typing import Any

import numpy as np

from likewise.decision.budget import Budget
from likewise.decision.frames import FramePolicy
from likewise.errors import InvalidFunction
from likewise.evaluation.own import Subject
from likewise.function.parts import Computation
from likewise.function.streams import unit_of
from likewise.inference.model import OnnxModel
from likewise.results.boxes import matched, read_boxes
from likewise.types import Image, Result, Source, Tensor
from likewise.video.method import Method
from likewise.video.methods.make import make_method
from likewise.video.model import VideoModel
from likewise.video.novelty import Novelty
from likewise.workloads.videos import Frames

BLOCK = 20
"""Frames that are played by the full run, then by the method: each as it runs where it is alone, its memory warm."""

Seen = Callable[[int, Frames, Tensor, Result], None]
"""Is told of each frame: its place, the frame, which blocks of it changed, and what was answered."""


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one method on one video."""

    method: str
    video: str
    frames: int
    speedup: float
    """Time of the full runs ÷ the method's with all probes and full runs that it needed; processor time."""
    work: float
    """Multiply-adds spent, in full runs of every frame."""
    accuracy: float
    """Share of answers that equal the full run's, as the function's spec has it."""
    f1: float
    """Of the boxes of all answers against the full run's; where the function finds none, as accuracy."""
    state_bytes: int
    """Most that was kept."""
    target: float
    seed: int
    reused: float
    """Share of frames answered from what was computed in part."""
    probes: float
    """Share of frames that were computed in full as well, to check."""
    full_ms: float
    """What a full run takes, in the mean."""

    def as_json(self) -> dict[str, Any]:
        """Return it for a file."""
        return asdict(self)


class Player:
    """A function, ready to play videos; its model is run on one core."""

    def __init__(self, subject: Subject) -> None:
        """Take over a function. Raises InvalidFunction for one that streams do not fit."""
        computation, spec = subject.computation, subject.spec
        if computation is None or spec.model is None or spec.input.kind != "image":
            raise InvalidFunction(
                f"{subject.folder}: video needs a function with a model that takes images; name one with --function"
            )
        model = computation.model
        if not isinstance(model, OnnxModel) or not model.plain or computation.feed is not computation.prepare:
            raise InvalidFunction(
                f"{subject.folder}: its model runs in windows, has other inputs, no batch axis or an early layer as "
                "the key; its frames are computed in full"
            )
        self._subject = subject
        self._computation: Computation = computation
        self._whole = model
        self._unit = unit_of(spec.model)
        self._models: dict[tuple[int, ...], VideoModel] = {}

    def play(
        self,
        method: str,
        video: str,
        frames: Iterable[Frames],
        target: float,
        seed: int = 0,
        seen: Seen | None = None,
    ) -> Row:
        """Return what comes of a method on a video. Raises LikewiseError."""
        labels, tally = self._subject.labels(), _Tally()
        coin = random.Random(f"{seed} {video}").random
        budget = Budget(target, accuracy_of=self._subject.spec.reuse.accuracy_of)
        policy, novelty = FramePolicy(budget, target, coin), Novelty()
        way: Method | None = None
        waiting = iter(frames)
        while block := list(islice(waiting, BLOCK)):
            values = [Image(pixels) for pixels in block]
            prepared = [np.ascontiguousarray(self._computation.prepare(value), np.float32) for value in values]
            if way is None:
                way = make_method(method, self._model(prepared[0]), 1.0 - target)
            full = [self._full(given) for given in prepared]
            for value, given, (outputs, full_s) in zip(values, prepared, full, strict=True):
                started = thread_time()
                found = None if way.passes() else way.frame(given)
                took_s = thread_time() - started
                truth = self._encode(outputs, value)
                answer, work, probed, computed = truth, 0.0 if found is None else found.work, False, found is None
                if found is None or found.full:
                    budget.ledger().earn_computed()
                else:
                    offered = self._encode(found.outputs, value)
                    risk = novelty.risk(way.risk, offered, labels.alike)
                    verdict = policy.decide(labels.label(offered), risk, way)
                    if verdict.source is Source.STREAM:
                        answer = offered
                    else:
                        computed, probed = True, verdict.probe
                        wrong = not labels.alike(truth, offered)
                        policy.learn(verdict, labels.label(truth), wrong)
                        way.learn(wrong)
                tally.add(full_s, took_s + full_s * computed, work + computed, way.nbytes)
                tally.compare(truth, answer, labels.alike(truth, answer), self._subject.spec.result.least)
                tally.reused += answer is not truth
                tally.probes += probed
                if seen is not None:
                    seen(tally.frames - 1, value.pixels, way.masks(), answer)
        return tally.row(method, video, target, seed)

    def _model(self, given: Tensor) -> VideoModel:
        if given.shape not in self._models:
            whole = self._whole
            model = VideoModel(whole.path, given.shape, whole.outputs, whole.run, self._unit, clock=thread_time)
            if not model.fits:
                raise InvalidFunction(f"{whole.path}: nothing in it is computed for each place of a picture")
            model.warm()
            self._models[given.shape] = model
        return self._models[given.shape]

    def _full(self, given: Tensor) -> tuple[Sequence[Tensor], float]:
        """Return what the whole model says, and the seconds that it takes."""
        started = thread_time()
        outputs = self._whole.run(given[None])
        return outputs, thread_time() - started

    def _encode(self, outputs: Sequence[Tensor], value: Image) -> Result:
        return self._computation.encode([output[0] for output in outputs], value)


class _Tally:
    """Sums over the frames of one video."""

    def __init__(self) -> None:
        self.frames = self.right = self.probes = self.reused = self.state_bytes = 0
        self.full_s = self.method_s = self.work = 0.0
        self.both = self.either = 0

    def add(self, full_s: float, method_s: float, work: float, state_bytes: int) -> None:
        """Account for what a frame took."""
        self.frames += 1
        self.full_s += full_s
        self.method_s += method_s
        self.work += work
        self.state_bytes = max(self.state_bytes, state_bytes)

    def compare(self, truth: Result, answer: Result, same: bool, least: float) -> None:
        """Account for what was answered. least: overlap of two boxes that are the same."""
        self.right += same
        theirs, ours = read_boxes(truth), read_boxes(answer)
        if theirs is not None and ours is not None:
            self.both += 2 * matched(theirs, ours, least)
            self.either += len(theirs.labels) + len(ours.labels)
        else:
            self.both += 2 * same
            self.either += 2

    def row(self, method: str, video: str, target: float, seed: int) -> Row:
        """Return the sums as shares."""
        count = max(self.frames, 1)
        return Row(
            method=method, video=video, frames=self.frames, target=target, seed=seed,
            speedup=round(self.full_s / max(self.method_s, 1e-9), 3), work=round(self.work / count, 4),
            accuracy=self.right / count, f1=round(self.both / self.either, 5) if self.either else 1.0,
            state_bytes=self.state_bytes, reused=self.reused / count, probes=self.probes / count,
            full_ms=round(1e3 * self.full_s / count, 3),
        )  # fmt: skip


def mean_row(rows: Sequence[Row]) -> Mapping[str, float]:
    """Return the means of what several seeds came to."""
    fields = ("speedup", "work", "accuracy", "f1", "reused", "probes", "full_ms")
    return {field: float(np.mean([getattr(row, field) for row in rows])) for field in fields}
