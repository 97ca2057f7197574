"""What an operator writes about a function, `function.toml`, checked so that every error names its remedy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from likewise.features.make import KINDS
from likewise.function.tables import (
    FILE_NAME,
    NAME,
    Bytes,
    FileName,
    NotNegative,
    Positive,
    Preparation,
    Seconds,
    Share,
    Table,
    check_preparation,
)
from likewise.function.variant_spec import VariantSpec, check_variants
from likewise.results.clusters import Tolerance

SPEC_FILE = "function.toml"


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
    extractor: Literal["onnx", "gray", "color", "dct", "hog", "mfcc", "logmel", "vector"]
    metric: Literal["cosine", "l2"] = "cosine"
    file: FileName | None = None
    """With extractor `onnx`: the file in the version's folder."""
    dimension: Annotated[int, Field(gt=0, le=4096)] | None = None
    """With extractor `vector`: length of the key."""
    index: Literal["auto", "exact", "hnsw", "ivf", "alsh"] = "auto"
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
    """What the target is a share of: all answers, computed ones too, or the reused ones alone."""
    ticket_ttl_s: Annotated[float, Field(ge=1, le=3600)] = 60.0
    """How long a device may take to compute after a lookup, before its ticket is worth nothing."""
    neighbors: Annotated[int, Field(ge=1, le=100)] = 10
    ladder: Literal["off", "exits", "variants", "all"] = "all"
    """Which of the [[variants]] may answer: none, those that take the key, those that take the input, or all."""
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
    variants: Annotated[tuple[VariantSpec, ...], Field(max_length=16)] = ()
    capacity: CapacitySpec = CapacitySpec()

    @model_validator(mode="after")
    def _coherent(self) -> FunctionSpec:
        names = [key.label for key in self.keys]
        if len(set(names)) != len(names):
            raise ValueError("two of the [[keys]] have the same name; give each its own `name`")
        if self.model is not None:
            check_preparation(self.input.kind, "model", self.model)
        check_variants(self.variants, self.input.kind, self.model is not None, self.result.kind)
        labelled = self.model is not None or "kind" in self.result.model_fields_set
        if labelled and self.result.kind == "label" and self.result.equality == "close":
            raise ValueError("[result] kind `label` has no numbers that could be close: take equality `label`")
        for key in self.keys:
            takes = KINDS.get(key.extractor)
            if takes is not None and takes != self.input.kind:
                raise ValueError(f"extractor `{key.extractor}` takes {takes}, but [input] kind is `{self.input.kind}`")
            if key.extractor == "onnx":
                check_preparation(self.input.kind, f"keys `{key.label}`", key)
        return self

    @property
    def onnx_files(self) -> tuple[str, ...]:
        """Names of the ONNX files that the spec refers to, in the version's folder."""
        found = [self.model.file] if self.model else []
        found += [variant.file for variant in self.variants]
        return tuple(dict.fromkeys([*found, *(key.file for key in self.keys if key.file)]))

    @property
    def rungs(self) -> tuple[VariantSpec, ...]:
        """The variants that may answer, cheapest first."""
        wanted = {"off": (), "exits": ("key",), "variants": ("input",), "all": ("key", "input")}[self.reuse.ladder]
        if self.reuse.policy != "calibrated+ledger":  # no ledger, no promise that they could be held to
            return ()
        return tuple(sorted((each for each in self.variants if each.takes in wanted), key=lambda each: each.cost))

    def prepared(self, variant: VariantSpec) -> Preparation:
        """Return how an input becomes a variant's: its own way where it has one, else the model's."""
        assert self.model is not None
        own = variant.model_fields_set & Preparation.model_fields.keys()
        return variant if own else self.model

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files that the spec refers to."""
        labels = [self.result.labels] if isinstance(self.result.labels, str) else []
        return tuple(dict.fromkeys([*self.onnx_files, *labels]))


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
