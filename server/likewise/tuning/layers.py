"""Early layers of the model as keys: where it may be cut, what tells results apart there, and what that costs."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from likewise.errors import LikewiseError
from likewise.evaluation.own import BATCH, Read, Subject
from likewise.files import PUBLIC, write_atomic
from likewise.inference.graphs import peeker
from likewise.inference.model import OnnxModel
from likewise.learning.lda import Projection, fit_lda
from likewise.tuning.candidates import ROUNDS, Candidate, Split, measured
from likewise.tuning.graph import Cut, Graph, Pool, pooled
from likewise.tuning.play import hindsight
from likewise.types import Input, Keys, Tensor
from likewise.workloads.inputs import Inputs

DIMENSION = 48
"""Most numbers of a key from a layer."""
MOST_NUMBERS = 1024
"""Most pooled numbers that a projection is fitted on: the fit takes their cube."""
GRIDS = (1, 2, 4)
MOST_WHOLE = 1.03
"""Key and rest together may take this much of the time of the model alone."""
IN_DOUBT = 1.1
"""Up to here it is measured again, for longer."""
_JUDGED = 2000
"""Requests by which pools and projections of one layer are compared; the comparison takes their square."""
TOLERANCE = 1e-3
"""Of outputs of the two parts against the model's own, relative to the largest."""


Fit = Callable[[Keys, Any], Projection | None]
"""From numbers and labels to a projection of the numbers."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A cut that may be worth its cost."""

    cut: Cut
    shape: tuple[int, ...]
    """Of the tensor, without its batch axis."""
    key_s: float
    rest_s: float


def early_layers(
    subject: Subject,
    inputs: Inputs,
    read: Read,
    parts: Split,
    sample: Sequence[Input],
    most_s: float,
    target: float,
    advance: Callable[[int], None],
    note: Callable[[str], None],
) -> list[Candidate]:
    """Return the best key of each early layer that costs at most `most_s` seconds; note: says why there are none."""
    model = subject.spec.model
    assert model is not None
    if model.fixed or model.overlap is not None or model.batch != "both":
        note("The model has fixed inputs, windows or no batch axis, so no early layer of it can be the key.")
        return []
    graph = Graph(subject.folder / str(subject.version) / model.file)
    places = _places(subject, graph, sample, most_s, note)
    if not places:
        return []
    features = _features(subject, inputs, read, graph, places, advance)
    labels = np.array(read.labels)
    judged = parts.played[:_JUDGED]
    found = []
    for place in places:
        best: tuple[float, Pool, Fit] | None = None
        for pool in _pools(place.shape):
            numbers = features[place.cut.tensor, pool]
            fit: Fit
            for fit in FITS:
                projection = fit(numbers[parts.fitted], labels[parts.fitted])
                if projection is None:
                    continue
                share = hindsight(projection.many(numbers[judged]), labels[judged], 1 - target)
                if best is None or share > best[0] + 1e-9:
                    best = share, pool, fit
        if best is None:
            continue
        _, pool, fit = best
        numbers = features[place.cut.tensor, pool]
        tried, whole = fit(numbers[parts.fitted], labels[parts.fitted]), fit(numbers, labels)
        if tried is None or whole is None:
            continue
        found.append(
            Candidate(
                f"layer {place.cut.tensor} ({place.cut.depth:.0%})",
                tried.many(numbers[parts.played]),
                place.key_s,
                place.rest_s,
                False,
                _writer(graph, place, pool, whole),
            )
        )
    return found


def _pools(shape: Sequence[int]) -> list[Pool]:
    """Return the ways in which a tensor of that shape may be made short."""
    if len(shape) == 1:
        return [Pool((), 1)] if shape[0] <= MOST_NUMBERS else []
    # channels come first behind a convolution; of two axes, either may be places
    choices = [tuple(range(1, len(shape)))] if len(shape) > 2 else [(1,), (0,)]
    found = []
    for axes in choices:
        for grid in GRIDS:
            count = int(np.prod([grid if axis in axes else size for axis, size in enumerate(shape)]))
            if all(shape[axis] >= grid for axis in axes) and count <= MOST_NUMBERS:
                found.append(Pool(axes, grid))
    return found


def _principal(numbers: Keys, _: Any) -> Projection | None:
    """Return the directions of most variance, as they are: nothing is learned from the results."""
    mean = numbers.mean(axis=0)
    centered = (numbers - mean).astype(np.float64)
    spread, axes = np.linalg.eigh(centered.T @ centered)  # ascending
    kept = min(DIMENSION, int(np.count_nonzero(spread > 1e-9 * max(float(spread[-1]), 1e-12))))
    if kept < 1:
        return None
    return Projection(mean, np.ascontiguousarray(axes[:, -kept:], np.float32))


FITS: tuple[Fit, ...] = (
    partial(fit_lda, dimension=DIMENSION, shrinkage=0.1),
    partial(fit_lda, dimension=DIMENSION, shrinkage=0.4),
    _principal,
)
"""What is tried to make pooled numbers short."""


def _places(
    subject: Subject, graph: Graph, sample: Sequence[Input], most_s: float, note: Callable[[str], None]
) -> list[_Place]:
    """Return the cuts that pay, each measured in turns with the model itself on the same inputs."""
    computation = subject.computation
    assert computation is not None
    first = computation.prepare(sample[0])
    if computation.free or computation.prepare(sample[-1]).shape != first.shape:
        note("The model takes inputs of several shapes, so no early layer of it can be the key.")
        return []
    cuts = graph.cuts()
    if not cuts:
        note("No tensor of the model is all that its rest needs, so no early layer of it can be the key.")
        return []
    found: list[_Place] = []
    with tempfile.TemporaryDirectory() as folder:
        shapes = _shapes(graph, cuts, first)
        whole = OnnxModel(graph.path)
        for cut in cuts:
            shape = shapes.get(cut.tensor, ())
            pools = _pools(shape) if shape else []
            if not pools:
                continue
            count = int(np.prod([pools[-1].grid if axis in pools[-1].axes else n for axis, n in enumerate(shape)]))
            zeros = np.zeros(count, np.float32), np.zeros((count, DIMENSION), np.float32)
            try:
                before = _loaded(Path(folder) / "before.onnx", graph.before(cut.tensor, pools[-1], shape, *zeros))
                after = _loaded(Path(folder) / "after.onnx", graph.after(cut.tensor, shape))
                if not _agree(whole, before, after, [computation.prepare(value) for value in sample[:8]]):
                    continue
                begin = before.run_each()
                tensors = {id(value): computation.prepare(value) for value in sample}
                middles = {at: begin(tensor)[1] for at, tensor in tensors.items()}
                contenders = (
                    partial(_begin_with, begin, tensors),
                    partial(_go_on_with, after, middles),
                    partial(_go_on_with, whole, tensors),
                )
                key_s, rest_s, whole_s = measured(contenders, sample)
                if MOST_WHOLE < (key_s + rest_s) / whole_s < IN_DOUBT:
                    key_s, rest_s, whole_s = measured(contenders, sample, 4 * ROUNDS)
            except LikewiseError:  # a part that ONNX Runtime does not take is no place to cut
                continue
            if key_s > most_s:
                break  # those behind it cost more
            if key_s + rest_s <= MOST_WHOLE * whole_s:
                found.append(_Place(cut, shape, key_s, rest_s))
    if not found:
        note("No early layer of the model is cheap enough to be the key.")
    return found


def _begin_with(run: Callable[[Tensor], object], tensors: Mapping[int, Tensor], value: Input) -> object:
    return run(tensors[id(value)])


def _go_on_with(model: OnnxModel, tensors: Mapping[int, Tensor], value: Input) -> object:
    return model.run(tensors[id(value)][None])


def _shapes(graph: Graph, cuts: Sequence[Cut], tensor: Tensor) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of numbers at a cut, without its batch axis."""
    found = {}
    looked = peeker(graph.with_outputs([cut.tensor for cut in cuts]))(tensor[None])
    for name, output in looked.items():
        if output.dtype == np.float32 and output.ndim > 1 and output.shape[0] == 1:
            found[name] = tuple(output.shape[1:])
    return found


def _features(
    subject: Subject, inputs: Inputs, read: Read, graph: Graph, places: Sequence[_Place], advance: Callable[[int], None]
) -> dict[tuple[str, Pool], Keys]:
    """Return the pooled numbers of each request at each place, by tensor and pool; shape (n, numbers)."""
    computation = subject.computation
    assert computation is not None
    names = [place.cut.tensor for place in places]
    run = peeker(graph.with_outputs(names), subject.threads)
    parts: dict[tuple[str, Pool], list[Keys]] = {(p.cut.tensor, pool): [] for p in places for pool in _pools(p.shape)}
    batch: list[Tensor] = []

    def flush() -> None:
        for name, output in run(np.stack(batch)).items():
            for tensor, pool in parts:
                if tensor == name:
                    parts[tensor, pool].append(pooled(output, pool))
        advance(len(batch))
        batch.clear()

    wanted = iter(read.places)
    place = next(wanted, None)
    for at, record in enumerate(inputs):
        if at == place:
            batch.append(computation.prepare(subject.read(record)[0]))
            place = next(wanted, None)
            if len(batch) >= (BATCH if computation.model.dynamic_batch else 1):
                flush()
    if batch:
        flush()
    return {name: np.concatenate(each) for name, each in parts.items()}


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


def _writer(graph: Graph, place: _Place, pool: Pool, projection: Projection) -> Callable[[Path], Mapping[str, Any]]:
    def write(folder: Path) -> Mapping[str, Any]:
        parts = {
            "layer": graph.before(place.cut.tensor, pool, place.shape, projection.mean, projection.matrix),
            "rest": graph.after(place.cut.tensor, place.shape),
        }
        names = {name: f"{name}-{hashlib.sha256(content).hexdigest()[:12]}.onnx" for name, content in parts.items()}
        for name, content in parts.items():
            write_atomic(folder / names[name], content, PUBLIC)
        return {
            "name": "layer", "extractor": "layer", "metric": "cosine", "file": names["layer"], "rest": names["rest"],
        }  # fmt: skip

    return write
