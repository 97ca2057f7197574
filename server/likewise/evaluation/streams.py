"""A workload's stream as the engine sees it: keys and labels, computed once and played by every policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from likewise.errors import InvalidFunction, InvalidValue
from likewise.features.decode import decoder
from likewise.features.make import KINDS, make_extractor
from likewise.features.prepare import array_tensor, audio_tensor, image_tensor
from likewise.function.spec import SPEC_FILE, FunctionSpec, KeySpec, Preparation, parse_toml
from likewise.inference.model import OnnxModel
from likewise.ports import Extractor
from likewise.results.encode import label_encoder, read_labels
from likewise.types import Input, Keys, Tensor
from likewise.workloads.make import open_workload

TRUTHS = ("label", "model")
_BATCH = 64
_MAX_PIXELS, _MAX_SECONDS, _MAX_VALUES = 16_000_000, 60.0, 4_000_000


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream, ready to be played."""

    workload: str
    seed: int
    keys: Keys
    """Shape (requests, dimension)."""
    labels: list[int]
    """What each request would be answered if it were computed; ids local to the stream."""
    devices: list[int]
    """Who asks each."""
    neighbors: int
    """k, as the function's spec has it."""
    projected: bool = False
    """Whether the spec lets a projection of these keys be learned from what is computed."""


def load_stream(
    workload: str,
    seed: int,
    *,
    requests: int | None,
    devices: int,
    data: Path | None,
    functions: Path,
    truth: str,
    key_type: str | None = None,
) -> Stream:
    """Return a workload's stream with the keys of its function.

    truth: "label": what the data set says is computed; "model": what the function's model says.
    key_type: one of the function's, its first where None; or any extractor's name, to see what it would do here.
    Raises LikewiseError, naming the remedy, where data, function or model are missing.
    """
    if truth not in TRUTHS:
        raise InvalidValue(f"truth is `{truth}`; give one of {', '.join(TRUTHS)}.")
    source = open_workload(workload, data)
    folder = functions / source.function
    path = folder / SPEC_FILE
    try:
        spec = parse_toml(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise InvalidFunction(
            f"{path}: cannot be read ({error.strerror}); name the folder that holds `{source.function}/` "
            "with --functions DIR"
        ) from error
    versions = sorted(int(child.name) for child in folder.iterdir() if child.is_dir() and child.name.isdigit())
    files = folder / str(spec.version or (versions[-1] if versions else 1))
    table = _key_spec(spec, key_type, source.function)
    extract = _extractor(spec, table, files)
    decode = decoder(spec.input.kind, max_pixels=_MAX_PIXELS, max_seconds=_MAX_SECONDS, max_values=_MAX_VALUES)
    samples = source.stream(requests, seed, devices)
    inputs = [decode(sample.media_type, sample.body) for sample in samples]
    keys = np.ascontiguousarray([extract(value) for value in inputs], np.float32)
    names = [sample.truth for sample in samples] if truth == "label" else _computed(spec, files, inputs)
    ids: dict[str, int] = {}
    labels = [ids.setdefault(name, len(ids)) for name in names]
    askers = [sample.device for sample in samples]
    return Stream(workload, seed, keys, labels, askers, spec.reuse.neighbors, table.may_be_projected)


def _key_spec(spec: FunctionSpec, key_type: str | None, function: str) -> KeySpec:
    for key in spec.keys:
        if key_type in (None, key.label):
            return key
    fitting = sorted(name for name, kind in KINDS.items() if kind == spec.input.kind and kind != "array")
    if key_type in fitting:
        return KeySpec.model_validate({"extractor": key_type})
    known = ", ".join([*(key.label for key in spec.keys), *fitting])
    raise InvalidValue(f"`{function}` has no key type `{key_type}`; choose one of {known}.")


def _extractor(spec: FunctionSpec, key: KeySpec, files: Path) -> Extractor:
    options: dict[str, Any] = {}
    if key.extractor == "onnx":
        model = OnnxModel(files / str(key.file))
        run = model.run_one()
        options = {
            "run": run,
            "prepare": _prepare(spec, key, model),
            "dimension": run(model.zeros()[0]).shape[-1],
        }
    elif key.extractor == "vector":
        options = {"dimension": key.dimension}
    return make_extractor(key.extractor, spec.input.kind, key.metric, **options)


def _prepare(spec: FunctionSpec, table: Preparation, model: OnnxModel) -> Callable[[Input], Tensor]:
    if spec.input.kind == "image":
        return image_tensor(table.size or (0, 0), table.channels, table.mean or 0.0, table.std or 1.0)
    if spec.input.kind == "audio":
        return audio_tensor(table.sample_rate or 1, table.seconds or 1.0)
    return array_tensor(model.shape, str(model.dtype))


def _computed(spec: FunctionSpec, files: Path, inputs: Sequence[Input]) -> list[str]:
    """Return the label that the function's model gives to each input."""
    if spec.model is None or spec.result.kind != "label":
        raise InvalidValue("--truth model needs a function whose model gives labels; use --truth label.")
    model = OnnxModel(files / spec.model.file)
    prepare = _prepare(spec, spec.model, model)
    labels = spec.result.labels
    if isinstance(labels, str):
        labels = read_labels((files / labels).read_text(encoding="utf-8"), str(files / labels))
    encode = label_encoder(labels or ())
    size = _BATCH if model.dynamic_batch else 1
    names = []
    for start in range(0, len(inputs), size):
        outputs = model.run(np.stack([prepare(value) for value in inputs[start : start + size]]))
        names += [str(orjson.loads(encode([row]).body)["label"]) for row in outputs[0]]
    return names
