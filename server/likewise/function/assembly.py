"""Functions put together from their folders: spec, decoder, extractors, model, namespace, policies."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from likewise.decision import Budget, make_policy
from likewise.errors import InvalidFunction, InvalidValue, LikewiseError
from likewise.features.decode import decoder
from likewise.features.make import make_extractor
from likewise.features.prepare import array_tensor, audio_tensor, image_tensor
from likewise.function.function import Computing, Function
from likewise.function.spec import SPEC_FILE, FunctionSpec, KeySpec, Preparation, read_spec
from likewise.inference.batching import Batcher, Workers
from likewise.inference.model import OnnxModel
from likewise.learning.projections import Projector, learning_executor
from likewise.lookup.namespace import Namespace
from likewise.ports import Extractor
from likewise.results.encode import label_encoder, read_labels, tensor_encoder
from likewise.results.labels import Labels
from likewise.types import Clock, Input, Tensor


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for functions that do not say otherwise, and the limits of all."""

    accuracy_target: float = 0.95
    capacity_entries: int = 20_000
    capacity_bytes: int = 256 << 20
    ttl_s: float = 3600.0
    eviction: str = "importance"
    inference_threads: int = 1
    batch_max: int = 16
    queue_limit: int = 256
    queue_timeout_s: float = 10.0
    max_body_bytes: int = 16 << 20
    max_pixels: int = 16_000_000
    max_audio_s: float = 60.0
    max_elements: int = 4_000_000
    inline_bytes: int = 16 << 10
    invalidated_tags: int = 10_000
    max_devices: int = 10_000


class Assembler:
    """Builds functions from their folders."""

    def __init__(
        self, defaults: Defaults, workers: Workers, executor: Executor, clock: Clock, coin: Callable[[], float]
    ) -> None:
        """Set up. executor: for reading large inputs; coin: uniform numbers in [0, 1), private to this server."""
        self._defaults = defaults
        self._workers = workers
        self._executor = executor
        self._clock = clock
        self._coin = coin
        self._learning = learning_executor()

    def build(self, folder: Path, version: int | None = None) -> Function:
        """Return the function in a folder. Raises InvalidFunction naming file, field and remedy.

        version: overrides the spec's.
        """
        spec, found = read_spec(folder)
        return self._build(folder.name, version or found, spec, folder / str(found), str(folder / SPEC_FILE))

    def _build(self, name: str, version: int, spec: FunctionSpec, files: Path, origin: str) -> Function:
        defaults = self._defaults
        target = spec.reuse.accuracy_target or defaults.accuracy_target
        extractors = {key.label: self._extractor(spec, key, files, origin) for key in spec.keys}
        # all key types of a function spend one budget, so the promise holds for the function as a whole
        shared = {"budget": _budget(spec, target)} if spec.reuse.policy == "calibrated+ledger" else {}
        own = {key: value for key, value in spec.reuse.options.items() if key not in ("slack", "cap") or not shared}
        try:
            policies = {key: make_policy(spec.reuse.policy, target, self._coin, **own, **shared) for key in extractors}
        except InvalidValue as error:
            raise InvalidFunction(f"{origin}: [reuse] options: {error.detail}") from error
        namespace = Namespace(
            f"{name}@{version}",
            {key: extractor.dimension for key, extractor in extractors.items()},
            capacity_entries=spec.capacity.entries or defaults.capacity_entries,
            capacity_bytes=spec.capacity.bytes or defaults.capacity_bytes,
            ttl_s=spec.capacity.ttl_s or defaults.ttl_s,
            clock=self._clock,
            index_kind={key.label: key.index for key in spec.keys},
            precision={key.label: key.precision for key in spec.keys if key.precision != "float32"},
            eviction=spec.capacity.eviction or defaults.eviction,
        )
        decode = decoder(
            spec.input.kind,
            max_pixels=defaults.max_pixels,
            max_seconds=defaults.max_audio_s,
            max_values=defaults.max_elements,
        )
        return Function(
            name,
            version,
            spec,
            decode=decode,
            extractors=extractors,
            namespace=namespace,
            labels=Labels(spec.result.equality, tolerance=spec.result.tolerance),
            policies=policies,
            computing=self._computing(spec, files, origin),
            executor=self._executor,
            inline_bytes=defaults.inline_bytes,
            max_body_bytes=defaults.max_body_bytes,
            clock=self._clock,
            invalidated_tags=defaults.invalidated_tags,
            max_devices=defaults.max_devices,
            projectors={
                key.label: Projector(namespace, key.label, self._learning)
                for key in spec.keys
                # the other policies compare distances with thresholds that hold for keys as they are
                if key.may_be_projected and spec.reuse.policy.startswith("calibrated")
            },
        )

    def _computing(self, spec: FunctionSpec, files: Path, origin: str) -> Computing | None:
        if spec.model is None:
            return None
        model = OnnxModel(files / spec.model.file, self._defaults.inference_threads)
        prepare = _prepare(spec.input.kind, spec.model, model, origin)
        labels = spec.result.labels
        if isinstance(labels, str):
            labels = read_labels((files / labels).read_text(encoding="utf-8"), str(files / labels))
        encode = label_encoder(labels or ()) if spec.result.kind == "label" else tensor_encoder(model.outputs)
        _try(model, spec, labels or (), origin)
        return Computing(
            Batcher(
                model,
                prepare,
                self._workers,
                batch_max=self._defaults.batch_max,
                queue_limit=self._defaults.queue_limit,
                queue_timeout_s=self._defaults.queue_timeout_s,
            ),
            encode,
        )

    def _extractor(self, spec: FunctionSpec, key: KeySpec, files: Path, origin: str) -> Extractor:
        options: dict[str, Any] = {}
        if key.extractor == "onnx":
            model = OnnxModel(files / str(key.file))
            prepare = _prepare(spec.input.kind, key, model, origin)
            run = model.run_one()
            options = {"run": run, "prepare": prepare, "dimension": run(model.zeros()[0]).shape[-1]}
        elif key.extractor == "vector":
            options = {"dimension": key.dimension}
        return make_extractor(key.extractor, spec.input.kind, key.metric, **options)


def _budget(spec: FunctionSpec, target: float) -> Budget:
    options = spec.reuse.options
    return Budget(target, float(options.get("slack", 3.0)), float(options.get("cap", 100.0)), spec.reuse.accuracy_of)


def _prepare(kind: str, table: Preparation, model: OnnxModel, origin: str) -> Callable[[Input], Tensor]:
    """Return what turns an input into the model's, checked against the model's own shape."""
    if kind == "image":
        width, height = table.size or (0, 0)
        model.check((table.channels, height, width), origin)
        mean, std = (table.mean or (0.0,)), (table.std or (1.0,))
        return image_tensor((width, height), table.channels, _spread(mean, table), _spread(std, table))
    if kind == "audio":
        rate, seconds = table.sample_rate or 1, table.seconds or 1.0
        model.check((round(rate * seconds),), origin)
        return audio_tensor(rate, seconds)
    return array_tensor(model.shape, str(model.dtype))


def _spread(values: tuple[float, ...], table: Preparation) -> tuple[float, ...]:
    return values * table.channels if len(values) == 1 else values


def _try(model: OnnxModel, spec: FunctionSpec, labels: tuple[str, ...], origin: str) -> None:
    """Run the model once on zeros, so that a wrong number of labels shows now and not at the first request."""
    if None in model.shape:
        return
    try:
        outputs = model.run(model.zeros())
    except LikewiseError as error:
        raise InvalidFunction(f"{origin}: the model cannot compute: {error.detail}") from error
    if spec.result.kind == "label" and labels and outputs[0][0].size != len(labels):
        raise InvalidFunction(
            f"{origin}: result.labels names {len(labels)} classes, but the model's first output has "
            f"{outputs[0][0].size}; correct the labels"
        )
