"""What an operator writes about a function, `function.toml`, checked so that every error names its remedy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from likewise.features.make import KINDS
from likewise.function.preparation_spec import Preparation, check_preparation
from likewise.function.result_spec import ResultSpec
from likewise.function.spec_table import NAME, Bytes, FileName, Positive, Table
from likewise.function.variant_spec import VariantSpec, check_variants
from likewise.results.make import KINDS as RESULT_KINDS

SPEC_FILE = "function.toml"

Seconds = Annotated[float, Field(gt=0, le=10 * 365 * 86400)]


class InputSpec(Table):
    """What devices send."""

    kind: Literal["image", "audio", "array", "bytes"]
    max_bytes: Bytes | None = None
    """Largest body of one input; default: the server's limit."""


class ModelSpec(Preparation):
    """The ONNX file that computes the function."""

    file: FileName = "model.onnx"
    deterministic: bool = True
    """The same input always has the same result, so an exact repeat may be answered with it at once."""


class KeySpec(Preparation):
    """A key type: the extractor that makes the key, and the metric."""

    name: Annotated[str, Field(pattern=rf"^{NAME.pattern}$")] = ""
    extractor: Literal["onnx", "gray", "color", "dct", "hog", "mfcc", "logmel", "vector", "pool", "bytes", "layer"]
    metric: Literal["cosine", "l2"] = "cosine"
    file: FileName | None = None
    """With extractor `onnx` or `layer`: the file in the version's folder."""
    rest: FileName | None = None
    """With extractor `layer`: the file with which the model goes on from there."""
    dimension: Annotated[int, Field(gt=0, le=4096)] | None = None
    """With extractor `vector`: length of the key."""
    index: Literal["auto", "exact", "hnsw", "ivf", "ivf-sq8", "alsh"] = "auto"
    precision: Literal["float32", "float16", "int8"] = "float32"
    """How exactly indexes `auto` and `hnsw` hold keys at norm 1 once a scan is too slow: 4, 2 or 1 byte a number."""
    projection: FileName | None = None
    """Search by a projection of the keys. "auto": learned from computed results where it helps; "off"; or the file that
    holds one, in the version's folder. Default: auto, for `onnx`, `layer` off."""

    @model_validator(mode="after")
    def _complete(self) -> KeySpec:
        if self.extractor == "onnx" and self.file is None:
            raise ValueError("extractor `onnx` needs `file`, the ONNX file that makes the key")
        if (self.extractor == "layer") != (self.rest is not None) or (self.extractor == "layer" and self.file is None):
            raise ValueError("extractor `layer`, and no other, needs `file` and `rest`, the model's two parts")
        if self.extractor == "vector" and self.dimension is None:
            raise ValueError("extractor `vector` needs `dimension`, the length of the key")
        if self.projection_file is not None and not self.projection_file.endswith(".json"):
            raise ValueError(f"projection is `{self.projection}`; give auto, off, or the name of a .json file")
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

    @property
    def projection_file(self) -> str | None:
        """The file of a projection that was learned before, if any."""
        return None if self.projection in (None, "auto", "off") else self.projection


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
    """Which of the [[variants]] may answer: those that take the key, those that take the input, or all."""
    options: dict[str, float | str | bool] = Field(default_factory=dict)
    """The policy's own options, such as `threshold` for `fixed`; see docs/settings.md."""

    @field_validator("options", mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        for name, option in value.items() if isinstance(value, Mapping) else ():
            if not isinstance(option, str | int | float):
                raise ValueError(f"needs a number, a text, true or false for `{str(name)[:64]}`")
        return value


class BudgetSpec(Table):
    """What computing the function may cost; nothing: no limit of its own. Of each worker."""

    inference: Annotated[float, Field(gt=0, le=1024)] | None = None
    """Seconds of inference per second."""
    power_w: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Watts, where inference takes the setting `inference_w` of them while it runs."""
    latency_ms: Annotated[float, Field(gt=0, le=3_600_000)] | None = None
    """Milliseconds that 99 of 100 answers are to keep."""
    emergency_target: Annotated[float, Field(ge=0.5, lt=1)] | None = None
    """Accuracy target while a budget is exceeded and nothing else helps; default: the setting, which is never."""


VideoMethod = Literal["auto", "cbinfer", "deepmon", "deepcache", "skip", "keyframe"]
VIDEO_METHODS: tuple[VideoMethod, ...] = get_args(VideoMethod)


class VideoSpec(Table):
    """How frames of a stream are computed."""

    method: Literal[VideoMethod, "off"] = "auto"
    """`off`: each in full."""


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
    share_model: bool = False
    """Devices may fetch the model and its variants, to compute by themselves."""
    input: InputSpec
    model: ModelSpec | None = None
    result: ResultSpec = ResultSpec()
    keys: Annotated[tuple[KeySpec, ...], Field(min_length=1, max_length=8)]
    reuse: ReuseSpec = ReuseSpec()
    variants: Annotated[tuple[VariantSpec, ...], Field(max_length=16)] = ()
    capacity: CapacitySpec = CapacitySpec()
    budget: BudgetSpec = BudgetSpec()
    video: VideoSpec = VideoSpec()

    @model_validator(mode="after")
    def _coherent(self) -> FunctionSpec:
        names = [key.label for key in self.keys]
        if len(set(names)) != len(names):
            raise ValueError("two of the [[keys]] have the same name; give each its own `name`")
        if self.model is not None:
            check_preparation(self.input.kind, "model", self.model)
        check_variants(self.variants, self.input.kind, self.model, self.result.kind)
        labelled = self.model is not None or "kind" in self.result.model_fields_set
        allowed = RESULT_KINDS[self.result.kind].equalities
        if labelled and self.result.equality not in allowed:
            raise ValueError(
                f"[result] kind `{self.result.kind}` has nothing to compare by `{self.result.equality}`: take equality "
                f"{' or '.join(f'`{each}`' for each in allowed)}"
            )
        if "windows" in self.result.model_fields_set and (self.model is None or self.model.overlap is None):
            raise ValueError("[result] `windows` is for sounds with `overlap` in [model]; remove it, or set that")
        if any(key.overlap is not None for key in self.keys):
            raise ValueError("[[keys]] has `overlap`, but a key is made of one window; remove it")
        for key in self.keys:
            takes = KINDS.get(key.extractor)
            if takes is not None and takes != self.input.kind:
                raise ValueError(f"extractor `{key.extractor}` takes {takes}, but [input] kind is `{self.input.kind}`")
            if key.extractor == "onnx":
                check_preparation(self.input.kind, f"keys `{key.label}`", key)
            if key.extractor == "layer":
                self._check_layer(key)
        return self

    def _check_layer(self, key: KeySpec) -> None:
        if self.model is None or key is not self.keys[0]:
            raise ValueError("extractor `layer` is for the first of the [[keys]] of a function with a [model]")
        if self.model.fixed or self.model.overlap is not None or self.model.batch != "both":
            raise ValueError(
                "extractor `layer` is for a [model] of one input, without `fixed` and `overlap`, and with a batch axis"
            )
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
        found += [variant.file for variant in self.variants]
        found += [name for key in self.keys for name in (key.file, key.rest) if name]
        return tuple(dict.fromkeys(found))

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
        return variant if variant.own_fields else self.model

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files that the spec refers to."""
        names = [self.result.names_file] if self.result.names_file else []
        projections = [key.projection_file for key in self.keys if key.projection_file]
        return tuple(dict.fromkeys([*self.onnx_files, *names, *projections]))
