"""Computes a frame from the one before: each layer where its inputs changed, and writes what changed enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

import numpy as np

from likewise.inference.graphs import Piece
from likewise.types import Tensor
from likewise.video.convolution import Convolutions
from likewise.video.graph import Plan, with_outputs
from likewise.video.kernels import Kernels
from likewise.video.layers import Concat, Conv, Floats, Ints, Join, Layer, Pool, Resize, Scale
from likewise.video.layout import gains, limited, pads, rows_at_once
from likewise.video.scratch import Scratch
from likewise.video.state import State

NONE: Ints = np.zeros(0, np.int32)
NO_BIAS: Floats = np.zeros(0, np.float32)
WRITE_ALL = -1.0
SAMPLED = 8
"""Of the rows of an activation, one in so many is looked at for its root mean square."""


@dataclass(eq=False)
class _Step:
    """One run of `Network.step`."""

    state: State
    alpha: float
    care: float
    moved: Callable[[Layer, Ints], Ints] | None
    scratch: Scratch
    changed: dict[str, Ints]
    moves: dict[str, Floats] = field(default_factory=dict)
    """By tensor: squared change of each of the places that changed."""


class Network:
    """A model's plan, ready to be run for any number of streams. Any thread may, each stream in one at a time."""

    def __init__(self, plan: Plan, model: bytes, kernels: Kernels) -> None:
        """Set up. model: what the plan was read from."""
        self.plan = plan
        self._kernels: Any = kernels
        self.pads = pads(plan)
        self._convolutions = Convolutions(plan, self.pads, kernels)
        self._depthwise = {
            layer.output: np.ascontiguousarray(layer.weights[:, :, 0].T)
            for layer in plan.layers
            if isinstance(layer, Conv) and layer.depthwise
        }
        self._rest = None if plan.rest is None else Piece(plan.rest)
        self._limited = limited(plan)
        self._gains = {
            each.output: gains(each)
            for each in plan.layers
            if isinstance(each, Conv) and each.output not in plan.frontier
        }
        self._dense = Piece(with_outputs(model, [layer.output for layer in plan.layers]))
        self._free: list[Scratch] = []

    def state(self) -> State:
        """Return the state of a new stream, for `refresh`."""
        kept = {}
        for name, size in self.plan.sizes.items():
            pad = self.pads[name]
            kept[name] = np.zeros((size.height + 2 * pad, size.width + 2 * pad, size.channels), np.float32)
        size = self.plan.sizes[self.plan.input]
        return State(kept, np.zeros((size.channels, size.height, size.width), np.float32))

    # ── steps ──────────────────────────────────────────────────────────────────────────────────────────────

    def refresh(self, state: State, frame: Floats) -> None:
        """Compute a frame, shape (channels, height, width), as a whole, by ONNX Runtime."""
        plan = self.plan
        names = [layer.output for layer in plan.layers]
        wanted = [*names, *plan.rest_outputs]
        found = dict(zip(wanted, self._dense.run({plan.input: frame[None]}, wanted), strict=True))
        state.frame[...] = frame
        found[plan.input] = frame[None]
        for name in plan.sizes:
            squares = self._kernels.store(found[name][0], state.kept[name], self.pads[name])
            state.scales[name] = sqrt(float(squares) / max(found[name].size, 1))
        state.outputs = {name: found[name] for name in plan.outputs}
        for debt in state.debts.values():
            debt[:] = 0

    def renew(self, state: State, frame: Floats) -> None:
        """Compute a frame, shape (channels, height, width), as a whole, by what computes it in part.

        Convolutions of 3 × 3 round otherwise than in a full run: by about 1e-4 of a layer's root mean square at most.
        """
        plan, name = self.plan, self.plan.input
        state.frame[...] = frame
        self._kernels.store(frame, state.kept[name], self.pads[name])
        size = plan.sizes[name]
        self.step(state, np.arange(size.height * size.width, dtype=np.int32), WRITE_ALL)
        for name in plan.sizes:
            part = self.interior(state, name)[::SAMPLED]
            state.scales[name] = sqrt(float(np.vdot(part, part)) / max(part.size, 1))

    def interior(self, state: State, name: str) -> Floats:
        """Return an activation without its padding, shape (height, width, channels); it may be written."""
        pad = self.pads[name]
        kept = state.kept[name]
        return kept[pad : kept.shape[0] - pad, pad : kept.shape[1] - pad]

    def step(
        self,
        state: State,
        places: Ints,
        alpha: float,
        moved: Callable[[Layer, Ints], Ints] | None = None,
        care: float = 0.0,
    ) -> int:
        """Bring all layers up to date after pixels of the input were written; return the multiply-adds spent.

        places: those pixels, ascending. alpha: a row is written where it changed by more than so many times its
        layer's root mean square; 0: by anything; WRITE_ALL: always. moved: given a layer and the places that it is to
        compute, returns those that it shall instead. care: rows are computed where they are expected to have changed
        by so many times what they would have to; 0: wherever anything changed that they read.
        """
        try:
            scratch = self._free.pop()
        except IndexError:  # asked first, the last one might be gone to another thread
            scratch = self._convolutions.scratch()
        run = _Step(
            state, alpha, care if alpha > 0 and moved is None else 0.0, moved, scratch, {self.plan.input: places}
        )
        work = 0
        try:
            for layer in self.plan.layers:
                if moved is None and not any(len(run.changed[name]) for name in layer.inputs):
                    run.changed[layer.output] = NONE
                    continue
                work += self._layer(layer, run) * layer.work
        finally:
            self._free.append(scratch)
        self._answer(state, run.changed)
        return work

    def _layer(self, layer: Layer, run: _Step) -> int:
        """Compute a layer where its inputs changed, and note the places written; return how many were computed."""
        state, scratch, name = run.state, run.scratch, layer.output
        size = self.plan.sizes[name]
        limit = run.alpha
        if run.alpha > 0:
            limit = run.alpha * state.scales.get(name, 0.0) if name in self._limited else 0.0
        places = self._affected(layer, run)
        if run.moved is not None:
            places = run.moved(layer, places)
        count = len(places)
        if not count:
            run.changed[name] = NONE
            return 0
        if isinstance(layer, Concat):
            run.changed[name] = self._concatenate(layer, run, places, limit)
            return count
        convolutions = self._convolutions
        if limit < 0 and count == size.height * size.width and convolutions.whole(layer, state, scratch):
            run.changed[name] = places
            return count
        written, moves = np.empty(count, np.int32), np.empty(count, np.float32)
        if name in convolutions:
            total = convolutions.compute(layer, state, places, limit, run.alpha > 0, scratch, written, moves)
        else:
            total = self._by_rows(layer, state, places, limit, scratch, written, moves)
        run.changed[name], run.moves[name] = written[:total], moves[:total]
        return count

    def _by_rows(
        self, layer: Layer, state: State, places: Ints, limit: float, scratch: Scratch, written: Ints, moves: Floats
    ) -> int:
        """Compute some places after others; return how many were written."""
        name = layer.output
        size, pad = self.plan.sizes[name], self.pads[name]
        function, low, high = layer.activation
        bias = layer.bias if isinstance(layer, Conv | Scale) else NO_BIAS
        debt = state.debts.get(name, NO_BIAS)
        chunk, total = rows_at_once(size.channels), 0
        for start in range(0, len(places), chunk):
            part = places[start : start + chunk]
            rows = scratch.rows[: len(part) * size.channels].reshape(len(part), size.channels)
            self._compute(layer, state, part, rows)
            total += self._kernels.settle(
                rows, size.channels, bias, int(function), np.float32(low), np.float32(high), part, size.width, pad,
                limit, 0, state.kept[name], written[total:], moves[total:], debt,
            )  # fmt: skip
        return total

    def _affected(self, layer: Layer, run: _Step) -> Ints:
        """Return the places of a layer's outputs that read what changed."""
        kernels, source, size = self._kernels, self.plan.sizes[layer.inputs[0]], self.plan.sizes[layer.output]
        given, flags = [run.changed[name] for name in layer.inputs], run.scratch.flags
        if isinstance(layer, Conv | Pool):
            window = layer.reads
            if window.kernel == (1, 1) and window.stride == (1, 1) and window.pads == (0, 0):
                return given[0]
            out = np.empty(size.height * size.width, np.int32)
            if run.care and layer.output in self._gains and (moves := run.moves.get(layer.inputs[0])) is not None:
                bound = np.float32((run.care * run.alpha * run.state.scales[layer.output]) ** 2 * size.channels)
                debt = run.state.debts.get(layer.output)
                if debt is None:
                    debt = run.state.debts[layer.output] = np.zeros(len(out), np.float32)
                gains = self._gains[layer.output]
                count = kernels.spread(
                    given[0], moves, source.width, *window, size.width, gains, bound, debt, flags, out
                )  # fmt: skip
                return out[:count]
            if len(given[0]) == source.height * source.width:
                return np.arange(size.height * size.width, dtype=np.int32)
            count = kernels.reach(given[0], source.width, *window, size.height, size.width, flags, out)
            return out[:count]
        if isinstance(layer, Resize):
            out = np.empty(size.height * size.width, np.int32)
            return out[: kernels.stretch(given[0], source.width, *layer.spans, size.width, flags, out)]
        found = given[0]
        for each in given[1:]:
            if not len(each) or each is found:
                continue
            if not len(found):
                found = each
                continue
            out = np.empty(min(len(found) + len(each), size.height * size.width), np.int32)
            found = out[: kernels.merge(found, each, flags, out)]
        return found

    def _compute(self, layer: Layer, state: State, places: Ints, rows: Floats) -> None:
        kernels: Any = self._kernels
        name = layer.inputs[0]
        source, pad, size = state.kept[name], self.pads[name], self.plan.sizes[layer.output]
        if isinstance(layer, Conv):
            kernels.depthwise(source, pad, places, size.width, *layer.window, self._depthwise[layer.output], rows)
        elif isinstance(layer, Pool):
            kernels.pool(source, pad, places, size.width, *layer.window, layer.biggest, layer.padded, rows)
        elif isinstance(layer, Resize):
            kernels.resize(source, pad, places, size.width, *layer.rows, *layer.share, rows)
        else:
            others = layer.inputs[1:] if isinstance(layer, Join) else ()
            if isinstance(layer, Join) and layer.how == "add":
                kernels.add(source, pad, state.kept[others[0]], self.pads[others[0]], places, size.width, rows)
                others = others[1:]
            else:
                kernels.fetch(source, pad, places, size.width, rows)
            if isinstance(layer, Join):
                for other in others:
                    kernels.combine(
                        state.kept[other], self.pads[other], places, size.width, layer.how == "multiply", rows
                    )
            elif isinstance(layer, Scale) and len(layer.factor):
                kernels.scale(rows, layer.factor)

    def _concatenate(self, layer: Concat, run: _Step, places: Ints, limit: float) -> Ints:
        state, size, channel = run.state, self.plan.sizes[layer.output], 0
        target, pad = state.kept[layer.output], self.pads[layer.output]
        none = np.float32(0.0)
        for name in layer.inputs:
            channels, changed = self.plan.sizes[name].channels, places if limit < 0 else run.changed[name]
            if len(changed):
                rows = np.empty((len(changed), channels), np.float32)
                self._kernels.fetch(state.kept[name], self.pads[name], changed, size.width, rows)
                ignored = np.empty(len(changed), np.int32)
                self._kernels.settle(
                    rows, channels, NO_BIAS, 0, none, none, changed, size.width, pad, WRITE_ALL, channel, target,
                    ignored, np.empty(len(changed), np.float32), NO_BIAS,
                )  # fmt: skip
            channel += channels
        return places

    def _answer(self, state: State, changed: Mapping[str, Ints]) -> None:
        """Bring the model's outputs up to date."""
        plan = self.plan
        stale = [name for name in plan.frontier if len(changed[name]) or not state.outputs]
        fresh: dict[str, Tensor] = {}
        for name in stale if not self._rest or stale else ():
            fresh[name] = self._planes(state, name)
        for name in plan.outputs:
            if name in fresh:
                state.outputs[name] = fresh[name]
        if self._rest is not None and (
            any(name in fresh for name in plan.rest_inputs)
            or any(name not in state.outputs for name in plan.rest_outputs)
        ):
            inputs = {name: fresh[name] if name in fresh else self._planes(state, name) for name in plan.rest_inputs}
            for name, value in zip(plan.rest_outputs, self._rest.run(inputs, plan.rest_outputs), strict=True):
                state.outputs[name] = value

    def _planes(self, state: State, name: str) -> Floats:
        size = self.plan.sizes[name]
        out = np.empty((1, size.channels, size.height, size.width), np.float32)
        self._kernels.planes(state.kept[name], self.pads[name], out[0])
        return out
