"""A model as video methods see it: its plan for one shape of input, ready to run, and what running it costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from math import inf
from pathlib import Path
from time import perf_counter

import numpy as np
import onnx
import onnx.utils

from likewise.inference.graphs import Piece, simplified
from likewise.types import Clock, Tensor
from likewise.video.change import Change
from likewise.video.graph import Plan, read, with_shape
from likewise.video.incremental import Network
from likewise.video.kernels import Kernels, kernels
from likewise.video.layers import Conv, Floats
from likewise.video.method import EXACT
from likewise.video.state import State

RATE = 0.2
Full = Callable[[Tensor], Sequence[Tensor]]
"""Runs the whole model on a batch of one."""


class VideoModel:
    """A model for inputs of one shape. Any thread may use it.

    model: the ONNX file, or its bytes. shape: (channels, height, width). outputs: names of those that are wanted.
    full: the plain full run; None: by a session of its own. unit: what one gray level of 255 is in the input, by
    channel. Raises InvalidFunction for a model that cannot be read.
    """

    def __init__(
        self,
        model: Path | bytes,
        shape: Sequence[int],
        outputs: Sequence[str],
        full: Full | None = None,
        unit: Sequence[float] | float = 1.0 / 255.0,
        clock: Clock = perf_counter,
        helpers: Kernels | None = None,
    ) -> None:
        loaded = onnx.load(model) if isinstance(model, Path) else onnx.load_from_string(model)
        name = str(model) if isinstance(model, Path) else "the model"
        fixed = with_shape(loaded, (1, *shape))
        reduced = self._reduced = simplified(fixed.SerializeToString(), name)
        self.shape = tuple(shape)
        self.outputs = tuple(outputs)
        self.plan: Plan = read(onnx.load_from_string(reduced), outputs)
        self.kernels: Kernels = helpers or kernels()
        self.network = Network(self.plan, reduced, self.kernels)
        self.unit: Floats = np.ascontiguousarray(np.broadcast_to(np.asarray(unit, np.float32), (self.shape[0],)))
        self.clock = clock
        if full is None:
            piece = Piece(reduced)
            full = lambda batch: piece.run({self.plan.input: batch}, self.outputs)  # noqa: E731
        self._full = full
        self.plain_s = 0.0
        """What a full run takes; measured by `warm`, and kept up to date by `took`."""
        self.refresh_runs = 1.0
        """What a refresh takes, in full runs."""
        self.renewal_runs = inf
        """What a renewal takes, a frame computed as a whole by the executor, in full runs; measured by `warm`."""

    @cached_property
    def cut(self) -> str | None:
        """The last tensor through which alone all outputs see the input, before those that are outputs themselves."""
        plan = self.plan
        for layer in reversed(plan.layers):
            if layer.output in plan.outputs:
                continue
            seen = {plan.input}
            for each in plan.layers:
                if each.output != layer.output and any(name in seen for name in each.inputs):
                    seen.add(each.output)
            if not any(name in seen for name in plan.frontier):
                return layer.output
        return None

    def halves(self, cut: str) -> tuple[Piece, Piece]:
        """Return the model up to a tensor, which comes out last, and from there on. Raises InvalidFunction."""
        first = onnx.load_from_string(self._reduced)
        first.graph.output.append(onnx.helper.make_tensor_value_info(cut, onnx.TensorProto.FLOAT, None))
        inferred = onnx.shape_inference.infer_shapes(onnx.load_from_string(self._reduced))
        second = onnx.utils.Extractor(inferred).extract_model([cut], list(self.outputs))
        return Piece(first.SerializeToString()), Piece(second.SerializeToString())

    @property
    def fits(self) -> bool:
        """Whether the plan has anything that is computed incrementally at a gain."""
        return any(isinstance(layer, Conv) for layer in self.plan.layers)

    def warm(self) -> State:
        """Compile helpers, measure a full run and return a first state."""
        zeros = np.zeros(self.shape, np.float32)
        state = self.network.state()
        times, refreshes, renewals = [], [], []
        for _ in range(4):
            started = self.clock()
            self.run(zeros)
            between = self.clock()
            self.network.refresh(state, zeros)
            after = self.clock()
            self.network.renew(state, zeros)  # the first time it is compiled
            times.append(between - started)
            refreshes.append(after - between)
            renewals.append(self.clock() - after)
        self.plain_s = min(times)
        self.refresh_runs = max(min(refreshes) / max(self.plain_s, 1e-9), 1.0)
        self.renewal_runs = min(renewals) / max(self.plain_s, 1e-9)
        name = self.plan.input
        other = zeros.copy()
        other[:, 0, :9] = 1.0
        change = Change(self.shape, self.unit, self.kernels)
        change.find(other, state.frame, EXACT)
        places = change.take_over(other, state.frame, state.kept[name], self.network.pads[name])
        self.network.step(state, places, 1e-6, care=1e-6)
        everywhere = np.arange(self.shape[1] * self.shape[2], dtype=np.int32)
        self.network.step(state, everywhere, 1e-6)
        return state

    def took(self, seconds: float, runs: float = 1.0) -> None:
        """Take in what as much as so many full runs took: they take longer where the machine is busy."""
        self.plain_s += RATE * (seconds / runs - self.plain_s)

    def run(self, given: Floats) -> tuple[Tensor, ...]:
        """Return the outputs of a full run, with their batch axis."""
        return tuple(self._full(given[None]))
