"""What a function is put together from: its spec, and what its files hold, each read and tried once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import orjson

from likewise.errors import InvalidFunction, InvalidValue
from likewise.features.make import make_extractor
from likewise.function.key_type import KeyType
from likewise.function.layers import Trunk, check_source, checked_layer, outputs_after
from likewise.function.preparation_spec import Preparation
from likewise.function.preparing import Prepared, prepared
from likewise.function.result_spec import ResultSpec, check_labels
from likewise.function.spec import SPEC_FILE, FunctionSpec, KeySpec, ModelSpec
from likewise.function.spec_text import decode_text, read_file
from likewise.function.trial import check_key, check_outputs, check_scores, is_quick, outputs_of
from likewise.function.variant_spec import VariantSpec
from likewise.inference.model import OnnxModel
from likewise.inference.onnx_file import external_paths
from likewise.inference.windows import WindowedModel
from likewise.learning.beside import Beside
from likewise.learning.lda import Projection as Linear
from likewise.ports import Model, Projection
from likewise.results.encode import Encode, read_labels
from likewise.results.make import KINDS
from likewise.results.sequences import read_alphabet
from likewise.results.windows import over_windows
from likewise.types import Halfway, Input, Tensor

MOST_PROJECTED = 1 << 20
"""Multiply-adds of a projection for a key, at most: lookups do it on the event loop, in less than a millisecond."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest inputs that this server takes; a model for larger ones is refused before it is tried."""

    max_pixels: int = 16_000_000
    max_audio_s: float = 60.0
    max_elements: int = 4_000_000


@dataclass(frozen=True, slots=True)
class Computation:
    """A model with what comes before and after it."""

    model: Model
    """What runs in batches: the model, or the rest of it where an early layer makes the key."""
    prepare: Callable[[Input], Tensor]
    """An input as the whole model takes it."""
    encode: Encode
    feed: Callable[[Input | Halfway], Tensor]
    """An input as `model` takes it: prepared, or as far as the model has come with it."""
    free: bool = False
    """Whether the model takes arrays of several shapes."""
    dtype: str = ""
    """Type of the numbers that the model takes."""


class Parts:
    """The parts of one function. Every method raises InvalidFunction, naming the file and the remedy."""

    def __init__(self, spec: FunctionSpec, folder: Path, version: int, limits: Limits = Limits()) -> None:
        """Set up. folder: the function's, with one for its version in it."""
        self.spec = spec
        self.origin = str(folder / SPEC_FILE)
        self.labels = _names(spec.result, folder / str(version))
        self.models: dict[str, OnnxModel] = {}
        """Those loaded so far, by the name of their file."""
        self.files: dict[str, Sequence[Path]] = {}
        """By the name of each ONNX file that was loaded so far, or cut: that file, and those of its external data."""
        self._trunk: Trunk | None = None
        self._classes = 0  # scores that the model gives; 0: not known
        self._numbers = 0  # those of its input; 0: not known, or not one count
        self._files = folder / str(version)
        self._limits = limits

    def computation(self, table: ModelSpec, threads: int) -> Computation:
        """Return the function's model, its outputs checked against what the spec says of results."""
        if (layer := self.spec.layer) is not None:
            return self._layered(table, layer, threads)
        result, kind = self.spec.result, KINDS[self.spec.result.kind]
        model = self._load(table, table.file, threads, first_output=kind.first_output, outputs=result.outputs)
        made = prepared(self.spec.input.kind, table, model, self.origin)
        encode = self._encoder(model, self._outputs(model, table, made.trial), made)
        self._numbers = _numbers(model)
        feed = cast(Any, made.prepare)
        if not made.windows:
            return Computation(model, made.prepare, encode, feed, None in model.shape, str(model.dtype))
        count = max(made.trial or (1,))
        how = result.windows or kind.windows
        encode = over_windows(encode, how, (table.overlap or 0) / count)
        return Computation(WindowedModel(model), made.prepare, encode, feed)

    def _layered(self, table: ModelSpec, layer: KeySpec, threads: int) -> Computation:
        """Return the rest of the model, which goes on from where its early layer, the key, left off."""
        trunk = self._begin(table, layer, threads)
        result, kind = self.spec.result, KINDS[self.spec.result.kind]
        rest = self._load(None, str(layer.rest), threads, first_output=kind.first_output, outputs=result.outputs)
        check_source(rest, self._files / table.file, self.origin)
        encode = self._encoder(rest, outputs_after(trunk, rest, self.origin), trunk.made)

        def feed(value: Input | Halfway) -> Tensor:
            return value.tensor if isinstance(value, Halfway) else trunk.run(trunk.made.prepare(value))[1]

        free, dtype = None in trunk.model.shape, str(trunk.model.dtype)
        return Computation(rest, trunk.made.prepare, encode, feed, free, dtype)

    def _begin(self, table: ModelSpec, layer: KeySpec, threads: int) -> Trunk:
        """Return the model up to its early layer, loaded once."""
        if self._trunk is None:
            whole = self._files / table.file
            self.files[table.file] = whole, *external_paths(whole, whole.parent)
            model = self._load(table, str(layer.file), threads, first_output=False)
            check_source(model, whole, self.origin)
            made = prepared(self.spec.input.kind, table, model, self.origin)
            outputs = self._outputs(model, table, made.trial, batched=False)
            self._trunk = Trunk(model, made, model.run_each(), checked_layer(model, outputs, self.origin))
        return self._trunk

    def _encoder(self, model: OnnxModel, outputs: Sequence[Tensor] | None, made: Prepared) -> Encode:
        """Return what turns a model's outputs into results, checked against those for one input where there are any."""
        result = self.spec.result
        strange = [name for name in result.tolerances[1] if name not in model.outputs]
        if strange:
            there = ", ".join(f"`{name}`" for name in model.outputs)
            raise InvalidFunction(
                f"{self.origin}: result.tolerance names `{strange[0]}`, and the model's outputs are {there}; "
                "correct the name"
            )
        encode = KINDS[result.kind].make(result.options(self.labels), model.outputs, made.place)
        if outputs is not None:
            check_outputs(model, result.kind, outputs, self.labels, encode, self.origin)
            self._classes = outputs[0].size
        return encode

    def key_type(self, key: KeySpec, function: str) -> KeyType:
        """Return a key type. function: `name@version`, for messages."""
        options: dict[str, Any] = {}
        kind, quick = self.spec.input.kind, True
        if key.extractor == "onnx":
            model = self._load(key, str(key.file), 1, first_output=True)
            made = prepared(kind, key, model, self.origin)
            outputs = self._outputs(model, key, made.trial, batched=False)
            if outputs is None:
                raise InvalidFunction(
                    f"{self.origin}: {model.path.name} computes nothing from zeros of the lengths that were tried for "
                    "its free axes; export it with a fixed shape"
                )
            dimension = check_key(model, outputs[0], self.origin)
            run = model.run_one()
            quick = is_quick(model, run, made.trial)
            options = {"run": run, "prepare": made.prepare, "dimension": dimension}
        elif key.extractor == "layer":
            assert self.spec.model is not None
            trunk = self._begin(self.spec.model, key, 1)
            options = {"run": trunk.run, "prepare": trunk.made.prepare, "dimension": trunk.outputs[0].size}
        elif key.extractor == "vector":
            options = {"dimension": key.dimension}
        extractor = make_extractor(key.extractor, kind, key.metric, **options)
        return KeyType(key.label, extractor, extractor.dimension, key.metric, function, quick)

    def variant(self, table: VariantSpec, threads: int, dimension: int) -> Computation:
        """Return a variant of the function's model, checked against it where that was made before.

        dimension: of the key that it may take.
        """
        where = f"{self.origin}: [[variants]] `{table.name}`"
        model = self.load_variant(table, threads)
        found = sum(path.stat().st_size for path in model.files)
        if found != table.size_bytes:
            raise InvalidFunction(
                f"{where}: size_bytes is {table.size_bytes}, but {table.file} has {found} bytes; if it is the file "
                f"that was measured, write size_bytes = {found}, else measure it anew"
            )
        own = self.spec.prepared(table)
        if table.takes == "key":
            model.check((dimension,), where)
            made = Prepared(_no_input, (dimension,))
        else:
            made = prepared(self.spec.input.kind, own, model, where)
            given, wanted = self._numbers, _numbers(model)
            if self.spec.input.kind == "array" and given and wanted and given != wanted:
                raise InvalidFunction(
                    f"{where}: {table.file} takes {wanted} numbers, the function's model {given}; a "
                    "variant of it takes the same arrays"
                )
        outputs = self._outputs(model, own, made.trial)
        if outputs is None:
            raise InvalidFunction(f"{where}: {table.file} computes nothing from zeros; export it with a fixed shape")
        check_scores(model, outputs[0], self.labels, where)
        if self._classes not in (0, outputs[0].size):
            raise InvalidFunction(
                f"{where}: {table.file} has {outputs[0].size} scores, the function's model {self._classes}; a variant "
                "has to tell the same classes apart"
            )
        encode = KINDS["label"].make(self.spec.result.options(self.labels), model.outputs, made.place)
        return Computation(model, made.prepare, encode, cast(Any, made.prepare), None in model.shape)

    def load_variant(self, table: VariantSpec, threads: int) -> OnnxModel:
        """Return a variant's model, loaded anew."""
        return self._load(table, table.file, threads, first_output=True)

    def projection(self, key: KeySpec, dimension: int) -> Projection | None:
        """Return what lookups by a key type of this dimension go by from the start; None: the keys as they are."""
        path = self.projection_path(key)
        if path is None:
            return None
        try:
            state = orjson.loads(read_file(path, "check file and permissions"))
        except orjson.JSONDecodeError as error:
            raise InvalidFunction(f"{path}: holds no projection, it is not JSON; make it anew") from error
        projection: Linear | Beside
        try:
            network = isinstance(state, dict) and "layers" in state
            projection = Beside.restored(state) if network else Linear.restored(state)
        except InvalidValue as error:
            wanted = str(error) if network else "`mean` and `matrix`"
            raise InvalidFunction(f"{path}: holds no projection, {wanted}; make it anew") from error
        if network and key.metric != "cosine":
            raise InvalidFunction(
                f"{path}: has `layers`, which take keys at norm 1, and key type `{key.label}` has metric "
                f"{key.metric}; give it metric cosine, or a projection without layers"
            )
        if len(projection.mean) != dimension:
            raise InvalidFunction(
                f"{path}: takes keys of {len(projection.mean)} numbers, key type `{key.label}` has {dimension}; "
                "make it anew from such keys"
            )
        if projection.work > MOST_PROJECTED:
            raise InvalidFunction(
                f"{path}: takes {projection.work} multiply-adds for a key, the limit is {MOST_PROJECTED}, as lookups "
                "make them on the event loop; make a smaller one"
            )
        return projection

    def projection_path(self, key: KeySpec) -> Path | None:
        """Return the file of a key type's projection; None: it has none."""
        return None if key.projection_file is None else self._files / key.projection_file

    def _load(
        self, table: Preparation | None, file: str, threads: int, *, first_output: bool, outputs: Sequence[str] = ()
    ) -> OnnxModel:
        """Return a model, loaded. table: what says how its inputs are given; None: it has one."""
        model = OnnxModel(
            self._files / file,
            threads,
            first_output=first_output,
            input=table.input if table else None,
            fixed=table.fixed_inputs if table else None,
            outputs=outputs,
            batch=table.batch if table else "both",
        )
        self.models[file], self.files[file] = model, model.files
        return model

    def _outputs(
        self, model: OnnxModel, table: Preparation, shape: tuple[int, ...] | None, *, batched: bool = True
    ) -> Sequence[Tensor] | None:
        limits = self._limits
        most, remedy = {
            "image": (limits.max_pixels * table.channels, "raise max_pixels"),
            "audio": (round(limits.max_audio_s * (table.sample_rate or 1)), "raise max_audio_s"),
            "array": (limits.max_elements, "raise max_elements"),
            "bytes": (1 << 21, "take fewer bytes"),
        }[self.spec.input.kind]
        return outputs_of(model, shape, most, self.origin, remedy, batched=batched)


def _numbers(model: OnnxModel) -> int:
    """Return how many numbers an input of a model has; 0 where that may be any."""
    return 0 if None in model.shape else math.prod(axis or 0 for axis in model.shape)


def _no_input(value: Input) -> Tensor:
    raise InvalidValue("This variant takes the key, not the input.")


def _names(result: ResultSpec, folder: Path) -> tuple[str, ...]:
    """Return the names of the classes, or the characters of the alphabet."""
    if result.names_file is None:
        return result.labels if isinstance(result.labels, tuple) else ()
    path = folder / result.names_file
    text = decode_text(read_file(path, "check file and permissions"), str(path))
    if result.alphabet is not None:
        return read_alphabet(text)
    names = read_labels(text)
    try:
        check_labels(names, least=2 if result.kind == "label" else 1)
    except ValueError as error:
        raise InvalidFunction(f"{path}: {error}; correct the file, one name per line") from None
    return names
