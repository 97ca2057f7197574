"""Functions: named, versioned computations with everything that is cached of them, and the registry of them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from likewise.errors import InvalidValue, UnknownFunction
from likewise.function.adoption import Adopter
from likewise.function.coalescing import InFlight
from likewise.function.sessions import Sessions
from likewise.function.spec import FunctionSpec
from likewise.function.tickets import Pending, Tickets
from likewise.inference.batching import Batcher
from likewise.learning.evidence import Exchange
from likewise.learning.projections import Projector
from likewise.lookup.namespace import Namespace
from likewise.ports import Extractor, Policy
from likewise.results.encode import Encode
from likewise.results.labels import Labels
from likewise.sinks.metrics import FunctionMetrics
from likewise.types import (
    Clock,
    Control,
    Entry,
    Input,
    Key,
    Keys,
    Lesson,
    Neighbors,
    Result,
    Source,
    Session,
    Verdict,
)

Decode = Callable[[str, bytes], Input]


@dataclass(frozen=True, slots=True)
class Computing:
    """The model's side of a function."""

    batcher: Batcher
    encode: Encode


class Function:
    """One function version: how to read its inputs, what is cached, where reuse is safe, how to compute.

    Owned by one event loop; all methods but `read` and `infer` are plain and take microseconds.
    """

    def __init__(
        self,
        name: str,
        version: int,
        spec: FunctionSpec,
        *,
        decode: Decode,
        extractors: Mapping[str, Extractor],
        namespace: Namespace,
        labels: Labels,
        policies: Mapping[str, Policy],
        computing: Computing | None,
        executor: Executor,
        inline_bytes: int,
        max_body_bytes: int,
        clock: Clock,
        projectors: Mapping[str, Projector] | None = None,
        invalidated_tags: int | None = None,
        max_devices: int = 10_000,
    ) -> None:
        """Put the parts together. extractors and policies: by key type, in the spec's order; the first is primary.

        projectors: of the key types whose keys may be projected. invalidated_tags, max_devices: how many are
        remembered.
        """
        self.name = name
        self.version = version
        self.id = f"{name}@{version}"
        self.spec = spec
        self.namespace = namespace
        self.labels = labels
        self.policies = policies
        self.projectors = dict(projectors or {})
        self.computing = computing
        self.adopter = Adopter(namespace, labels, self._learn_projections, clock, invalidated_tags)
        self.evidence = Exchange(self.id, policies)
        self.metrics = FunctionMetrics()
        self.in_flight = InFlight()
        self.devices = Sessions(max_devices)
        self.tickets = Tickets(clock, self._abandon)
        self.key_type = next(iter(extractors))
        self.dimensions = {name: extractor.dimension for name, extractor in extractors.items()}
        self.max_body_bytes = min(max_body_bytes, spec.input.max_bytes or max_body_bytes)
        self._decode = decode
        self._extractors = dict(extractors)
        self._extract = extractors[self.key_type]
        self._executor = executor
        self.inline_bytes = inline_bytes
        self._cosine = {key.label: key.metric == "cosine" for key in spec.keys}
        self._k = spec.reuse.neighbors
        self._clock = clock
        self._policy = policies[self.key_type]

    # ── reading ────────────────────────────────────────────────────────────────────────────────────────────

    async def read(self, media_type: str, body: bytes) -> tuple[Input, Key]:
        """Return the decoded input and its primary key; small inputs here and now, large ones on the pool.

        Raises LikewiseError for whatever a device may send.
        """
        if len(body) <= self.inline_bytes:
            return self.read_inline(media_type, body)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self.read_inline, media_type, body)

    def read_inline(self, media_type: str, body: bytes) -> tuple[Input, Key]:
        """Return what `read` does, on the calling thread."""
        started = perf_counter()
        value = self._decode(media_type, body)
        key = self._extract(value)
        self.metrics.stages["read"].observe(perf_counter() - started)
        return value, key

    def keys(self, value: Input, primary: Key) -> dict[str, Key]:
        """Return one key for each key type; the primary one is at hand already."""
        return {
            name: primary if name == self.key_type else extractor(value) for name, extractor in self._extractors.items()
        }

    def owner(self, key_type: str) -> str:
        """Return how errors name a key type of this function."""
        return f"key type `{key_type}` of `{self.id}`"

    def normalized(self, keys: Keys, key_type: str) -> Keys:
        """Return keys from a device as the key type keeps them: unit norm where its metric is cosine; shape (n, d)."""
        if not self._cosine[key_type]:
            return np.ascontiguousarray(keys, np.float32)
        norms = np.sqrt(np.einsum("ij,ij->i", keys, keys))[:, None]
        return np.ascontiguousarray(keys / np.where(norms > 0, norms, 1), np.float32)

    def key(self, body: bytes, key_type: str) -> Key | None:
        """Return the one key in little-endian float32 bytes as the key type keeps it; None: look closer.

        None stands for every body that is not plainly right: `keys_from_bytes` and `normalized` say what is wrong.
        """
        if len(body) != 4 * self.dimensions[key_type]:
            return None
        key = np.frombuffer(body, "<f4")
        with np.errstate(over="ignore", invalid="ignore"):  # judged right below
            norm_sq = float(key.dot(key))
        if not 1e-30 < norm_sq < 1e30:  # NaN and infinity too, and what float32 cannot square
            return None
        if not self._cosine[key_type] or -1e-6 < norm_sq - 1.0 < 1e-6:
            return key
        return key * np.float32(1.0 / math.sqrt(norm_sq))

    # ── looking up and deciding ────────────────────────────────────────────────────────────────────────────

    def lookup(self, key: Key, key_type: str | None = None) -> Neighbors:
        """Return the nearest live entries of a key."""
        started = perf_counter()
        neighbors = self.namespace.lookup(key_type or self.key_type, key, self._k)
        self.metrics.stages["lookup"].observe(perf_counter() - started)
        return neighbors

    def lookup_many(self, keys: Keys, key_type: str) -> list[Neighbors]:
        """Return the nearest live entries of each key; keys has shape (n, d)."""
        return self.namespace.lookup_many(key_type, keys, self._k)

    def decide(self, neighbors: Neighbors, session: Session | None = None, key_type: str | None = None) -> Verdict:
        """Return the verdict for one request; exactly once per request."""
        started = perf_counter()
        policy = self._policy if key_type is None else self.policies[key_type]
        verdict = policy.decide(neighbors, session)
        self.metrics.stages["decide"].observe(perf_counter() - started)
        return verdict

    def judge(self, key: Key, session: Session | None, key_type: str, started: float) -> Verdict:
        """Look a key up and decide, as `lookup` and `decide` do; started: by perf_counter, when this began."""
        neighbors = self.namespace.lookup(key_type, key, self._k)
        looked_up = perf_counter()
        verdict = self.policies[key_type].decide(neighbors, session)
        decided = perf_counter()
        stages = self.metrics.stages
        stages["lookup"].observe(looked_up - started)
        stages["decide"].observe(decided - looked_up)
        return verdict

    def confident(self, neighbors: Neighbors) -> bool:
        """Say whether such neighbors would be reused, without accounting for anything."""
        return self._policy.confident(neighbors)

    def fresh(self, slot: int, control: Control) -> bool:
        """Say whether an entry satisfies a request's max-age and min-fresh."""
        return self.namespace.age_s(slot) <= control.max_age_s and self.namespace.ttl_s(slot) >= control.min_fresh_s

    def nearest_id(self, verdict: Verdict) -> int:
        """Return the id of the nearest entry of a verdict made just now, or -1."""
        slots = verdict.neighbors.slots
        return self.namespace.entry_id(slots[0]) if slots else -1

    # ── computing and learning ─────────────────────────────────────────────────────────────────────────────

    async def infer(self, value: Input, *, probe: bool) -> tuple[Result, float]:
        """Return the model's result and its cost in seconds. Raises Overloaded, ModelFailed, InvalidValue."""
        if self.computing is None:
            raise InvalidValue(
                f"`{self.id}` has no model here: devices compute it. Use lookup, then insert the result."
            )
        started = perf_counter()
        outputs, cost_s = await self.computing.batcher.infer(value, probe=probe)
        result = self.computing.encode(outputs)
        self.metrics.stages["infer"].observe(perf_counter() - started)
        return result, cost_s

    def learn(self, key_type: str, verdict: Verdict, nearest_id: int, result: Result) -> tuple[Lesson, int, int]:
        """Take in a computed result; return the lesson, the result's label, and the contradicted entry's id or -1."""
        label = self.labels.label(result)
        lesson = self.policies[key_type].learn(verdict, label)
        self.evidence.note(key_type, verdict, lesson.wrong)
        contradicted = -1
        if lesson.evict_slot >= 0 and nearest_id >= 0 and self.namespace.slot_of(nearest_id) == lesson.evict_slot:
            # the slot may have been given to another entry while the model ran
            self.namespace.remove(lesson.evict_slot)
            contradicted = nearest_id
        return lesson, label, contradicted

    def observe(self, verdict: Verdict) -> Verdict:
        """Return a verdict to reuse as one to compute for certain: the client asked for a fresh result.

        Its device's session has the answer by reuse already; a second one would count the request twice.
        """
        return replace(verdict, source=Source.NONE, probe=False, probability=1.0, charge=0.0, session=None)

    def abandon(self, verdict: Verdict, key_type: str | None = None) -> None:
        """Say that no result will come for a verdict."""
        self.policies[key_type or self.key_type].abandon(verdict)

    def _abandon(self, pending: Pending) -> None:
        self.policies[pending.key_type].abandon(pending.verdict)

    def keep(self, entry: Entry, label: int) -> None:
        """Insert an entry, whose result has that label."""
        self.namespace.insert(entry, label)
        self._learn_projections()

    def tend(self) -> None:
        """Do what is due beside the requests: let entries and tickets expire, take over what was learned."""
        self.namespace.expire()
        self.tickets.sweep()
        self._learn_projections()

    def _learn_projections(self) -> None:
        for projector in self.projectors.values():
            projector.tend()

    # ── being looked at ────────────────────────────────────────────────────────────────────────────────────

    def gauges(self) -> Mapping[str, float]:
        """Return everything countable that others keep for this function."""
        policy = self._policy.statistics()
        others = [each.statistics() for each in list(self.policies.values())[1:]]
        space = self.namespace.statistics()
        batcher = self.computing.batcher if self.computing else None
        return {
            "entries": space["entries"],
            "bytes": space["bytes"],
            "evictions": space["evictions"],
            "expirations": space["expirations"],
            "insertions": space["insertions"],
            "queued": batcher.queued if batcher else 0,
            "inferences": batcher.inferences if batcher else 0,
            "bar": policy.bar,
            "tokens": policy.tokens,
            "accuracy_target": policy.accuracy_target,
            "estimated_accuracy": _least(each.estimated_accuracy for each in [policy, *others]),
            "false_hits_bound": policy.false_hits_bound,
            "probes": policy.probes + sum(each.probes for each in others),
            "false_hits_seen": policy.false_hits_seen + sum(each.false_hits_seen for each in others),
            "samples_sent": self.evidence.sent,
            "samples_left_out": self.evidence.left_out,
            "samples_taken_in": self.evidence.taken_in,
            "samples_refused": self.evidence.refused,
        }

    def statistics(self) -> dict[str, object]:
        """Return the numbers of /v1/stats; what is not finite is None."""
        metrics = self.metrics
        gauges = {name: value if math.isfinite(value) else None for name, value in self.gauges().items()}
        return {
            "function": self.id,
            "policy": self._policy.statistics().policy,
            "requests": metrics.answers + metrics.bypassed,
            "outcomes": {outcome.value: count for outcome, count in metrics.outcomes.items()},
            "bypassed": metrics.bypassed,
            "problems": dict(metrics.failed),
            "indexes": self.namespace.kinds(),
            "projections": {
                name: projector.projection.dimension if projector.projection else None
                for name, projector in self.projectors.items()
            },
            "hit_rate": metrics.hits / metrics.answers if metrics.answers else 0.0,
            "saved_s": metrics.saved_s,
            "latency_p50_s": metrics.stages["total"].quantile(0.5),
            "latency_p99_s": metrics.stages["total"].quantile(0.99),
            **gauges,
        }

    def describe(self) -> dict[str, object]:
        """Return what GET /v1/functions says of it."""
        spec = self.spec
        policy = self._policy.statistics()
        return {
            "name": self.name,
            "version": self.version,
            "description": spec.description,
            "input": spec.input.model_dump(),
            "model": spec.model.model_dump(exclude_defaults=True) if spec.model else None,
            "result": {"kind": spec.result.kind, "equality": spec.result.equality},
            "keys": [
                {
                    "name": key.label,
                    "extractor": key.extractor,
                    "metric": key.metric,
                    "dimension": self.dimensions[key.label],
                }
                for key in spec.keys
            ],
            "reuse": {"policy": policy.policy, "accuracy_target": policy.accuracy_target, "neighbors": self._k},
            "capacity": {
                "entries": self.namespace.capacity_entries,
                "bytes": self.namespace.capacity_bytes,
                "ttl_s": self.namespace.default_ttl_s,
            },
            "entries": len(self.namespace),
        }


def _least(estimates: Iterable[float]) -> float:
    """Return the smallest number there is; NaN where nothing was estimated yet."""
    return min((each for each in estimates if not math.isnan(each)), default=math.nan)


class Registry:
    """The functions that are served, by name and by `name@version`."""

    def __init__(self) -> None:
        self._by_address: dict[str, Function] = {}

    def __iter__(self) -> Iterator[Function]:
        return iter([each for address, each in sorted(self._by_address.items()) if address == each.id])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def get(self, address: str) -> Function:
        """Return the function addressed as `name` or `name@version`. Raises UnknownFunction, naming what there is."""
        try:
            return self._by_address[address]
        except KeyError:
            raise self._unknown(address) from None

    def _unknown(self, address: str) -> UnknownFunction:
        name = address.partition("@")[0]
        if name in self._by_address:
            return UnknownFunction(f"`{name}` is served as {self._by_address[name].id} alone; ask for that.")
        known = ", ".join(f"`{each.name}`" for each in list(self)[:20]) or "none"
        return UnknownFunction(f"No function `{name[:64]}` here. Functions served: {known}.")

    def put(self, function: Function) -> Function | None:
        """Serve a function under its name; return the one that it replaced."""
        old = self.remove(function.name)
        self._by_address[function.name] = function
        self._by_address[function.id] = function
        return old

    def remove(self, name: str) -> Function | None:
        """Stop serving a function; return it, or None where there was none."""
        old = self._by_address.pop(name, None)
        if old is not None:
            self._by_address.pop(old.id, None)
        return old
