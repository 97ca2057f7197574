"""What a function is put together from: its spec, and what its files hold, each read and tried once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from likewise.errors import InvalidFunction, InvalidValue
from likewise.features.make import make_extractor
from likewise.features.prepare import array_tensor, audio_tensor, image_tensor
from likewise.function.key_type import KeyType
from likewise.function.spec import SPEC_FILE, FunctionSpec, KeySpec, ModelSpec, check_labels
from likewise.function.spec_text import decode_text, read_file
from likewise.function.tables import Preparation
from likewise.function.trial import check_key, check_scores, outputs_of
from likewise.function.variant_spec import VariantSpec
from likewise.inference.model import OnnxModel
from likewise.results.encode import Encode, label_encoder, read_labels, tensor_encoder
from likewise.types import Input, Tensor


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest inputs that this server takes; a model for larger ones is refused before it is tried."""

    max_pixels: int = 16_000_000
    max_audio_s: float = 60.0
    max_elements: int = 4_000_000


@dataclass(frozen=True, slots=True)
class Computation:
    """A model with what comes before and after it."""

    model: OnnxModel
    prepare: Callable[[Input], Tensor]
    encode: Encode


class Parts:
    """The parts of one function. Every method raises InvalidFunction, naming the file and the remedy."""

    def __init__(self, spec: FunctionSpec, folder: Path, version: int, limits: Limits = Limits()) -> None:
        """Set up. folder: the function's, with one for its version in it."""
        self.spec = spec
        self.origin = str(folder / SPEC_FILE)
        self.labels = _labels(spec.result.labels, folder / str(version))
        self.models: dict[str, OnnxModel] = {}
        """Those loaded so far, by the name of their file."""
        self._files = folder / str(version)
        self._limits = limits

    def computation(self, table: ModelSpec, threads: int) -> Computation:
        """Return the function's model, its outputs checked against what the spec says of results."""
        result = self.spec.result
        by_label = result.kind == "label"
        model = self._load(table.file, threads, first_output=by_label)
        prepare, shape = _prepare(self.spec.input.kind, table, model, self.origin)
        outputs = self._outputs(model, table, shape)
        if by_label:
            if outputs is not None:
                check_scores(model, outputs[0], self.labels, self.origin)
            return Computation(model, prepare, label_encoder(self.labels))
        strange = [name for name in result.tolerances[1] if name not in model.outputs]
        if strange:
            there = ", ".join(f"`{name}`" for name in model.outputs)
            raise InvalidFunction(
                f"{self.origin}: result.tolerance names `{strange[0]}`, and the model's outputs are {there}; "
                "correct the name"
            )
        return Computation(model, prepare, tensor_encoder(model.outputs))

    def key_type(self, key: KeySpec, function: str) -> KeyType:
        """Return a key type. function: `name@version`, for messages."""
        options: dict[str, Any] = {}
        kind = self.spec.input.kind
        if key.extractor == "onnx":
            model = self._load(str(key.file), 1, first_output=True)
            prepare, shape = _prepare(kind, key, model, self.origin)
            outputs = self._outputs(model, key, shape)
            if outputs is None:
                raise InvalidFunction(
                    f"{self.origin}: {model.path.name} computes nothing from zeros of the lengths that were tried for "
                    "its free axes; export it with a fixed shape"
                )
            dimension = check_key(model, outputs[0], self.origin)
            options = {"run": model.run_one(), "prepare": prepare, "dimension": dimension}
        elif key.extractor == "vector":
            options = {"dimension": key.dimension}
        extractor = make_extractor(key.extractor, kind, key.metric, **options)
        return KeyType(key.label, extractor, extractor.dimension, key.metric, function)

    def variant(self, table: VariantSpec, threads: int, dimension: int) -> Computation:
        """Return a variant of the function's model, checked against it. dimension: of the key that it may take."""
        where = f"{self.origin}: [[variants]] `{table.name}`"
        model = self._load(table.file, threads, first_output=True)
        found = sum(path.stat().st_size for path in model.files)
        if found != table.size_bytes:
            raise InvalidFunction(
                f"{where}: size_bytes is {table.size_bytes}, but {table.file} has {found} bytes; if it is the file "
                f"that was measured, write size_bytes = {found}, else measure it anew"
            )
        prepared = self.spec.prepared(table)
        prepare: Callable[[Input], Tensor]
        shape: tuple[int, ...] | None
        if table.takes == "key":
            model.check((dimension,), where)
            prepare, shape = _no_input, (dimension,)
        else:
            prepare, shape = _prepare(self.spec.input.kind, prepared, model, where)
        outputs = self._outputs(model, prepared, shape)
        if outputs is None:
            raise InvalidFunction(f"{where}: {table.file} computes nothing from zeros; export it with a fixed shape")
        check_scores(model, outputs[0], self.labels, where)
        full = self.models[self.spec.model.file] if self.spec.model else None
        if full is not None and (classes := self._classes(full)) not in (0, outputs[0].size):
            raise InvalidFunction(
                f"{where}: {table.file} has {outputs[0].size} scores, the function's model {classes}; a variant has to "
                "tell the same classes apart"
            )
        return Computation(model, prepare, label_encoder(self.labels))

    def _classes(self, model: OnnxModel) -> int:
        """Return how many scores a model gives; 0 where zeros of no length tell."""
        outputs = outputs_of(model, None, self._limits.max_elements, self.origin, "raise max_elements")
        return 0 if outputs is None else int(outputs[0].size)

    def _load(self, file: str, threads: int, *, first_output: bool) -> OnnxModel:
        self.models[file] = OnnxModel(self._files / file, threads, first_output=first_output)
        return self.models[file]

    def _outputs(self, model: OnnxModel, table: Preparation, shape: tuple[int, ...] | None) -> Sequence[Tensor] | None:
        limits = self._limits
        most, remedy = {
            "image": (limits.max_pixels * table.channels, "raise max_pixels"),
            "audio": (round(limits.max_audio_s * (table.sample_rate or 1)), "raise max_audio_s"),
            "array": (limits.max_elements, "raise max_elements"),
        }[self.spec.input.kind]
        return outputs_of(model, shape, most, self.origin, remedy)


def _no_input(value: Input) -> Tensor:
    raise InvalidValue("This variant takes the key, not the input.")


def _labels(labels: str | tuple[str, ...] | None, folder: Path) -> tuple[str, ...]:
    if not isinstance(labels, str):
        return labels or ()
    path = folder / labels
    names = read_labels(decode_text(read_file(path, "check file and permissions"), str(path)))
    try:
        check_labels(names)
    except ValueError as error:
        raise InvalidFunction(f"{path}: {error}; correct the file, one name per line") from None
    return names


def _prepare(
    kind: str, table: Preparation, model: OnnxModel, origin: str
) -> tuple[Callable[[Input], Tensor], tuple[int, ...] | None]:
    """Return what turns an input into the model's, checked against the model's own shape.

    And the shape that comes out, without the batch axis; None: as the array is sent.
    """
    dtype = str(model.dtype)
    try:
        if kind == "image":
            width, height = table.size or (0, 0)
            shape: tuple[int, ...] = (table.channels, height, width)
            mean, std = (table.mean or (0.0,)), (table.std or (1.0,))
            prepare = image_tensor(
                (width, height), table.channels, _spread(mean, table), _spread(std, table), dtype=dtype
            )
        elif kind == "audio":
            rate, seconds = table.sample_rate or 1, table.seconds or 1.0
            shape = (round(rate * seconds),)
            prepare = audio_tensor(rate, seconds, dtype=dtype)
        else:
            return array_tensor(model.shape, dtype), None
    except InvalidFunction as error:
        raise InvalidFunction(f"{origin}: {model.path.name}: {error.detail}") from error
    model.check(shape, origin)
    return prepare, shape


def _spread(values: tuple[float, ...], table: Preparation) -> tuple[float, ...]:
    return values * table.channels if len(values) == 1 else values
