"""One policy plays one stream: lookup, decide, then hit, or learn and insert. The model answers from the stream."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from statistics import median
from time import perf_counter_ns
from typing import Any

import numpy as np

from likewise.decision import make_policy
from likewise.decision.calibrated import Calibrated
from likewise.decision.ladder import Ladder
from likewise.decision.opinions import is_worth_an_entry
from likewise.errors import InvalidValue
from likewise.evaluation.panel import Variant
from likewise.evaluation.streams import Stream
from likewise.facts import DIGEST_BYTES
from likewise.function.coalescing import worth_waiting
from likewise.function.rungs import ExactRepeats
from likewise.learning.projections import Projector
from likewise.lookup.contradiction import withdraw
from likewise.lookup.namespace import Namespace
from likewise.requests import Asked
from likewise.types import Entry, Key, Neighbors, Result, Session, Source, Verdict

_KEY_TYPE = "key"
_RESULT = Result(b'{"label": 0}')
_TAKES = {"off": (), "exits": ("key",), "variants": ("input",), "all": ("key", "input")}
LADDERS = tuple(_TAKES)
"""Which variants may answer: none, those on the key, those that take the input, or all."""
_POINTS = 100
"""Moments at which the accuracy so far is kept for the plot."""
BLOCKS = 40


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one policy on one stream."""

    workload: str
    policy: str
    target: float
    seed: int
    requests: int
    opportunities: int
    """Requests whose right label was among the cached entries."""
    harvest: float
    """Correct hits from the cache ÷ opportunities; what variants answer counts in `accuracy` and `sources`."""
    accuracy: float
    """1 - false hits ÷ requests."""
    first_harvest: float
    """Harvest over the first requests alone, as many as `replay` was told."""
    hit_accuracy: float
    """1 - false hits ÷ hits; 1 without hits."""
    hits: int
    """Requests that the full model was not run for, answers of variants among them."""
    exact: int
    """Hits for the very input that was computed before."""
    probes: int
    entries: int
    decide_us: float
    """Median microseconds of a decision."""
    hit_us: float
    """Median microseconds that the policy takes for a hit."""
    computed_us: float
    """Median microseconds that the policy takes for a computed request: to decide and to learn."""
    dimension: int
    """Numbers of a key as it was searched at the end: fewer than it has where a projection was on."""
    accuracy_so_far: tuple[float, ...]
    """At 100 moments, evenly spaced."""
    blocks: tuple[tuple[int, int], ...] = ()
    """Correct hits and opportunities up to the end of each of 40 equal parts of the stream."""
    ladder: str = "off"
    """Which variants could answer: one of `LADDERS`."""
    compute: float = math.nan
    """Mean full inferences per request: full runs, probes among them, and what keys and variants took."""
    first_compute: float = math.nan
    """The same over the first requests alone."""
    sources: Mapping[str, float] = field(default_factory=dict)
    """Share of the answers that came from the cache, from each variant and from the full model."""

    def as_json(self) -> dict[str, Any]:
        """Return the run without its course, for a file."""
        return {name: getattr(self, name) for name in self.__slots__ if name not in ("accuracy_so_far", "blocks")}


@dataclass(frozen=True, slots=True, order=True)
class _UnderWay:
    """An inference, or, without a verdict, a request that waits for one."""

    done: float
    order: int
    at: int
    verdict: Verdict | None = field(default=None, compare=False)
    took_ns: int = field(default=0, compare=False)


def parse_policy(text: str) -> tuple[str, dict[str, Any]]:
    """Return name and options of a policy written `name` or `name:option=value:option=value`. Raises InvalidValue."""
    name, *pairs = text.split(":")
    options: dict[str, Any] = {}
    for pair in pairs:
        option, equals, value = pair.partition("=")
        if not equals:
            raise InvalidValue(f"`{pair}` in policy `{text}` is no option; write it as option=value.")
        try:
            options[option] = float(value)
        except ValueError:
            options[option] = value
    return name, options


def replay(
    stream: Stream,
    policy: str,
    target: float,
    *,
    capacity: int = 20_000,
    index: str = "exact",
    eviction: str = "importance",
    coin: random.Random | None = None,
    projection: bool | None = None,
    anonymous: bool = False,
    first: int = 500,
    ladder: str = "off",
) -> Run:
    """Play a stream from an empty cache.

    policy: as `parse_policy` takes it. capacity: entries. coin: the policy's; drawn from all arguments where None.
    projection: whether to learn one from what is computed, as the server does; None: as the function's spec has it,
    which may also name one to begin with.
    It is learned and taken over between two requests, so that the same arguments give the same run.
    anonymous: whether the policy is not told which device asks.
    first: requests that the first impression is taken from.
    ladder: which variants may answer: one of `LADDERS`.
    Raises InvalidValue.
    """
    name, options = parse_policy(policy)
    coin = coin or random.Random(f"{stream.workload} {policy} {target} {stream.seed}")
    chooser = make_policy(name, target, coin.random, **options)
    variants = [each for each in stream.variants if each.takes in _TAKES[ladder]]
    climbing = None
    if variants and isinstance(chooser, Calibrated) and name == "calibrated+ledger":
        climbing = Ladder(target, coin.random, chooser, [each.step for each in variants])
    now = 0.0
    space = Namespace(
        stream.workload,
        {_KEY_TYPE: stream.keys.shape[1]},
        capacity,
        1 << 40,
        float("inf"),
        lambda: now,
        eviction,
        index,
    )
    projector = Projector(space, _KEY_TYPE, None) if (stream.projected if projection is None else projection) else None
    if stream.prior is not None and projection is None:
        space.project(_KEY_TYPE, stream.prior)
        space.settle()
    holders: dict[int, list[int]] = {}  # by label: ids of entries, dead ones dropped when they come up
    hits = exact = false_hits = correct = opportunities = probes = 0
    blocks: list[tuple[int, int]] = []
    decide_ns, hit_ns, computed_ns = [], [], []
    course = []
    first_harvest = first_compute = compute = 0.0
    sources = dict.fromkeys(["cache", *(each.step.name for each in variants), "model"], 0)
    sessions: defaultdict[int, Session] = defaultdict(Session)
    repeats = ExactRepeats(space)
    under_way: list[_UnderWay] = []
    nearest_ids: dict[int, int] = {}
    moments = {round((point + 1) * len(stream.labels) / _POINTS) for point in range(_POINTS)}

    def digest_of(at: int) -> bytes:
        """Return what names an input; where the stream does not say, no two are the same."""
        return stream.digests[at] if stream.digests else (at + 1).to_bytes(DIGEST_BYTES, "big")

    def keep(at: int, label: int, digest: bytes = b"", origin: str = "") -> None:
        """Keep what was computed, by the model or by the variant `origin`."""
        signature = stream.signatures[at] if stream.signatures else ""
        space.insert(
            Entry(at, {_KEY_TYPE: stream.keys[at]}, _RESULT, 0.01, now, float("inf"), digest=digest,
                  signature=signature, origin=origin), label
        )  # fmt: skip
        holders.setdefault(label, []).append(at)

    def finish(at: int, verdict: Verdict, took: int) -> None:
        """Learn from a result that was computed, and keep it."""
        truth = stream.labels[at]
        digest = digest_of(at)
        nearest_id = nearest_ids.pop(at)
        started = perf_counter_ns()
        lesson = (chooser if verdict.climb is None or climbing is None else climbing).learn(verdict, truth)
        computed_ns.append(took + perf_counter_ns() - started)
        withdraw(space, lesson.evict_slot, nearest_id)
        if lesson.insert:
            keep(at, truth, digest)
            if projector is not None:
                projector.tend()
                space.settle()
        else:  # its nearest neighbor has an equal result
            repeats.note(digest, nearest_id)

    def leader_of(key: Key, neighbors: Neighbors) -> float:
        """Return when an inference ends that is worth waiting for; NaN where none is."""
        flying = [each for each in under_way if each.verdict is not None]
        if not flying or chooser.confident(neighbors):
            return math.nan
        apart = np.linalg.norm(stream.keys[[each.at for each in flying]] - key, axis=1)
        best = int(apart.argmin())
        return flying[best].done if worth_waiting(neighbors, float(apart[best]), chooser.confident) else math.nan

    def ask(at: int, waited: bool) -> None:
        """Answer a request from the cache, have it computed, or let it wait for an inference that is under way."""
        nonlocal exact, hits, probes, correct, false_hits, compute
        key, truth = stream.keys[at], stream.labels[at]
        session = None if anonymous or stream.anonymous else sessions[stream.devices[at]]
        asked = Asked(_KEY_TYPE, key)
        asked.digest = digest_of(at)
        repeat = repeats.offer(asked)
        if repeat is not None:  # the very same input: no policy is asked
            exact += 1
            verdict, took = repeat, 0
            if session is not None:
                session.last = repeat.label
        else:
            signature = stream.signatures[at] if stream.signatures else ""
            neighbors = space.lookup(_KEY_TYPE, key, stream.neighbors, signature)
            if under_way and not waited and not math.isnan(done := leader_of(key, neighbors)):
                heappush(under_way, _UnderWay(done, 1, at))
                return
            started = perf_counter_ns()
            verdict = chooser.decide(neighbors, session)
            took = perf_counter_ns() - started
            decide_ns.append(took)
            if climbing is not None and not verdict.reuse and not verdict.probe:
                verdict, cost = _climbed(climbing, variants, verdict, at)
                compute += cost
        if verdict.reuse:
            hits += 1
            if verdict.source is Source.VARIANT:
                variant = variants[verdict.climb.taken].step.name
                sources[variant] += 1
                if is_worth_an_entry(verdict):
                    keep(at, verdict.label, origin=variant)
            else:
                sources["cache"] += 1
                space.touch(verdict.slot)
                correct += verdict.label == truth
                if repeat is None:
                    hit_ns.append(took)
            false_hits += verdict.label != truth
            return
        probes += verdict.probe
        compute += 1.0
        sources["model"] += 1
        slots = verdict.neighbors.slots
        nearest_ids[at] = space.entry_id(slots[0]) if slots else -1
        if stream.times:
            heappush(under_way, _UnderWay(now + stream.costs_s[at], 0, at, verdict, took))
        else:
            finish(at, verdict, took)

    def go_on(until: float) -> None:
        """Let everything happen that happens before a moment."""
        nonlocal now
        while under_way and under_way[0].done <= until:
            event = heappop(under_way)
            now = event.done
            if event.verdict is None:
                ask(event.at, True)
            else:
                finish(event.at, event.verdict, event.took_ns)

    for at, truth in enumerate(stream.labels):
        arrives = stream.times[at] if stream.times else float(at)
        go_on(arrives)
        now = arrives
        compute += stream.key_cost
        opportunities += _cached(space, holders, truth)
        ask(at, False)
        if at + 1 == len(stream.labels):
            go_on(math.inf)
        if at < first:
            first_harvest = correct / max(1, opportunities)
            first_compute = compute / (at + 1)
        if at + 1 in moments:
            course.append(1.0 - false_hits / (at + 1))
        if (at + 1) * BLOCKS // len(stream.labels) > len(blocks):
            blocks.append((correct, opportunities))
    requests = len(stream.labels)
    return Run(
        workload=stream.workload,
        policy=policy,
        target=target,
        seed=stream.seed,
        requests=requests,
        opportunities=opportunities,
        harvest=correct / max(1, opportunities),
        accuracy=1.0 - false_hits / max(1, requests),
        first_harvest=first_harvest,
        hit_accuracy=1.0 - false_hits / max(1, hits),
        hits=hits,
        exact=exact,
        probes=probes,
        entries=len(space),
        decide_us=_median_us(decide_ns),
        hit_us=_median_us(hit_ns),
        computed_us=_median_us(computed_ns),
        dimension=searched.dimension if (searched := space.projections.get(_KEY_TYPE)) else stream.keys.shape[1],
        accuracy_so_far=tuple(course),
        blocks=tuple(blocks),
        ladder=ladder,
        compute=compute / max(1, requests),
        first_compute=first_compute,
        sources={source: count / max(1, requests) for source, count in sources.items()},
    )


def _climbed(ladder: Ladder, variants: Sequence[Variant], refused: Verdict, at: int) -> tuple[Verdict, float]:
    """Return the verdict of the variants on request `at`, and the full inferences that their opinions took."""
    climb = ladder.enter(refused)
    while (rung := ladder.next(climb)) >= 0:
        offered = ladder.offer(climb, variants[rung].opinions[at])
        if offered is not None:
            return offered, climb.cost
    return ladder.finish(climb), climb.cost


def _cached(space: Namespace, holders: Mapping[int, list[int]], label: int) -> bool:
    ids = holders.get(label)
    while ids and space.slot_of(ids[-1]) < 0:
        ids.pop()
    return bool(ids)


def _median_us(nanoseconds: list[int]) -> float:
    return round(median(nanoseconds) / 1000.0, 3) if nanoseconds else 0.0
