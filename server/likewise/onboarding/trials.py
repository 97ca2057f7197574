"""What is done with a model before anybody trusts it, in a process of its own: probed, and tried on real inputs.

See `processes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from likewise.errors import InvalidFunction, LikewiseError, ModelFailed
from likewise.features.decode import Decoder, Kind, decoder
from likewise.function.parts import Limits, Parts
from likewise.function.preparing import Prepared, prepared
from likewise.function.spec import ModelSpec
from likewise.function.spec_text import read_spec
from likewise.inference.model import OnnxModel
from likewise.onboarding.measures import information, little_changes, shares
from likewise.onboarding.operations import multiply_adds
from likewise.processes import answer
from likewise.results.labels import Labels
from likewise.types import Array, Audio, Image, Input, Tensor

MAX_CHANGED = 32
"""Pictures that are changed a little, to see how steady a preparation makes the model."""
MAX_REFUSED = 3
"""Inputs that cannot be read of which the reason is kept."""


def done(request: dict[str, Any]) -> dict[str, Any]:
    """Do what a request asks for. Raises LikewiseError."""
    return {"probe": _probe, "attempt": _attempt}[request["do"]](request, Limits(**request["limits"]))


class _Inputs:
    """Decodes the inputs of a request, and remembers which could not be."""

    def __init__(self, request: Mapping[str, Any], limits: Limits) -> None:
        kind: Kind = request["kind"]
        self._decode: Decoder = decoder(
            kind, max_pixels=limits.max_pixels, max_seconds=limits.max_audio_s, max_values=limits.max_elements
        )
        self._files: Sequence[tuple[str, str]] = request["inputs"]
        self._max_bytes: int = request["max_bytes"]
        self.refused: list[str] = []
        self.count_refused = 0

    def __iter__(self) -> Iterator[tuple[str, Input]]:
        for name, media_type in self._files:
            path = Path(name)
            try:
                size = path.stat().st_size
                if size > self._max_bytes:
                    raise ModelFailed(f"has {size} bytes, and the server takes {self._max_bytes}; raise max_body_bytes")
                yield name, self._decode(media_type, path.read_bytes())
            except LikewiseError as error:
                self.refuse(path, error.detail)
            except OSError as error:
                self.refuse(path, error.strerror or str(error))

    def refuse(self, path: Path | str, why: str) -> None:
        """Remember that an input could not be read."""
        self.count_refused += 1
        if len(self.refused) < MAX_REFUSED:
            self.refused.append(f"{Path(path).name}: {why}")

    def check(self, read: int) -> None:
        """Raise InvalidFunction where none could be read."""
        if self._files and not read:
            raise InvalidFunction(
                f"none of {len(self._files)} inputs can be used: {'; '.join(self.refused)}; "
                "name a folder with inputs as devices send them"
            )


def _probe(request: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """Run a model on inputs, or on zeros, as each of several preparations has it.

    Returns the outputs' shapes without the batch axis, and for each preparation how much the first output tells.
    """
    path = Path(request["model"])
    tables = [ModelSpec.model_validate(each) for each in request["preparations"]]
    kind: Kind = request["kind"]
    model, tables, sized = _computing(path, request["outputs"], kind, tables, request["sizes"], limits)
    made = [prepared(kind, table, model, str(path)) for table in tables]
    inputs = _Inputs(request, limits)
    values = []
    for name, value in inputs:
        try:
            made[0].prepare(value)
        except LikewiseError as error:
            inputs.refuse(name, error.detail)
        else:
            values.append(value)
    inputs.check(len(values))
    outputs = _outputs(model, made[0], values, limits)
    pictures = [value for value in values if isinstance(value, Image)]
    many = [axis for axis in outputs[0][0].shape if axis != 1]
    comparable = len(tables) > 1 and len(pictures) >= 2 and len(many) == 1 and outputs[0][0].dtype.kind == "f"
    told, best = _compared(model, made, pictures) if comparable else ([], [])
    return {
        "outputs": [
            _described(name, rows) for name, rows in zip(model.outputs, zip(*outputs, strict=True), strict=True)
        ],
        "sized": sized,
        "batch": model.batch,
        "told": told,
        "by_input": best,
        "read": len(values),
        "refused": inputs.refused,
        "count_refused": inputs.count_refused,
        "on_zeros": not values,
    }


def _computing(
    path: Path,
    outputs: Sequence[str],
    kind: Kind,
    tables: list[ModelSpec],
    sizes: Sequence[Mapping[str, Any]],
    limits: Limits,
) -> tuple[OnnxModel, list[ModelSpec], Mapping[str, Any]]:
    """Return the model, the preparations in a size that it computes zeros of, and what that is where it is another.

    Where outputs have no batch axis the model is taken so. Raises InvalidFunction where nothing can be computed.
    """
    first = tables[0]
    failed: LikewiseError | None = None
    for batch in (first.batch, "input") if first.batch == "both" else (first.batch,):
        model = OnnxModel(path, input=first.input, fixed=first.fixed_inputs, outputs=outputs, batch=batch)
        for size in ({}, *sizes):
            changed = [_resized(table, size) for table in tables]
            try:
                made = prepared(kind, changed[0], model, str(path))
                _single(model, _zeros(model, made, limits), windows=False)
            except ModelFailed as error:
                failed = failed or error
            else:
                return model, changed, size
    assert failed is not None
    free = None in model.shape
    remedy = {
        "image": "say what it takes: --set model.size=[WIDTH,HEIGHT], with --set model.resize=…",
        "audio": "say how long its input is: --set model.samples=N",
    }.get(kind, "export it with a fixed shape")
    raise InvalidFunction(
        f"{failed.detail}; {remedy if free else 'check the values of its fixed inputs, or export it again'}"
    )


def _resized(table: ModelSpec, size: Mapping[str, Any]) -> ModelSpec:
    if not size:
        return table
    kept = table.model_dump(exclude_unset=True, exclude={"resize", "multiple", "min_side", "max_side"})
    return ModelSpec.model_validate({**kept, **size})


def _zeros(model: OnnxModel, made: Prepared, limits: Limits) -> Tensor:
    """Return an input of zeros. Raises InvalidFunction where that is larger than the server takes."""
    shape = made.trial or tuple(axis or 16 for axis in model.shape)
    if np.prod(shape, dtype=np.float64) > max(limits.max_elements, 3 * limits.max_pixels):
        raise InvalidFunction(
            f"{model.path}: takes an input of {'×'.join(map(str, shape))}, and this server at most "
            f"{limits.max_elements} numbers; raise max_elements, or export it for a smaller input"
        )
    return np.zeros(shape, model.dtype)


def _outputs(model: OnnxModel, made: Prepared, values: Sequence[Input], limits: Limits) -> list[list[Tensor]]:
    """Return the outputs for each input, without the batch axis; for one of zeros where there is none."""
    if values:
        return [_single(model, made.prepare(value), made.windows) for value in values]
    return [_single(model, _zeros(model, made, limits), windows=False)]


def _single(model: OnnxModel, tensor: Tensor, windows: bool) -> list[Tensor]:
    return [output[0] for output in model.run(tensor[:1] if windows else tensor[None])]


def _described(name: str, rows: Sequence[Tensor]) -> dict[str, Any]:
    first = rows[0]
    flat = [row.astype(np.float64).ravel() for row in rows if row.dtype.kind == "f" and row.size]
    finite = all(bool(np.isfinite(row).all()) for row in flat)
    return {
        "name": name,
        "shape": list(first.shape),
        "dtype": first.dtype.name,
        "finite": finite,
        "shares": finite and bool(flat) and all(row.min() >= 0 and abs(row.sum() - 1) < 1e-3 for row in flat),
        "unit": finite and bool(flat) and all(row.min() >= 0 and row.max() <= 1 for row in flat),
    }


def _scores(model: OnnxModel, made: Prepared, pictures: Sequence[Image]) -> np.ndarray[Any, np.dtype[np.float64]]:
    rows = [_single(model, made.prepare(each), windows=False)[0].ravel() for each in pictures]
    return np.nan_to_num(np.array(rows, np.float64), nan=0.0, posinf=1e6, neginf=-1e6)


def _compared(
    model: OnnxModel, made: Sequence[Prepared], pictures: Sequence[Image]
) -> tuple[list[float], list[list[int]]]:
    """Return for each preparation how much is told of the pictures, and the best class of each.

    Only the better half is asked of changed pictures as well; 0 for the others.
    """
    some = [pictures[at * len(pictures) // MAX_CHANGED] for at in range(min(len(pictures), MAX_CHANGED))]
    if len(pictures) <= MAX_CHANGED:
        some = list(pictures)
    changed = [list(each) for each in zip(*map(little_changes, some), strict=True)]
    found = [shares(_scores(model, each, pictures)) for each in made]
    first = [information(each, []) for each in found]
    least = sorted(first)[len(first) // 2 - (len(first) % 2 == 0)]
    told = []
    for so, plain in zip(made, first, strict=True):
        if plain < least:
            told.append(0.0)
            continue
        alike = shares(_scores(model, so, some))
        told.append(information(alike, [shares(_scores(model, so, group)) for group in changed]))
    return told, [each.argmax(axis=1).tolist() for each in found]


def _attempt(request: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """Compute results and keys of inputs as the server would, with what is checked on the way.

    Raises InvalidFunction for a function that cannot be served, and for outputs that are not finite.
    """
    folder = Path(request["folder"])
    spec, version = read_spec(folder)
    parts = Parts(spec, folder, version, limits)
    assert spec.model is not None
    found = parts.computation(spec.model, threads=1)
    keys = [parts.key_type(key, folder.name) for key in spec.keys]
    common, single = spec.result.tolerances
    labels = Labels(spec.result.equality, common, tolerances=single, least=spec.result.least)
    inputs = _Inputs(request, limits)
    seen: dict[int, int] = {}
    seconds: list[float] = []
    key_seconds: list[float] = []
    steady = True
    shown = ""
    operations = 0
    shape = parts.models[spec.model.file].shape
    for name, value in inputs if request["inputs"] else [("an input of zeros", _nothing(request["kind"], shape))]:
        try:
            tensor = found.prepare(value)
            started = perf_counter()
            for key in keys:
                key.extractor(value)
            key_seconds.append(perf_counter() - started)
        except LikewiseError as error:
            inputs.refuse(name, error.detail)
            continue
        started = perf_counter()
        outputs = [output[0] for output in found.model.run(tensor[None])]
        seconds.append(perf_counter() - started)
        try:
            result = found.encode(outputs, value)
        except ModelFailed as error:
            remedy = "" if request["inputs"] else " Name inputs as devices send them with --inputs DIR."
            raise InvalidFunction(f"{folder.name}, {name}: {error.detail}{remedy}") from error
        if result.size_bytes > request["max_result_bytes"]:
            raise InvalidFunction(
                f"{name}: its result has {result.size_bytes} bytes, and the server keeps "
                f"{request['max_result_bytes']}; name fewer outputs (--set result.outputs=[…]), round them "
                "(--set result.decimals=3), or raise max_result_bytes"
            )
        if len(seconds) == 1:
            model = parts.models[spec.model.file]
            operations = multiply_adds(model.profile(tensor[0] if spec.model.overlap is not None else tensor))
            again = found.encode([output[0] for output in found.model.run(tensor[None])], value)
            steady = labels.label(again) == labels.label(result)
            shown = result.body[:300].decode("utf-8", "replace")
        label = labels.label(result)
        seen[label] = seen.get(label, 0) + 1
    inputs.check(len(seconds))
    return {
        "read": len(seconds) if request["inputs"] else 0,
        "refused": inputs.refused,
        "count_refused": inputs.count_refused,
        "different": len(seen),
        "steady": steady,
        "example": shown,
        "model_s": float(np.median(seconds)) if seconds else 0.0,
        "key_s": float(np.median(key_seconds)) if key_seconds else 0.0,
        "multiply_adds": operations,
    }


def _nothing(kind: Kind, shape: Sequence[int | None]) -> Input:
    """Return an input that says nothing: a gray picture, silence, zeros, white space."""
    if kind == "image":
        return Image(np.full((480, 640, 3), 128, np.uint8))
    if kind == "audio":
        return Audio(np.zeros(16_000, np.float32), 16_000)
    if kind == "bytes":
        return Array(np.full(4096, 32, np.uint8))
    return Array(np.zeros([axis or 16 for axis in shape]))


if __name__ == "__main__":
    answer(done, "--max-memory")
