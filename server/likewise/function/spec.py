"""What an operator writes about a function, `function.toml`, checked so that every error names its remedy."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from likewise.features.make import KINDS
from likewise.results.clusters import Tolerance

SPEC_FILE = "function.toml"
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")

Positive = Annotated[int, Field(gt=0, lt=2**31)]
Bytes = Annotated[int, Field(gt=0, le=2**46)]
Side = Annotated[int, Field(gt=0, le=4096)]
Seconds = Annotated[float, Field(gt=0, le=10 * 365 * 86400)]
Share = Annotated[float, Field(ge=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0)]
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
FileName = Annotated[str, Field(pattern=rf"^{FILE_NAME.pattern}$")]


class Table(BaseModel):
    """A table of the spec: immutable, and nothing in it is ignored silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)


class Preparation(Table):
    """How a decoded input becomes the tensor that an ONNX file takes."""

    size: tuple[Side, Side] | None = None
    """Images: width and height in pixels."""
    channels: Literal[1, 3] = 3
    """Images: 1 gray, 3 RGB."""
    mean: tuple[float, ...] = ()
    """Images: subtracted from x / 255, one number or one per channel."""
    std: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Images: divides after the mean was subtracted, one number or one per channel."""
    sample_rate: Annotated[int, Field(ge=1000, le=192_000)] | None = None
    """Audio: Hz after resampling."""
    seconds: Annotated[float, Field(gt=0, le=600)] | None = None
    """Audio: padded or cropped to this length, from the start."""


class InputSpec(Table):
    """What devices send."""

    kind: Literal["image", "audio", "array"]
    max_bytes: Bytes | None = None
    """Largest body of one input; default: the server's limit."""


class ModelSpec(Preparation):
    """The ONNX file that computes the function."""

    file: FileName = "model.onnx"
    deterministic: bool = True
    """The same input always has the same result, so an exact repeat may be answered with it at once."""


class ResultSpec(Table):
    """What comes back, and what makes two results equal."""

    kind: Literal["label", "tensors"] = "label"
    labels: FileName | tuple[str, ...] | None = None
    """Names of the classes: a file in the version's folder, one per line, or a list. Default: their numbers."""
    equality: Literal["label", "bytes", "close"] = "label"
    """Default: `close` for kind `tensors`, `label` for kind `label`."""
    tolerance: NotNegative | tuple[NotNegative, Share] | dict[str, NotNegative | tuple[NotNegative, Share]] = 0.01
    """With equality `close`: how far two numbers may differ and still count as equal.

    One number: absolute. Two: absolute, and relative to the first result of a group. A table: such by output.
    """

    @model_validator(mode="before")
    @classmethod
    def _fitting(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("kind") == "tensors" and "equality" not in data:
            return {**data, "equality": "close"}
        return data

    @field_validator("labels", mode="before")
    @classmethod
    def _one_form(cls, value: Any) -> Any:
        if value is None or (isinstance(value, str) and FILE_NAME.fullmatch(value)):
            return value
        if isinstance(value, str):
            raise ValueError(f"needs the plain name of a file in the version's folder, not `{value[:64]}`")
        if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
            raise ValueError("needs the name of a file, or a list of names")
        check_labels(tuple(value))
        return value

    @field_validator("tolerance", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        for each in value.values() if isinstance(value, dict) else [value]:
            if not _is_tolerance(each):
                raise ValueError(
                    "needs an absolute number from 0 up, or two, `[absolute, relative]` with relative below 1, "
                    "or a table of such by output, [result.tolerance]"
                )
        if not isinstance(value, dict) and not any(value if isinstance(value, list | tuple) else [value]):
            raise ValueError("needs a number above 0; for exact equality take equality `bytes`")
        return value

    @model_validator(mode="after")
    def _sensible(self) -> ResultSpec:
        if self.kind == "tensors" and self.labels is not None:
            raise ValueError("`labels` are for kind `label`; remove them, or take that kind")
        if self.kind == "tensors" and self.equality == "label":
            raise ValueError("kind `tensors` has no label to compare: take equality `close` or `bytes`")
        if "tolerance" in self.model_fields_set and self.equality != "close":
            raise ValueError("`tolerance` is for equality `close`; remove it, or take that equality")
        return self

    @property
    def tolerances(self) -> tuple[Tolerance, Mapping[str, Tolerance]]:
        """The common tolerance, and those of single outputs by name."""
        if isinstance(self.tolerance, dict):
            return Tolerance(), {name: _tolerance(each) for name, each in self.tolerance.items()}
        return _tolerance(self.tolerance), {}


class KeySpec(Preparation):
    """A key type: the extractor that makes the key, and the metric."""

    name: Annotated[str, Field(pattern=rf"^{NAME.pattern}$")] = ""
    extractor: Literal["onnx", "gray", "color", "dct", "hog", "mfcc", "logmel", "vector", "layer"]
    metric: Literal["cosine", "l2"] = "cosine"
    file: FileName | None = None
    """With extractor `onnx` or `layer`: the file in the version's folder."""
    rest: FileName | None = None
    """With extractor `layer`: the file with which the model goes on from there."""
    dimension: Annotated[int, Field(gt=0, le=4096)] | None = None
    """With extractor `vector`: length of the key."""
    index: Literal["auto", "exact", "hnsw", "ivf", "alsh"] = "auto"
    precision: Literal["float32", "float16", "int8"] = "float32"
    """How exactly indexes `auto` and `hnsw` hold keys at norm 1 once a scan is too slow: 4, 2 or 1 byte a number."""
    projection: Literal["auto", "off"] | None = None
    """Search by a projection learned from computed results where it helps; default: auto, for `onnx`, `layer` off."""

    @model_validator(mode="after")
    def _complete(self) -> KeySpec:
        if self.extractor == "onnx" and self.file is None:
            raise ValueError("extractor `onnx` needs `file`, the ONNX file that makes the key")
        if (self.extractor == "layer") != (self.rest is not None) or (self.extractor == "layer" and self.file is None):
            raise ValueError("extractor `layer`, and no other, needs `file` and `rest`, the model's two parts")
        if self.extractor == "vector" and self.dimension is None:
            raise ValueError("extractor `vector` needs `dimension`, the length of the key")
        if self.precision != "float32" and (self.metric != "cosine" or self.index not in ("auto", "hnsw")):
            raise ValueError(f"precision `{self.precision}` is for metric `cosine` and index `auto` or `hnsw`")
        return self

    @property
    def label(self) -> str:
        """The key type's name; the extractor's where none was given."""
        return self.name or self.extractor

    @property
    def may_be_projected(self) -> bool:
        """True where a projection may be learned. A network trained for the function stretches what matters already."""
        return (self.projection or ("off" if self.extractor in ("onnx", "layer") else "auto")) == "auto"


class ReuseSpec(Table):
    """When a result may be reused."""

    policy: Literal["calibrated+ledger", "calibrated", "fixed", "hknn", "potluck"] = "calibrated+ledger"
    accuracy_target: Annotated[float, Field(ge=0.5, lt=1)] | None = None
    """Of all answers given, at least this share is what the model would have answered."""
    accuracy_of: Literal["answers", "reused"] = "answers"
    """What the target is a share of: all answers, computed ones too, or the reused ones alone."""
    ticket_ttl_s: Annotated[float, Field(ge=1, le=3600)] = 60.0
    """How long a device may take to compute after a lookup, before its ticket is worth nothing."""
    neighbors: Annotated[int, Field(ge=1, le=100)] = 10
    options: dict[str, float | str | bool] = Field(default_factory=dict)
    """The policy's own options, such as `threshold` for `fixed`; see docs/settings.md."""

    @field_validator("options", mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        for name, option in value.items() if isinstance(value, Mapping) else ():
            if not isinstance(option, str | int | float):
                raise ValueError(f"needs a number, a text, true or false for `{str(name)[:64]}`")
        return value


class CapacitySpec(Table):
    """How much is kept, and how long."""

    entries: Positive | None = None
    bytes: Bytes | None = None
    ttl_s: Seconds | None = None
    eviction: Literal["importance", "lru", "lfu", "s3-fifo"] | None = None


class FunctionSpec(Table):
    """Everything an operator says about one function."""

    description: Annotated[str, Field(max_length=1000)] = ""
    version: Positive | None = None
    input: InputSpec
    model: ModelSpec | None = None
    result: ResultSpec = ResultSpec()
    keys: Annotated[tuple[KeySpec, ...], Field(min_length=1, max_length=8)]
    reuse: ReuseSpec = ReuseSpec()
    capacity: CapacitySpec = CapacitySpec()

    @model_validator(mode="after")
    def _coherent(self) -> FunctionSpec:
        names = [key.label for key in self.keys]
        if len(set(names)) != len(names):
            raise ValueError("two of the [[keys]] have the same name; give each its own `name`")
        if self.model is not None:
            _check_preparation(self.input.kind, "model", self.model)
        labelled = self.model is not None or "kind" in self.result.model_fields_set
        if labelled and self.result.kind == "label" and self.result.equality == "close":
            raise ValueError("[result] kind `label` has no numbers that could be close: take equality `label`")
        for key in self.keys:
            takes = KINDS.get(key.extractor)
            if takes is not None and takes != self.input.kind:
                raise ValueError(f"extractor `{key.extractor}` takes {takes}, but [input] kind is `{self.input.kind}`")
            if key.extractor == "onnx":
                _check_preparation(self.input.kind, f"keys `{key.label}`", key)
            if key.extractor == "layer":
                self._check_layer(key)
        return self

    def _check_layer(self, key: KeySpec) -> None:
        if self.model is None or key is not self.keys[0]:
            raise ValueError("extractor `layer` is for the first of the [[keys]] of a function with a [model]")
        strange = sorted(key.model_fields_set & Preparation.model_fields.keys())
        if strange:
            raise ValueError(f"keys `{key.label}` has `{strange[0]}`; a layer takes what [model] says: remove it")

    @property
    def layer(self) -> KeySpec | None:
        """The key type that is an early layer of the model; None: there is none."""
        return self.keys[0] if self.keys[0].extractor == "layer" else None

    @property
    def onnx_files(self) -> tuple[str, ...]:
        """Names of the ONNX files that the spec refers to, in the version's folder."""
        found = [self.model.file] if self.model else []
        found += [name for key in self.keys for name in (key.file, key.rest) if name]
        return tuple(dict.fromkeys(found))

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files that the spec refers to."""
        labels = [self.result.labels] if isinstance(self.result.labels, str) else []
        return tuple(dict.fromkeys([*self.onnx_files, *labels]))


_FIELDS_OF: Mapping[str, frozenset[str]] = {
    "image": frozenset({"size", "channels", "mean", "std"}),
    "audio": frozenset({"sample_rate", "seconds"}),
    "array": frozenset(),
}
"""What an ONNX file's input is prepared by, for each kind of input."""


def _check_preparation(kind: str, table: str, preparation: Preparation) -> None:
    if kind == "image" and preparation.size is None:
        raise ValueError(f"[{table}] needs `size = [width, height]`, the picture that its ONNX file takes")
    if kind == "audio" and (preparation.sample_rate is None or preparation.seconds is None):
        raise ValueError(f"[{table}] needs `sample_rate` and `seconds`, the sound that its ONNX file takes")
    strange = sorted((preparation.model_fields_set & Preparation.model_fields.keys()) - _FIELDS_OF[kind])
    if strange:
        raise ValueError(f"[{table}] has `{strange[0]}`, which inputs of kind `{kind}` have no use for; remove it")
    for field in ("mean", "std"):
        count = len(getattr(preparation, field))
        if count not in (0, 1, preparation.channels):
            raise ValueError(
                f"[{table}] {field} has {count} numbers; give one, or one for each of {preparation.channels} channels"
            )


def check_labels(names: tuple[str, ...]) -> None:
    """Raise ValueError, saying what is needed, for names of classes that could not tell results apart."""
    if len(names) < 2:
        raise ValueError(f"needs two names at least, for two classes; it has {len(names)}")
    if not all(name.strip() for name in names):
        raise ValueError("needs a name for each class, and has a blank one")
    if len(set(names)) != len(names):
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise ValueError(f"needs names that differ, and has `{twice[:64]}` twice")


def _is_tolerance(value: Any) -> bool:
    numbers = value if isinstance(value, list | tuple) else [value]
    if len(numbers) > 2 or (isinstance(value, list | tuple) and len(value) != 2):
        return False
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        return False
    return all(0 <= number < math.inf for number in numbers) and (len(numbers) < 2 or numbers[1] < 1)


def _tolerance(value: float | tuple[float, float]) -> Tolerance:
    return Tolerance(*value) if isinstance(value, tuple) else Tolerance(value)
