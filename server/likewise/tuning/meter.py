"""What a model takes in two parts, measured in turns with the model in one, as a server runs both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from likewise.errors import LikewiseError
from likewise.evaluation.own import Subject
from likewise.inference.model import OnnxModel
from likewise.tuning.graph import Cut, Graph, Pool
from likewise.tuning.timing import MOST_S, Ratio, compared, measured
from likewise.types import Input, Tensor

MOST_WHOLE = 1.03
"""Key and rest together may take this much of the time of the model alone."""
_ROUGH_CALLS, _ROUGH_ROUNDS = 5, 3
_TRIED = 4
"""Inputs whose outputs are compared."""
TOLERANCE = 1e-3
"""Of outputs of the two parts against the model's own, relative to the largest."""


class Form(NamedTuple):
    """How two parts of a model are made: whether the tensor between them goes through a pooling of single pixels."""

    begin: bool = False
    """At the end of the first; see `Graph.before`."""
    rest: bool = False
    """At the beginning of the second; see `Graph.after`."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What the two parts of a model take."""

    key_s: float
    parts_s: float
    """Both, one after the other."""
    whole: Ratio
    """Of both, by the model alone."""
    form: Form
    """The fastest."""

    @property
    def too_much(self) -> bool:
        """Whether both take too much, beyond noise: there is no use in measuring longer."""
        return self.whole.low > MOST_WHOLE

    @property
    def little_enough(self) -> bool:
        """Whether both take little enough, beyond noise.

        Where a busy machine left that open when the time was up, half of the interval's upper part has to be within
        the limit: they take more once in ten times.
        """
        return (self.whole.value + self.whole.high) / 2 <= MOST_WHOLE


@dataclass(frozen=True, slots=True)
class Meter:
    """Cuts a model and measures the parts in turns with it, as a server runs them."""

    graph: Graph
    whole: OnnxModel
    tensors: Sequence[Tensor]
    """Prepared inputs, without the batch axis."""
    folder: Path

    @classmethod
    def on(
        cls, subject: Subject, graph: Graph, sample: Sequence[Input], folder: Path, note: Callable[[str], None]
    ) -> Meter | None:
        """Return one for some inputs; None, and why, where the model has no shape of its own."""
        computation = subject.computation
        assert computation is not None
        tensors = [computation.prepare(value) for value in sample]
        if computation.free or len({each.shape for each in tensors}) > 1:
            note("The model takes inputs of several shapes, so no early layer of it can be the key.")
            return None
        return cls(graph, OnnxModel(graph.path), tensors, folder)

    def key_s(self, cut: Cut, shape: tuple[int, ...], pool: Pool, projection: tuple[Tensor, Tensor]) -> float:
        """Return about how many seconds a key takes by a cut; see `cost`. None at all where it cannot be made."""
        try:
            begin = _loaded(self.folder / "before.onnx", self.graph.before(cut.tensor, pool, shape, *projection))
            (key_s,) = measured([begin.run_each()], self.tensors[:_ROUGH_CALLS], _ROUGH_ROUNDS)
        except LikewiseError:
            return 0.0
        return key_s

    def cost(
        self,
        cut: Cut,
        shape: tuple[int, ...],
        pool: Pool,
        projection: tuple[Tensor, Tensor],
        form: Form | None,
        most_s: float = MOST_S,
    ) -> Cost | None:
        """Return what a cut costs; None where ONNX Runtime does not take a part, or the parts give something else.

        projection: mean and matrix. form: None: whichever is fastest.
        """
        forms = [form] if form is not None else self._forms(cut, shape)
        try:
            begins = {
                at: _loaded(
                    self.folder / "before.onnx",
                    self.graph.before(cut.tensor, pool, shape, *projection, through_pool=at),
                )
                for at in {each.begin for each in forms}
            }
            rests = {
                at: _loaded(self.folder / "after.onnx", self.graph.after(cut.tensor, shape, through_pool=at))
                for at in {each.rest for each in forms}
            }
            pairs = [(begins[each.begin], rests[each.rest]) for each in forms]
            if not all(_agree(self.whole, *pair, self.tensors[:_TRIED]) for pair in pairs):
                return None
            run = {at: part.run_each() for at, part in begins.items()}
            parts = [partial(_in_parts, run[each.begin], rests[each.rest]) for each in forms]
            contenders: list[Callable[[Tensor], object]] = [*run.values(), *parts, partial(_alone, self.whole)]
            seconds, ratios = compared(contenders, self.tensors, MOST_WHOLE, most_s)
        except LikewiseError:
            return None
        at = min(range(len(forms)), key=lambda each: ratios[len(run) + each].value)
        key_s = seconds[list(run).index(forms[at].begin)]
        return Cost(key_s, seconds[len(run) + at], ratios[len(run) + at], forms[at])

    def _forms(self, cut: Cut, shape: tuple[int, ...]) -> list[Form]:
        """Return the ways in which the parts may be made for a tensor of that shape at a cut."""
        if len(shape) != 3:
            return [Form()]
        begins = [False, True] if self.graph.fuses_late(cut.tensor) else [False]
        return [Form(begin, rest) for begin in begins for rest in (False, True)]


def _in_parts(begin: Callable[[Tensor], Sequence[Tensor]], rest: OnnxModel, tensor: Tensor) -> object:
    return rest.run(begin(tensor)[1][None])


def _alone(whole: OnnxModel, tensor: Tensor) -> object:
    return whole.run(tensor[None])


def _loaded(path: Path, content: bytes) -> OnnxModel:
    path.write_bytes(content)
    return OnnxModel(path)


def _agree(whole: OnnxModel, before: OnnxModel, after: OnnxModel, tensors: Sequence[Tensor]) -> bool:
    """Say whether the parts together give what the model gives, within float error."""
    for tensor in tensors:
        expected = whole.run(tensor[None])
        found = after.run(before.run(tensor[None])[1])
        for one, other in zip(expected, found, strict=True):
            if one.shape != other.shape:
                return False
            scale = max(float(np.abs(one).max(initial=0.0)), 1e-6)
            if not np.abs(one.astype(np.float64) - other).max(initial=0.0) <= TOLERANCE * scale:
                return False
    return True
