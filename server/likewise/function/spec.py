"""What an operator writes about a function, `function.toml`, checked so that every error names its remedy."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from likewise.errors import InvalidFunction
from likewise.features.make import KINDS

SPEC_FILE = "function.toml"
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")

Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0, le=10 * 365 * 86400)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")]


class Table(BaseModel):
    """A table of the spec: immutable, and nothing in it is ignored silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class Preparation(Table):
    """How a decoded input becomes the tensor that an ONNX file takes."""

    size: tuple[Positive, Positive] | None = None
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
    max_bytes: Positive | None = None
    """Largest body of one input; default: the server's limit."""


class ModelSpec(Preparation):
    """The ONNX file that computes the function."""

    file: FileName = "model.onnx"


class ResultSpec(Table):
    """What comes back, and what makes two results equal."""

    kind: Literal["label", "tensors"] = "label"
    labels: FileName | tuple[str, ...] | None = None
    """Names of the classes: a file in the version's folder, one per line, or a list. Default: their numbers."""
    equality: Literal["label", "bytes", "close"] = "label"
    tolerance: Annotated[float, Field(gt=0)] = 0.01
    """With equality `close`: the largest absolute difference between two numbers that still counts as equal."""


class KeySpec(Preparation):
    """A key type: the extractor that makes the key, and the metric."""

    name: Annotated[str, Field(pattern=NAME.pattern)] = ""
    extractor: Literal["onnx", "gray", "color", "dct", "hog", "mfcc", "logmel", "vector"]
    metric: Literal["cosine", "l2"] = "cosine"
    file: FileName | None = None
    """With extractor `onnx`: the file in the version's folder."""
    dimension: Annotated[int, Field(gt=0, le=4096)] | None = None
    """With extractor `vector`: length of the key."""
    index: str = "auto"
    precision: Literal["float32", "float16", "int8"] = "float32"
    """How exactly indexes `auto` and `hnsw` hold keys at norm 1 once a scan is too slow: 4, 2 or 1 byte a number."""
    projection: Literal["auto", "off"] | None = None
    """Search by a projection learned from computed results where it helps; default: auto, for `onnx` off."""

    @model_validator(mode="after")
    def _complete(self) -> KeySpec:
        if self.extractor == "onnx" and self.file is None:
            raise ValueError("extractor `onnx` needs `file`, the ONNX file that makes the key")
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
        return (self.projection or ("off" if self.extractor == "onnx" else "auto")) == "auto"


class ReuseSpec(Table):
    """When a result may be reused."""

    policy: Literal["calibrated+ledger", "calibrated", "fixed", "hknn", "potluck"] = "calibrated+ledger"
    accuracy_target: Annotated[float, Field(ge=0.5, lt=1)] | None = None
    """Of all answers given, at least this share is what the model would have answered."""
    accuracy_of: Literal["answers", "reused"] = "answers"
    """What the target is a share of: all answers, or those that were reused alone."""
    neighbors: Annotated[int, Field(ge=1, le=100)] = 10
    options: dict[str, float | str | bool] = Field(default_factory=dict)
    """The policy's own options, such as `threshold` for `fixed`; see docs/settings.md."""


class CapacitySpec(Table):
    """How much is kept, and how long."""

    entries: Positive | None = None
    bytes: Positive | None = None
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
        for key in self.keys:
            takes = KINDS.get(key.extractor)
            if takes is not None and takes != self.input.kind:
                raise ValueError(f"extractor `{key.extractor}` takes {takes}, but [input] kind is `{self.input.kind}`")
            if key.extractor == "onnx":
                _check_preparation(self.input.kind, f"keys `{key.label}`", key)
        return self

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that the spec refers to, in the version's folder."""
        found = [self.model.file] if self.model else []
        found += [key.file for key in self.keys if key.file]
        if isinstance(self.result.labels, str):
            found.append(self.result.labels)
        return tuple(dict.fromkeys(found))


def _check_preparation(kind: str, table: str, preparation: Preparation) -> None:
    if kind == "image" and preparation.size is None:
        raise ValueError(f"[{table}] needs `size = [width, height]`, the picture that its ONNX file takes")
    if kind == "audio" and (preparation.sample_rate is None or preparation.seconds is None):
        raise ValueError(f"[{table}] needs `sample_rate` and `seconds`, the sound that its ONNX file takes")


def parse_spec(data: Mapping[str, Any], origin: str) -> FunctionSpec:
    """Return the checked spec.

    origin: what to call the source in errors, such as a path.
    Raises InvalidFunction naming origin, field and remedy; all faults in one message.
    """
    try:
        return FunctionSpec.model_validate(dict(data))
    except ValidationError as error:
        raise InvalidFunction(f"{origin}: " + "; ".join(_say(fault) for fault in error.errors())) from error


def _say(fault: Any) -> str:
    field = ".".join(str(part) for part in fault["loc"]) or "the file as a whole"
    if fault["type"] == "extra_forbidden":
        return f"field `{field}` is not known; remove it or correct its name"
    if fault["type"] == "missing":
        return f"field `{field}` is missing; add it"
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"field `{field}`: {message}" + ("" if "needs" in message else f" (it is {fault.get('input')!r})"[:200])


def parse_toml(text: str, origin: str) -> FunctionSpec:
    """Return the spec in a TOML text. Raises InvalidFunction, for the syntax too."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidFunction(f"{origin}: not valid TOML: {error}; correct that place") from error
    return parse_spec(data, origin)


def read_spec(folder: Path) -> tuple[FunctionSpec, int]:
    """Return the spec in a function's folder and the version to serve.

    Raises InvalidFunction where the file, a version's folder or a named file is missing, or the name is not allowed.
    """
    path = folder / SPEC_FILE
    if not NAME.fullmatch(folder.name):
        raise InvalidFunction(
            f"{folder}: a function's name has 1 to 64 lower-case letters, digits, `.`, `_` or `-`; rename the folder"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidFunction(f"{path}: cannot be read ({error}); write one, see docs/functions.md") from error
    spec = parse_toml(text, str(path))
    versions = sorted(int(child.name) for child in folder.iterdir() if child.is_dir() and child.name.isdigit())
    version = spec.version or (versions[-1] if versions else 1)
    for name in spec.files:
        if not (folder / str(version) / name).is_file():
            raise InvalidFunction(
                f"{path}: names `{name}`, but {folder / str(version) / name} is not there; "
                f"put it there, or correct the name"
            )
    return spec, version
