"""One policy plays one stream: lookup, decide, then hit, or learn and insert. The model answers from the stream."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter_ns
from typing import Any

from likewise.decision import make_policy
from likewise.decision.calibrated import Calibrated
from likewise.decision.ladder import Ladder
from likewise.decision.votes import adds_something
from likewise.errors import InvalidValue
from likewise.evaluation.streams import Stream
from likewise.learning.projections import Projector
from likewise.lookup.namespace import Namespace
from likewise.types import Entry, Result, Session, Source

_KEY_TYPE = "key"
_RESULT = Result(b'{"label": 0}')
_TAKES = {"off": (), "exits": ("key",), "variants": ("input",), "all": ("key", "input")}
LADDERS = tuple(_TAKES)
"""Which variants may answer: none, those on the key, those that take the input, or all."""
_POINTS = 100
"""Moments at which the accuracy so far is kept for the plot."""


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one policy on one stream."""

    workload: str
    policy: str
    target: float
    ladder: str
    """Which variants could answer: one of `LADDERS`."""
    seed: int
    requests: int
    opportunities: int
    """Requests whose right label was among the cached entries."""
    harvest: float
    """Correct hits ÷ opportunities."""
    accuracy: float
    """1 - false hits ÷ requests."""
    first_harvest: float
    """Harvest over the first requests alone, as many as `replay` was told."""
    hit_accuracy: float
    """1 - false hits ÷ hits; 1 without hits."""
    hits: int
    probes: int
    entries: int
    decide_us: float
    """Median microseconds of a decision."""
    hit_us: float
    """Median microseconds that the policy takes for a hit."""
    computed_us: float
    """Median microseconds that the policy takes for a computed request: to decide and to learn."""
    compute: float
    """Mean full inferences per request: full runs, probes among them, and what keys and variants took."""
    first_compute: float
    """The same over the first requests alone."""
    sources: dict[str, float]
    """Share of the answers that came from the neighbors, from each variant and from the full model."""
    dimension: int
    """Numbers of a key as it was searched at the end: fewer than it has where a projection was on."""
    accuracy_so_far: tuple[float, ...]
    """At 100 moments, evenly spaced."""

    def as_json(self) -> dict[str, Any]:
        """Return the run without its course, for a file."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "accuracy_so_far"}


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
    projection: whether to learn one from what is computed, as the server does; None: as the function's spec has it.
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
    holders: dict[int, list[int]] = {}  # by label: ids of entries, dead ones dropped when they come up
    hits = false_hits = correct = opportunities = probes = 0
    decide_ns, hit_ns, computed_ns = [], [], []
    course = []
    first_harvest = first_compute = 0.0
    compute = 0.0
    sources = dict.fromkeys(["neighbors", *(each.step.name for each in variants), "model"], 0)
    sessions: defaultdict[int, Session] = defaultdict(Session)
    moments = {round((point + 1) * len(stream.labels) / _POINTS) for point in range(_POINTS)}
    for at, (key, truth, device) in enumerate(zip(stream.keys, stream.labels, stream.devices, strict=True)):
        now = float(at)
        opportunities += _cached(space, holders, truth)
        neighbors = space.lookup(_KEY_TYPE, key, stream.neighbors)
        session = None if anonymous else sessions[device]
        started = perf_counter_ns()
        verdict = chooser.decide(neighbors, session)
        took = perf_counter_ns() - started
        decide_ns.append(took)
        compute += stream.key_cost
        if climbing is not None and not verdict.reuse and not verdict.probe:
            climb = climbing.enter(verdict)
            while (rung := climbing.next(climb)) >= 0:
                offered = climbing.offer(climb, variants[rung].opinions[at])
                if offered is not None:
                    verdict = offered
                    break
            else:
                verdict = climbing.finish(climb)
            compute += climb.cost
        if verdict.source is Source.VARIANT:
            hits += 1
            sources[variants[verdict.climb.taken].step.name] += 1
            correct += verdict.label == truth
            false_hits += verdict.label != truth
            if adds_something(neighbors, verdict.label):
                space.insert(Entry(at, {_KEY_TYPE: key}, _RESULT, 0.01, now, float("inf")), verdict.label)
                holders.setdefault(verdict.label, []).append(at)
        elif verdict.reuse:
            hit_ns.append(took)
            hits += 1
            sources["neighbors"] += 1
            space.touch(verdict.slot)
            if verdict.label == truth:
                correct += 1
            else:
                false_hits += 1
        else:
            probes += verdict.probe
            compute += 1.0
            sources["model"] += 1
            started = perf_counter_ns()
            learning = climbing if climbing is not None and verdict.climb is not None else chooser
            lesson = learning.learn(verdict, truth)
            computed_ns.append(took + perf_counter_ns() - started)
            if lesson.evict_slot >= 0:
                space.remove(lesson.evict_slot)
            if lesson.insert:
                entry = Entry(at, {_KEY_TYPE: key}, _RESULT, 0.01, now, float("inf"))
                space.insert(entry, truth)
                holders.setdefault(truth, []).append(at)
                if projector is not None:
                    projector.tend()
                    space.settle()
        if at < first:
            first_compute = compute / (at + 1)
            first_harvest = correct / max(1, opportunities)
        if at + 1 in moments:
            course.append(1.0 - false_hits / (at + 1))
    requests = len(stream.labels)
    return Run(
        workload=stream.workload,
        policy=policy,
        target=target,
        ladder=ladder,
        seed=stream.seed,
        requests=requests,
        opportunities=opportunities,
        harvest=correct / max(1, opportunities),
        accuracy=1.0 - false_hits / max(1, requests),
        first_harvest=first_harvest,
        hit_accuracy=1.0 - false_hits / max(1, hits),
        hits=hits,
        probes=probes,
        entries=len(space),
        decide_us=_median_us(decide_ns),
        hit_us=_median_us(hit_ns),
        computed_us=_median_us(computed_ns),
        compute=compute / max(1, requests),
        first_compute=first_compute,
        sources={source: count / max(1, requests) for source, count in sources.items()},
        dimension=projector.projection.dimension if projector and projector.projection else stream.keys.shape[1],
        accuracy_so_far=tuple(course),
    )


def _cached(space: Namespace, holders: Mapping[int, list[int]], label: int) -> bool:
    ids = holders.get(label)
    while ids and space.slot_of(ids[-1]) < 0:
        ids.pop()
    return bool(ids)


def _median_us(nanoseconds: list[int]) -> float:
    return round(median(nanoseconds) / 1000.0, 3) if nanoseconds else 0.0
