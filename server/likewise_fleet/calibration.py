"""What a run tells a simulation: how often history answers, and what everything takes. Plain data, kept in its JSON."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from likewise_fleet.plan import Plan
from likewise_fleet.records import CHECKED, Answered, bucket
from likewise_fleet.redis_costs import measure_redis
from likewise_fleet.run import Outcome

HIT_S = 0.0002
"""Least CPU seconds of the server for a hit: docs/benchmarks.md has .11 to .21 ms."""
ENTRY_BYTES = 1000
"""Memory of an entry: 287 bytes beside key and result (docs/benchmarks.md), 64 to 104 numbers, a result of 50 bytes."""
_QUANTILES = np.linspace(0.005, 0.995, 100)


def calibration(plan: Plan, outcome: Outcome, demand: dict[str, Any]) -> dict[str, Any]:
    """Return what a simulation needs. demand: as the trace was asked for."""
    trace = outcome.trace
    own: Counter[tuple[int, int, int]] = Counter()
    shared: Counter[tuple[int, int]] = Counter()
    history: list[tuple[int, int]] = [(0, 0)] * len(trace.requests)
    for at in _in_order(outcome):
        request = trace.requests[at]
        mine, all_ = (request.phone, request.workload, request.thing), (request.workload, request.thing)
        history[at] = bucket(own[mine]), bucket(shared[all_])
        own[mine] += 1
        shared[all_] += 1
    return {
        "demand": demand,
        "costs": {name: cost.document() for name, cost in zip(plan.workloads, outcome.costs, strict=True)},
        "node": _node(outcome),
        "redis": measure_redis(),
        "ways": {way: _way(outcome, history, answers) for way, answers in outcome.answers.items()},
    }


def _node(outcome: Outcome) -> dict[str, float]:
    """Return CPU seconds of the server for a request that it computes and for one that it reuses, and what it keeps."""
    model_s = float(np.mean([cost.model_s for cost in outcome.costs]))
    miss_s, hit_s = 1.15 * model_s, HIT_S
    if spent := outcome.server_cpu_s.get("edge_no_reuse"):
        miss_s = spent / len(outcome.answers["edge_no_reuse"])
    stored = 0.5
    if spent := outcome.server_cpu_s.get("edge_cache"):
        found = outcome.figures["edge_cache"]
        hit_s = max(HIT_S, (spent - found.inferences * miss_s) / max(1, found.edge_hits))
        stored = sum(each.stored for each in outcome.answers["edge_cache"]) / max(1, found.inferences)
    return {"miss_s": miss_s, "hit_s": hit_s, "stored_share": stored, "entry_bytes": ENTRY_BYTES}


def _way(outcome: Outcome, history: Sequence[tuple[int, int]], answers: Sequence[Answered]) -> dict[str, Any]:
    table: defaultdict[str, Counter[str]] = defaultdict(Counter)
    wrong: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    for each in answers:
        mine, all_ = history[each.position]
        name = _name(each)
        table[f"{mine},{all_}"][name] += 1
        sources[name] += 1
        wrong[name] += each.label != outcome.truth[each.position]
    made: dict[str, Any] = {
        "table": {cell: dict(counts) for cell, counts in sorted(table.items())},
        "wrong": {name: wrong[name] / count for name, count in sources.items()},
        "by_source": {},
    }
    for name in sources:
        there = [each for each in answers if _name(each) == name]
        checks = [each.check for each in there if each.check is not None]
        made["by_source"][name] = {
            "rest_s": _quantiles([max(0.0, each.latency_s - each.link_s) for each in there]),
            "busy_s": float(np.mean([each.busy_s for each in there])),
            "up_bytes": float(np.mean([each.up_bytes for each in checks or there])),
            "down_bytes": float(np.mean([each.down_bytes for each in checks or there])),
        }
    return made


def _name(answered: Answered) -> str:
    return answered.source.value if answered.check is None else CHECKED


def _in_order(outcome: Outcome) -> list[int]:
    """Return positions in the order in which requests were answered, or nearly so where nothing says."""
    for answers in outcome.answers.values():
        if any(each.at_s for each in answers):
            return [each.position for each in sorted(answers, key=lambda answered: answered.at_s)]
    times: list[tuple[float, int]] = []
    for positions in outcome.trace.by_phone():
        now = 0.0
        for at in positions:
            now += outcome.trace.requests[at].think_s + 0.05
            times.append((now, at))
    return [at for _, at in sorted(times)]


def _quantiles(values: Sequence[float]) -> list[float]:
    return [round(float(each), 7) for each in np.quantile(values, _QUANTILES)]
