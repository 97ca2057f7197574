"""A run's outcome as JSON, as a table, and as ratios."""

from __future__ import annotations

from typing import Any

from likewise_fleet.calibration import calibration
from likewise_fleet.plan import Plan
from likewise_fleet.records import From
from likewise_fleet.run import Outcome

TITLES = {
    "device": "all on the device",
    "edge_no_reuse": "all on the edge",
    "device_cache": "device cache alone",
    "edge_cache": "edge cache alone",
    "both": "both tiers",
}


def document(plan: Plan, outcome: Outcome, demand: dict[str, Any]) -> dict[str, Any]:
    """Return everything about a run, as it is written to a file. demand: the trace's, as it was asked for."""
    return {
        "phones": outcome.trace.phones,
        "requests": len(outcome.trace.requests),
        "network": plan.network.name,
        "workloads": list(plan.workloads),
        "target": plan.target,
        "seed": plan.seed,
        "speed": plan.speed,
        "phone": {"name": plan.phone.name, "factor": plan.phone.factor, "watts": plan.phone.watts},
        "assumptions": plan.assumptions(),
        "ways": {way: found.document() for way, found in outcome.figures.items()},
        "ratios": ratios(outcome),
        "devices": {way: [each.document() for each in found] for way, found in outcome.by_phone.items()},
        "kills": {way: _after_kill(outcome, way) for way in outcome.killed_s},
        "calibration": calibration(plan, outcome, demand),
    }


def ratios(outcome: Outcome) -> dict[str, float]:
    """Return what the best way that was played saves against those without reuse: `both`, or else `edge_cache`."""
    found = outcome.figures
    best = next((found[way] for way in ("both", "edge_cache", "device_cache") if way in found), None)
    if best is None:
        return {}
    made = {"accuracy": best.accuracy}
    if "edge_no_reuse" in found:
        made["speedup"] = _ratio(found["edge_no_reuse"].mean_ms, best.mean_ms)
    if "device" in found:
        made["device_speedup"] = _ratio(found["device"].mean_ms, best.mean_ms)
        made["energy"] = _ratio(found["device"].joules, best.joules)
    return made


def failures(outcome: Outcome) -> list[str]:
    """Return what went wrong with requests, one line for each way."""
    lines = []
    for way, answers in outcome.answers.items():
        errors = [each.error for each in answers if each.source is From.NOWHERE]
        if errors:
            lines.append(f"{TITLES[way]}: {len(errors)} requests failed; the first: {errors[0]}")
    return lines


def rows(outcome: Outcome) -> list[list[str]]:
    """Return the table as text, its head first."""
    head = ["", "accuracy", "mean ms", "p50", "p99", "J/phone", "kB each", "computed", "from device", "from edge"]
    body = []
    for way, f in sorted(outcome.figures.items(), key=lambda item: list(TITLES).index(item[0])):
        body.append(
            [
                TITLES[way], f"{f.accuracy:.4f}", f"{f.mean_ms:.1f}", f"{f.p50_ms:.1f}", f"{f.p99_ms:.1f}",
                f"{f.joules / outcome.trace.phones:.2f}",
                f"{f.bytes / f.requests / 1000:.2f}", f"{f.inferences:,}", f"{f.device_hits:,}", f"{f.edge_hits:,}",
            ]
        )  # fmt: skip
    return [head, *body]


def summary(plan: Plan, outcome: Outcome) -> str:
    """Return one sentence about the run."""
    made = ratios(outcome)
    said = [f"{outcome.trace.phones} phones on {plan.network.name}, {len(outcome.trace.requests):,} requests of "
            f"{' and '.join(plan.workloads)}, accuracy target {plan.target:.0%}"]  # fmt: skip
    if "speedup" in made:
        said.append(f"{made['speedup']:.2f} times faster than all on the edge")
    if "device_speedup" in made:
        said.append(f"{made['device_speedup']:.2f} times faster than all on the device")
        said.append(f"{made['energy']:.2f} times less energy than there")
    return "; ".join(said)


def _after_kill(outcome: Outcome, way: str) -> dict[str, float]:
    """Return when the server was gone, and the share of answers that either tier reused, before and after."""
    killed, back = outcome.killed_s[way]

    def share(begin: float, end: float) -> float:
        there = [each for each in outcome.answers[way] if begin <= each.at_s < end]
        return sum(each.source in (From.DEVICE_CACHE, From.EDGE_CACHE) for each in there) / max(1, len(there))

    lost = sum(each.source is From.NOWHERE for each in outcome.answers[way])
    return {
        "killed_s": killed, "back_s": back, "lost": lost, "answers": len(outcome.answers[way]),
        "hits_before": share(0.0, killed), "hits_after": share(back, float("inf")),
    }  # fmt: skip


def _ratio(one: float, other: float) -> float:
    return one / other if other else 0.0
