"""Early layers of the model as keys: where it may be cut, what tells results apart there, and what that costs."""

from __future__ import annotations

import hashlib
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from likewise.evaluation.own import BATCH
from likewise.files import PUBLIC, write_atomic
from likewise.inference.graphs import peeker
from likewise.learning.lda import Projection
from likewise.tuning.candidates import Candidate, Material
from likewise.tuning.fits import DIMENSION
from likewise.tuning.graph import Cut, Graph, Pool, pooled, rooted
from likewise.tuning.meter import MOST_WHOLE, Cost, Form, Meter
from likewise.types import Keys, Tensor

MOST_NUMBERS = 1024
"""Most pooled numbers that a projection is fitted on: the fit takes their cube."""
GRIDS = (1, 2, 4)
_LARGEST = float(np.finfo(np.float16).max)
MOST_PLACES, MOST_PLAYED = 6, 3
"""Cuts that are measured, and those of them that are played: what harvests most in hindsight, and costs little."""
ROUGH_S = 5.0
"""Seconds for which a place is measured before it is known what its key is made of."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A cut that may be worth its cost."""

    cut: Cut
    shape: tuple[int, ...]
    """Of the tensor, without its batch axis."""
    form: Form
    """In which the parts are fastest."""


def early_layers(
    material: Material, most_s: float, advance: Callable[[int], None], note: Callable[[str], None]
) -> list[Candidate]:
    """Return the best key of each early layer that costs at most `most_s` seconds; note: says why there are none."""
    subject = material.subject
    model = subject.spec.model
    assert model is not None
    if model.fixed or model.overlap is not None or model.batch != "both":
        note("The model has fixed inputs, windows or no batch axis, so no early layer of it can be the key.")
        return []
    graph = Graph(subject.folder / str(subject.version) / model.file)
    with tempfile.TemporaryDirectory(prefix="likewise-") as folder:
        meter = Meter.on(subject, graph, material.sample, Path(folder), note)
        places = _places(meter, most_s, note) if meter else []
        if meter is None or not places:
            return []
        features = _features(material, graph, places, advance)
        fits = []
        for place in places:
            best = material.best_fit_of(_numbers(features, place))
            if best is not None:
                fits.append((place, best))
        found: list[Candidate] = []
        for place, best in sorted(fits, key=lambda each: -each[1].score):
            if len(found) == MOST_PLAYED:
                break
            pool, whole = best.source, best.whole
            cost = meter.cost(place.cut, place.shape, pool, (whole.mean, whole.matrix), place.form)
            if cost is None:
                continue
            if not cost.little_enough:
                note(_too_much(place.cut, cost))
                continue
            write = _writer(graph, place, pool, whole)
            rest_s = max(0.0, cost.parts_s - cost.key_s)
            found.append(Candidate(_called(place.cut), best.keys, cost.key_s, rest_s, False, write, cost.whole))
    return found


def _numbers(features: Mapping[tuple[str, Pool], Tensor], place: _Place) -> dict[Pool, Keys]:
    """Return what the tensor of a place comes to, by each pool, as sums and as their roots."""
    found = {}
    for pool in _pools(place.shape):
        plain = features[place.cut.tensor, pool].astype(np.float32)
        found.update({pool: plain, replace(pool, root=True): rooted(plain)})
    return found


def _called(cut: Cut) -> str:
    return f"layer {cut.tensor} ({cut.depth:.0%})"


def _too_much(cut: Cut, cost: Cost) -> str:
    ratio = cost.whole
    return (
        f"{_called(cut)} is left out: key and rest take {ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f}) times "
        f"the model alone, {'over' if cost.too_much else 'not surely within'} {MOST_WHOLE}."
    )


def _pools(shape: Sequence[int]) -> list[Pool]:
    """Return the ways in which a tensor of that shape may be made short."""
    if len(shape) < 2:
        return [Pool((), 1)] if shape and shape[0] <= MOST_NUMBERS else []
    # channels come first behind a convolution; of two axes, either may be places
    choices = [tuple(range(1, len(shape)))] if len(shape) > 2 else [(1,), (0,)]
    found = []
    for axes in choices:
        for grid in GRIDS:
            count = int(np.prod([grid if axis in axes else size for axis, size in enumerate(shape)]))
            if all(shape[axis] >= grid for axis in axes) and count <= MOST_NUMBERS:
                found.append(Pool(axes, grid))
    return found


def _places(meter: Meter, most_s: float, note: Callable[[str], None]) -> list[_Place]:
    """Return the cuts that may pay, each measured in turns with the model itself on the same inputs."""
    cuts = meter.graph.cuts()
    if not cuts:
        note("No tensor of the model is all that its rest needs, so no early layer of it can be the key.")
        return []
    shapes = _shapes(meter.graph, cuts, meter.tensors[0])
    cuts = [cut for cut in cuts if _pools(shapes.get(cut.tensor, ()))]
    # those behind one that costs too much cost more
    early = bisect_right(cuts, most_s, key=lambda cut: meter.key_s(cut, *_rough(shapes[cut.tensor])))
    found: list[_Place] = []
    for cut in worth_a_look(cuts[:early], shapes):
        shape = shapes[cut.tensor]
        cost = meter.cost(cut, *_rough(shape), None, ROUGH_S)
        if cost is None:
            continue
        if cost.too_much:
            note(_too_much(cut, cost))
        else:
            found.append(_Place(cut, shape, cost.form))
    if not found:
        note("No early layer of the model is cheap enough to be the key.")
    return found


def worth_a_look(cuts: Sequence[Cut], shapes: Mapping[str, tuple[int, ...]]) -> list[Cut]:
    """Return some of the cuts, from all depths; of neighbors the one with the smallest tensor, which is handed over.

    shapes: of the tensors, without the batch axis.
    """
    parts = np.array_split(np.arange(len(cuts)), MOST_PLACES)
    sizes = [int(np.prod(shapes[cut.tensor])) for cut in cuts]
    return [cuts[min(part.tolist(), key=lambda at: (sizes[at], -at))] for part in parts if len(part)]


def _rough(shape: tuple[int, ...]) -> tuple[tuple[int, ...], Pool, tuple[Tensor, Tensor]]:
    """Return a tensor's shape, and a pool and a projection of it that cost what others do."""
    pool = _pools(shape)[0]
    count = int(np.prod([pool.grid if axis in pool.axes else n for axis, n in enumerate(shape)]))
    return shape, pool, (np.zeros(count, np.float32), np.zeros((count, DIMENSION), np.float32))


def _shapes(graph: Graph, cuts: Sequence[Cut], tensor: Tensor) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of numbers at a cut, without its batch axis."""
    found = {}
    looked = peeker(graph.with_outputs([cut.tensor for cut in cuts]))(tensor[None])
    for name, output in looked.items():
        if output.dtype == np.float32 and output.ndim > 1 and output.shape[0] == 1:
            found[name] = tuple(output.shape[1:])
    return found


def _features(
    material: Material, graph: Graph, places: Sequence[_Place], advance: Callable[[int], None]
) -> dict[tuple[str, Pool], Tensor]:
    """Return the pooled numbers of each request at each place, by tensor and pool; shape (n, numbers), float16."""
    subject = material.subject
    computation = subject.computation
    assert computation is not None
    names = [place.cut.tensor for place in places]
    run = peeker(graph.with_outputs(names), subject.threads)
    parts: dict[tuple[str, Pool], list[Tensor]] = {(p.cut.tensor, pool): [] for p in places for pool in _pools(p.shape)}
    batch: list[Tensor] = []

    def flush() -> None:
        for name, output in run(np.stack(batch)).items():
            for tensor, pool in parts:
                if tensor == name:
                    parts[tensor, pool].append(np.clip(pooled(output, pool), -_LARGEST, _LARGEST).astype(np.float16))
        advance(len(batch))
        batch.clear()

    for value in material.values():
        batch.append(computation.prepare(value))
        if len(batch) >= (BATCH if computation.model.dynamic_batch else 1):
            flush()
    if batch:
        flush()
    return {name: np.concatenate(each) for name, each in parts.items()}


def _writer(graph: Graph, place: _Place, pool: Pool, projection: Projection) -> Callable[[Path], Mapping[str, Any]]:
    def write(folder: Path) -> Mapping[str, Any]:
        parts = {
            "layer": graph.before(
                place.cut.tensor, pool, place.shape, projection.mean, projection.matrix, through_pool=place.form.begin
            ),
            "rest": graph.after(place.cut.tensor, place.shape, through_pool=place.form.rest),
        }
        names = {name: f"{name}-{hashlib.sha256(content).hexdigest()[:12]}.onnx" for name, content in parts.items()}
        for name, content in parts.items():
            write_atomic(folder / names[name], content, PUBLIC)
        return {
            "name": "layer", "extractor": "layer", "metric": "cosine", "file": names["layer"], "rest": names["rest"],
        }  # fmt: skip

    return write
