"""Functions put together from their folders: spec, decoder, extractors, model, namespace, policies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from secrets import token_urlsafe

from likewise.clocks import monotonic
from likewise.decision import Budget, make_policy
from likewise.decision.calibrated import Calibrated
from likewise.decision.frames import FramePolicy
from likewise.decision.ladder import Ladder
from likewise.decision.leases import Leases
from likewise.errors import InvalidFunction, InvalidValue
from likewise.events import Sink
from likewise.features.decode import decoder
from likewise.features.embedding import LayerExtractor
from likewise.features.identity import signature
from likewise.function.fingerprint import fingerprint, journal_id
from likewise.function.function import Function
from likewise.function.governor import CostLimits, WorkerBudgets, limits_of
from likewise.function.leasing import Leasing
from likewise.function.paging import Pager
from likewise.function.parts import Computation, Limits, Parts
from likewise.function.reader import Normalize, Reader, as_it_is
from likewise.function.reading import ReadingQueue
from likewise.function.sharing import key_file, sharing_of
from likewise.function.spec import FunctionSpec
from likewise.function.spec_text import read_spec
from likewise.function.streams import Streams, unit_of
from likewise.function.trunks import Trunks
from likewise.function.variant_spec import VariantSpec
from likewise.function.variants import Variants, variants_of
from likewise.inference.batching import Batcher
from likewise.inference.model import OnnxModel
from likewise.inference.runner import ModelRunner
from likewise.inference.workers import Workers
from likewise.learning.projections import Projector, learning_executor
from likewise.lookup.namespace import Namespace
from likewise.ports import Policy
from likewise.results.labels import Labels
from likewise.types import Array, Clock, Input
from likewise.video.stream import StreamStore
from likewise.video.waiting import FrameRoom


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for functions that do not say otherwise, and the limits of all."""

    accuracy_target: float = 0.95
    capacity_entries: int = 20_000
    capacity_bytes: int = 256 << 20
    ttl_s: float = 3600.0
    eviction: str = "importance"
    account_entries_share: float = 0.5
    inference_threads: int = 1
    batch_max: int = 16
    queue_limit: int = 256
    queue_bytes: int = 256 << 20
    queue_timeout_s: float = 10.0
    max_body_bytes: int = 16 << 20
    max_pixels: int = 16_000_000
    max_audio_s: float = 60.0
    max_elements: int = 4_000_000
    inline_bytes: int = 16 << 10
    inline_values: int = 1 << 18
    seen_bytes: int = 4 << 20
    invalidated_tags: int = 10_000
    max_devices: int = 10_000
    stream_bytes: int = 1 << 30
    costs: CostLimits = field(default_factory=CostLimits)
    account_inference: float = 0.0
    variant_bytes: int = 1 << 40
    trunk_bytes: int = 64 << 20
    ticket_prefix: str = ""
    lease_s: float = 60.0
    lease_tokens: float = 10.0
    lease_most_tokens: float = 19.0
    lease_prefetch: int = 6
    max_leases: int = 1024
    max_account_leases: int = 256


class Assembler:
    """Builds functions from their folders."""

    def __init__(
        self,
        defaults: Defaults,
        workers: Workers,
        executor: Executor,
        clock: Clock,
        coin: Callable[[], float],
        sinks: Iterable[Sink] = (),
    ) -> None:
        """Set up. executor: for reading large inputs; coin: uniform numbers in [0, 1), private to this server.

        sinks: told how each request of any function ended.
        """
        self._sinks = tuple(sinks)
        self._defaults = defaults
        self._workers = workers
        self._reading = ReadingQueue(executor, limit=defaults.queue_limit, patience_s=defaults.queue_timeout_s)
        self._clock = clock
        self._coin = coin
        self._learning = learning_executor()
        self._budgets = WorkerBudgets(defaults.costs, defaults.account_inference, monotonic)
        self._trunks = Trunks(defaults.trunk_bytes)
        self._pager = Pager(defaults.variant_bytes, executor, monotonic)
        self._stream_store = StreamStore(defaults.stream_bytes)

    def build(self, folder: Path, version: int | None = None, generation: str = "") -> Function:
        """Return the function in a folder. Raises InvalidFunction naming file, field and remedy.

        version: overrides the spec's. generation: see `journal_id`.
        """
        spec, found = read_spec(folder)
        limits = Limits(self._defaults.max_pixels, self._defaults.max_audio_s, self._defaults.max_elements)
        parts = Parts(spec, folder, found, limits)
        return self._build(folder.name, version or found, parts, generation)

    def _build(self, name: str, version: int, parts: Parts, generation: str) -> Function:
        defaults, spec = self._defaults, parts.spec
        target = spec.reuse.accuracy_target or defaults.accuracy_target
        computation = parts.computation(spec.model, defaults.inference_threads) if spec.model else None
        key_types = tuple(parts.key_type(key, f"{name}@{version}") for key in spec.keys)
        layer = key_types[0].extractor
        names = [key.name for key in key_types]
        threads, dimension = defaults.inference_threads, key_types[0].dimension
        rungs = [
            (each, parts.variant(each, threads, dimension), partial(parts.load_variant, each, threads))
            for each in spec.rungs
        ]
        # all key types of a function spend one budget, so the promise holds for the function as a whole
        budget = _budget(spec, target) if spec.reuse.policy == "calibrated+ledger" else None
        shared = {} if budget is None else {"budget": budget}
        own = {key: value for key, value in spec.reuse.options.items() if key not in ("slack", "cap") or not shared}
        try:
            policies = {key: make_policy(spec.reuse.policy, target, self._coin, **own, **shared) for key in names}
        except InvalidValue as error:
            raise InvalidFunction(f"{parts.origin}: [reuse] options: {error.detail}") from error
        identity = fingerprint(spec, parts.labels, parts.files)
        namespace = Namespace(
            journal_id(name, version, identity, generation),
            {key.name: key.dimension for key in key_types},
            capacity_entries=spec.capacity.entries or defaults.capacity_entries,
            capacity_bytes=spec.capacity.bytes or defaults.capacity_bytes,
            ttl_s=spec.capacity.ttl_s or defaults.ttl_s,
            clock=self._clock,
            monotonic=monotonic,
            index_kind={key.label: key.index for key in spec.keys},
            precision={key.label: key.precision for key in spec.keys if key.precision != "float32"},
            eviction=spec.capacity.eviction or defaults.eviction,
            account_share=defaults.account_entries_share,
        )
        # the other policies compare distances with thresholds that hold for keys as they are
        by_projection = [key for key in spec.keys if spec.reuse.policy.startswith("calibrated")]
        for key, key_type in zip(spec.keys, key_types, strict=True):
            if (prior := parts.projection(key, key_type.dimension)) is not None and key in by_projection:
                namespace.project(key.label, prior)
        decode = decoder(
            spec.input.kind,
            max_pixels=defaults.max_pixels,
            max_seconds=defaults.max_audio_s,
            max_values=defaults.max_elements,
        )
        tolerance, tolerances = spec.result.tolerances
        labels = Labels(spec.result.equality, tolerance, tolerances=tolerances, least=spec.result.least)
        runner = governor = trunk = None
        if computation is not None:
            model = computation.model
            if isinstance(model, OnnxModel) and spec.layer is None and spec.result.equality != "bytes":
                trunk = self._trunks.share(model)
            runner = self._runner(computation if trunk is None else replace(computation, model=trunk))
            costs = limits_of(spec.budget, defaults.costs, target, parts.origin)
            governor = self._budgets.govern(f"{name}@{version}", costs, runner, list(policies.values()), budget)
            if governor is not None:
                runner.bill(governor.charge)
        return Function(
            name,
            version,
            spec,
            reader=Reader(
                spec.input.kind,
                decode,
                key_types[0],
                self._reading,
                normalize=normalizer(spec.input.kind, computation),
                dtype=computation.dtype if computation and spec.input.kind == "array" else "",
                deterministic=spec.model.deterministic if spec.model else False,
                inline_bytes=defaults.inline_bytes,
                inline_values=defaults.inline_values,
                seen_bytes=defaults.seen_bytes,
                waiting_bytes=defaults.queue_bytes,
                begin=layer.begin if isinstance(layer, LayerExtractor) else None,
                quick=all(each.quick for each in key_types),
                others={each.name: each for each in key_types[1:]},
            ),
            namespace=namespace,
            labels=labels,
            policies=policies,
            runner=runner,
            governor=governor,
            shared=trunk,
            max_body_bytes=defaults.max_body_bytes,
            clock=self._clock,
            invalidated_tags=defaults.invalidated_tags,
            max_devices=defaults.max_devices,
            ticket_prefix=defaults.ticket_prefix,
            fingerprint=identity,
            budget=budget,
            variants=self._variants(f"{name}@{version}", rungs, policies[names[0]], labels, target, runner),
            streams=self._streams(f"{name}@{version}", spec, computation, budget, labels, target),
            leasing=self._leasing(namespace, key_types[0].name, parts, budget, target, policies[names[0]]),
            sharing=sharing_of(f"{name}@{version}", parts),
            key_types=key_types,
            sinks=self._sinks,
            projectors={
                key.label: Projector(namespace, key.label, self._learning)
                for key in by_projection
                if key.may_be_projected
            },
        )

    def _variants(
        self,
        function: str,
        rungs: Sequence[tuple[VariantSpec, Computation, Callable[[], OnnxModel]]],
        policy: Policy,
        labels: Labels,
        target: float,
        runner: ModelRunner | None,
    ) -> Variants | None:
        """Return the rungs beyond the neighbors; None where there are none: then nothing is ever asked about them."""
        if not rungs or runner is None or not isinstance(policy, Calibrated):
            return None
        built = variants_of(rungs, labels, self._batcher)
        steps = [each.step for each in built]
        ladder = Ladder(target, self._coin, policy, steps, present=lambda at: built[at].model.present)
        return Variants(function, built, ladder, self._pager, lambda: runner.mean_cost_s)

    def _streams(
        self,
        function: str,
        spec: FunctionSpec,
        computation: Computation | None,
        budget: Budget | None,
        labels: Labels,
        target: float,
    ) -> Streams | None:
        if computation is None or spec.model is None or spec.video.method == "off" or spec.input.kind == "audio":
            return None
        return Streams(
            function,
            computation,
            FramePolicy(budget or _budget(spec, target), target, self._coin),
            labels,
            self._stream_store,
            self._workers.executor,
            method=spec.video.method,
            epsilon=1.0 - target,
            unit=unit_of(spec.model) if spec.input.kind == "image" else None,
            room=FrameRoom(self._defaults.queue_limit, self._defaults.queue_bytes, self._defaults.queue_timeout_s),
        )

    def _leasing(
        self,
        namespace: Namespace,
        key_type: str,
        parts: Parts,
        budget: Budget | None,
        target: float,
        policy: Policy,
    ) -> Leasing | None:
        """Return what devices may answer with by themselves: nothing without a budget to pay for it."""
        defaults = self._defaults
        if budget is None or not defaults.lease_s:
            return None
        leases = Leases(
            budget,
            1.0 - target,
            partial(token_urlsafe, 12),
            seconds=defaults.lease_s,
            tokens=min(defaults.lease_tokens, defaults.lease_most_tokens),
            most=defaults.lease_most_tokens,
            limit=defaults.max_leases,
            per_account=defaults.max_account_leases,
        )
        spec = parts.spec
        return Leasing(
            leases,
            namespace,
            key_type,
            spec.reuse.neighbors,
            policy.confident,
            monotonic,
            exact=spec.model.deterministic if spec.model else False,
            key_file=key_file(spec.keys[0], parts),
            prefetch=defaults.lease_prefetch,
        )

    def _runner(self, computation: Computation) -> ModelRunner:
        return ModelRunner(self._batcher(computation), computation.encode)

    def _batcher(self, computation: Computation) -> Batcher:
        defaults = self._defaults
        return Batcher(
            computation.model,
            computation.feed,
            self._workers,
            batch_max=defaults.batch_max,
            queue_limit=defaults.queue_limit,
            queue_bytes=defaults.queue_bytes,
            queue_timeout_s=defaults.queue_timeout_s,
        )


def normalizer(kind: str, computation: Computation | None) -> Normalize:
    """Return what brings an input to the form in which inputs are compared, and says what its key does not.

    An array becomes the very tensor that the model takes, so that what it would refuse is refused before anything is
    looked up; where the model takes several shapes, the shape is the input's signature. Without a model, shape and
    type are, but for a plain list of floats, which is what a key looked up by itself stands for.
    """
    if kind != "array":
        return as_it_is

    def normalize(value: Input) -> tuple[Input, str]:
        if computation is not None:
            tensor = computation.prepare(value)
            return Array(tensor), "x".join(map(str, tensor.shape)) if computation.free else ""
        plain = isinstance(value, Array) and value.values.ndim == 1 and value.values.dtype.kind == "f"
        return value, "" if plain else signature(value)

    return normalize


def _budget(spec: FunctionSpec, target: float) -> Budget:
    options = spec.reuse.options
    return Budget(target, float(options.get("slack", 3.0)), float(options.get("cap", 100.0)), spec.reuse.accuracy_of)
