"""Functions: named, versioned computations with everything that is cached of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from time import monotonic

import numpy as np

from likewise.errors import InvalidValue, UnknownFunction
from likewise.events import Answered, Sink
from likewise.function import report
from likewise.function.adoption import Adopter
from likewise.function.coalescing import InFlight
from likewise.function.reader import Reader
from likewise.function.rungs import ExactRepeats, NearNeighbors
from likewise.function.sessions import Sessions
from likewise.function.spec import FunctionSpec
from likewise.function.tickets import Pending, Tickets
from likewise.learning.evidence import Exchange
from likewise.learning.projections import Projector
from likewise.lookup.namespace import Namespace
from likewise.ports import Extractor, Policy, Rung, Runner
from likewise.results.labels import Labels
from likewise.sinks.metrics import FunctionMetrics
from likewise.types import (
    Asked,
    Clock,
    Control,
    Entry,
    Input,
    Key,
    Keys,
    Lesson,
    Neighbors,
    Result,
    Verdict,
)


class Function:
    """One function version: how to read its inputs, what is cached, where reuse is safe, how to compute.

    Owned by one event loop; all methods but `infer` are plain and take microseconds.
    """

    def __init__(
        self,
        name: str,
        version: int,
        spec: FunctionSpec,
        *,
        reader: Reader,
        extractors: Mapping[str, Extractor],
        namespace: Namespace,
        labels: Labels,
        policies: Mapping[str, Policy],
        runner: Runner | None,
        max_body_bytes: int,
        clock: Clock,
        projectors: Mapping[str, Projector] | None = None,
        invalidated_tags: int | None = None,
        max_devices: int = 10_000,
        sinks: Iterable[Sink] = (),
    ) -> None:
        """Put the parts together. extractors and policies: by key type, in the spec's order; the first is primary.

        runner: computes results; None: devices do. projectors: of the key types whose keys may be projected.
        invalidated_tags, max_devices: how many are remembered. sinks: told how each request ended, beside the metrics.
        """
        self.name = name
        self.version = version
        self.id = f"{name}@{version}"
        self.spec = spec
        self.namespace = namespace
        self.labels = labels
        self.policies = policies
        self.projectors = dict(projectors or {})
        self.runner = runner
        self.adopter = Adopter(namespace, labels, self._learn_projections, clock, invalidated_tags)
        self.evidence = Exchange(self.id, policies)
        self.metrics = FunctionMetrics()
        self.in_flight = InFlight()
        self.devices = Sessions(max_devices)
        self.tickets = Tickets(monotonic, self._abandon)
        self.key_type = next(iter(extractors))
        self.dimensions = {name: extractor.dimension for name, extractor in extractors.items()}
        self.max_body_bytes = min(max_body_bytes, spec.input.max_bytes or max_body_bytes)
        self.k = spec.reuse.neighbors
        self.reader = reader
        self.neighbors = NearNeighbors(namespace, policies, self.k)
        self.ladder: tuple[Rung, ...] = (ExactRepeats(namespace), self.neighbors)
        """Ways to an answer that are cheaper than to compute it, in order of cost."""
        self.retired = False
        """Whether it is served no more: what is still computed is answered, and leaves no trace."""
        self._extractors = dict(extractors)
        self._cosine = {key.label: key.metric == "cosine" for key in spec.keys}
        self._policy = policies[self.key_type]
        self._sinks: tuple[Sink, ...] = (self.metrics, *sinks)

    def emit(self, event: Answered) -> None:
        """Tell all sinks how a request ended."""
        for sink in self._sinks:
            sink(event)

    # ── reading ────────────────────────────────────────────────────────────────────────────────────────────

    def keys(self, asked: Asked) -> dict[str, Key]:
        """Return one key for each key type of a raw input; the primary one is at hand already."""
        assert asked.value is not None
        return {
            name: asked.key if name == self.key_type else extractor(asked.value)
            for name, extractor in self._extractors.items()
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
        """Return the result and its cost in seconds. Raises Overloaded, ModelFailed, InvalidValue."""
        if self.runner is None:
            raise InvalidValue(
                f"`{self.id}` has no model here: devices compute it. Use lookup, then insert the result."
            )
        return await self.runner.run(value, probe=probe)

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
        return replace(verdict, reuse=False, probe=False, probability=1.0, charge=0.0, session=None)

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
        return report.gauges(self)

    def statistics(self) -> dict[str, object]:
        """Return the numbers of /v1/stats; what is not finite is None."""
        return report.statistics(self)

    def describe(self) -> dict[str, object]:
        """Return what GET /v1/functions says of it."""
        return report.describe(self)


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
