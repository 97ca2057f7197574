"""One trace, played in several ways in one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from pathlib import Path

from likewise_client import Client
from likewise_demo.process import ServerProcess
from likewise_fleet.local import LocalFunction, device_cache, on_device
from likewise_fleet.phones import Fleet, Job
from likewise_fleet.plan import Plan
from likewise_fleet.records import Answered, Costs
from likewise_fleet.scores import Figures, figures
from likewise_fleet.trace import Trace

Progress = Callable[[str, int], None]
"""(way, requests answered so far)."""
_REUSING = ("edge_cache", "both")
_POLL_S = 0.1


@dataclass(slots=True)
class Outcome:
    """What came of a run."""

    trace: Trace
    truth: list[str]
    """What the model says, by position."""
    costs: tuple[Costs, ...]
    """By workload."""
    answers: dict[str, list[Answered]] = field(default_factory=dict)
    """By way, in no order."""
    figures: dict[str, Figures] = field(default_factory=dict)
    by_phone: dict[str, list[Figures]] = field(default_factory=dict)
    killed_s: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By way, where the server was killed: when, and when it served again, in seconds since the beginning."""
    server_cpu_s: dict[str, float] = field(default_factory=dict)
    """By way: CPU seconds of the server; 0 where the system does not tell, or the server was killed."""


def run(plan: Plan, trace: Trace, path: Path, progress: Progress = lambda way, done: None) -> Outcome:
    """Play a trace in all ways of a plan. path: where the trace is kept.

    Raises LikewiseError where a function or the server is not as it should be.
    """
    local = [LocalFunction(plan.functions / function) for function in trace.functions]
    costs = tuple(
        function.costs([each for each in trace.requests if each.workload == at] or trace.requests[:1])
        for at, function in enumerate(local)
    )
    outcome = Outcome(trace, [""] * len(trace.requests), costs)
    with Fleet(min(plan.processes, trace.phones)) as fleet:
        for way in [each for each in ("edge_no_reuse", *_REUSING) if each in plan.ways]:
            outcome.answers[way] = _on_edge(plan, way, outcome, path, fleet, progress)
    _settle_truth(outcome, local, progress)
    if "device" in plan.ways:
        outcome.answers["device"] = on_device(trace, outcome.truth, costs, plan.phone)
    if "device_cache" in plan.ways:
        outcome.answers["device_cache"] = list(
            _counted(
                "device_cache",
                device_cache(trace, outcome.truth, local, costs, plan.phone, plan.target, plan.tier_entries, plan.seed),
                progress,
            )
        )
    for way in plan.ways:
        outcome.figures[way], outcome.by_phone[way] = figures(
            trace, outcome.answers[way], outcome.truth, plan.network.radio, plan.phone
        )
    return outcome


def _on_edge(plan: Plan, way: str, outcome: Outcome, path: Path, fleet: Fleet, progress: Progress) -> list[Answered]:
    """Play one way against a server of its own, from an empty cache."""
    trace = outcome.trace
    kills = plan.kill_server and way in _REUSING
    options = ("--journal", "sqlite") if kills else ()
    with ServerProcess(plan.functions, plan.target, *options) as server:
        _warm_up(server.url, trace)

        def job(phones: tuple[int, ...], begin: float) -> Job:
            return Job(
                path, phones, server.url, plan.network, plan.phone, outcome.costs, way != "edge_no_reuse",
                plan.tier_entries if way == "both" else 0, f"{plan.seed} {way}", plan.speed, begin,
            )  # fmt: skip

        began, before_s = time.monotonic(), server.cpu_s()
        jobs = fleet.play(trace.phones, job)
        while wait(jobs, _POLL_S).not_done:
            progress(way, fleet.done)
            if kills and way not in outcome.killed_s and fleet.done > len(trace.requests) / 3:
                server.kill()
                killed = time.monotonic() - began
                server.restart()
                outcome.killed_s[way] = killed, time.monotonic() - began
            _raise_failed(jobs)
        answers = [answered for each in jobs for answered in each.result()]
        outcome.server_cpu_s[way] = 0.0 if kills else server.cpu_s() - before_s
    progress(way, len(answers))
    return answers


def _warm_up(url: str, trace: Trace) -> None:
    """Have the server compute a few requests that leave no trace, so that nothing is first."""
    with Client(url) as client:
        for request in trace.requests[:8]:
            client.infer(
                trace.functions[request.workload], request.body, media_type=request.media_type, cache="no-store"
            )


def _settle_truth(outcome: Outcome, local: list[LocalFunction], progress: Progress) -> None:
    """Take what the model says from the way that always asks it; compute what it does not have."""
    for each in outcome.answers.get("edge_no_reuse", ()):
        outcome.truth[each.position] = each.label
    for at, label in enumerate(outcome.truth):
        if not label:
            request = outcome.trace.requests[at]
            outcome.truth[at] = local[request.workload].label(request)
            progress("model", at + 1)


def _counted(way: str, answers: Iterable[Answered], progress: Progress) -> Iterable[Answered]:
    for count, answered in enumerate(answers, 1):
        yield answered
        if count % 100 == 0:
            progress(way, count)


def _raise_failed(jobs: list[Future[list[Answered]]]) -> None:
    for each in jobs:
        if each.done():
            each.result()
