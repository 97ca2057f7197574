"""What is counted while requests are answered: plain numbers on the event loop, rendered only when asked."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from likewise.events import Answered
from likewise.requests import Outcome

BUCKETS_S = (
    10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3,
    1.0, 2.5, 10.0,
)  # fmt: skip
"""Upper bounds of the latency buckets in seconds: from a key's lookup to a slow model."""

STAGES = ("read", "lookup", "decide", "infer", "total")
"""Stages of a request: decode and extract, nearest neighbors, verdict, inference with its queue, all of it."""


class Histogram:
    """Latencies in fixed buckets: how many fell into each, and their sum."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0

    def cumulative(self) -> list[tuple[str, float]]:
        """Return (upper bound, observations up to it), as Prometheus wants them."""
        total = 0
        found = []
        for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), self.counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found

    def quantile(self, q: float) -> float:
        """Return the bucket bound, in seconds, under which a share q of the observations lies; 0.0 without any."""
        total = sum(self.counts)
        seen = 0
        for bound, count in zip((*BUCKETS_S, float("inf")), self.counts, strict=True):
            seen += count
            if total and seen >= q * total:
                return bound
        return 0.0


class FunctionMetrics:
    """The counters of one function version: the sink of all its events."""

    def __init__(self) -> None:
        self.outcomes: dict[Outcome, int] = dict.fromkeys(Outcome, 0)
        self.failed: dict[str, int] = {}
        """Problems by slug."""
        self.saved_s = 0.0
        """Seconds of inference that hits made unnecessary."""
        self.stages = {stage: Histogram() for stage in STAGES}
        self._histograms = tuple(self.stages.values())

    def __call__(self, event: Answered) -> None:
        """Count how a request ended."""
        _, outcome, reason, total_s, read_s, lookup_s, decide_s, infer_s, saved_s, _, _, _ = event
        if outcome is None:
            self.failed[reason] = self.failed.get(reason, 0) + 1
            return
        self.outcomes[outcome] += 1
        self.saved_s += saved_s
        read, lookup, decide, infer, total = self._histograms
        # one by one: a loop over them costs as much as what it does
        if lookup_s >= 0.0:
            lookup.counts[bisect_left(BUCKETS_S, lookup_s)] += 1
            lookup.sum_s += lookup_s
        if decide_s >= 0.0:
            decide.counts[bisect_left(BUCKETS_S, decide_s)] += 1
            decide.sum_s += decide_s
        if total_s >= 0.0:
            total.counts[bisect_left(BUCKETS_S, total_s)] += 1
            total.sum_s += total_s
        if read_s >= 0.0:
            read.counts[bisect_left(BUCKETS_S, read_s)] += 1
            read.sum_s += read_s
        if infer_s >= 0.0:
            infer.counts[bisect_left(BUCKETS_S, infer_s)] += 1
            infer.sum_s += infer_s

    @property
    def requests(self) -> int:
        """Requests answered."""
        return sum(self.outcomes.values())

    @property
    def answers(self) -> int:
        """Answers given with the cache in play."""
        return self.requests - self.outcomes[Outcome.BYPASS]

    @property
    def hits(self) -> int:
        """Answers that were not computed for their request."""
        return self.outcomes[Outcome.HIT] + self.outcomes[Outcome.EXACT] + self.outcomes[Outcome.COALESCED]


class Measured(Protocol):
    """A function, as the exposition sees it."""

    @property
    def id(self) -> str:
        """`name@version`."""

    @property
    def metrics(self) -> FunctionMetrics:
        """Its counters."""

    def gauges(self) -> Mapping[str, float]:
        """Return what can go up and down, and counters kept elsewhere, by name."""


_GAUGES: Mapping[str, str] = {
    "entries": "Entries in the namespace",
    "bytes": "Bytes of keys and results in the namespace",
    "queued": "Inputs that wait for inference",
    "tickets": "Lookups whose device may still bring a result",
    "leases": "Devices that may answer from their own tier",
    "lease_tokens": "Error budget set aside for their probes",
    "bar": "The threshold that a would-be hit has to pass, in the policy's own unit",
    "tokens": "Error budget left in the ledger",
    "accuracy_target": "Share of answers that have to be what the model would have answered",
    "estimated_accuracy": "Best estimate of the share of answers that are what the model would have answered",
    "hit_precision": "Best estimate of the share of reused answers that were right",
    "false_hits_bound": "Certified upper bound on false hits so far, at 95 % confidence, at all times",
}
_COUNTERS: Mapping[str, str] = {
    "evictions": "Entries evicted to make room",
    "expirations": "Entries that expired",
    "insertions": "Entries inserted",
    "probes": "Would-be hits computed to check",
    "false_hits_seen": "Probes whose result contradicted the would-be hit",
    "leases_granted": "Leases given to devices",
    "leases_contradicted": "Leases that ended with a probe which contradicted the device",
    "leases_silent": "Leases that ended without a word of the device",
    "lease_probes": "Would-be hits of devices computed to check",
    "device_hits": "Would-be hits that devices say they answered by themselves",
    "device_repeats": "Exact repeats that devices say they answered",
    "inferences": "Inputs computed by the model",
    "samples_sent": "Computed requests that other nodes were told about, to learn from",
    "samples_left_out": "Computed requests that they were not told about, because there were too many",
    "samples_taken_in": "Computed requests of other nodes that this one learned from",
    "samples_refused": "Computed requests of other nodes that this one could not learn from",
}


class Exposition(Collector):
    """Renders the metrics of all functions in the Prometheus text format."""

    def __init__(self, functions: Iterable[Measured], journal: Mapping[str, float] | None = None) -> None:
        self._functions = functions
        self._journal = journal or {}

    def render(self) -> bytes:
        """Return the exposition."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        functions: Sequence[Measured] = list(self._functions)
        requests = CounterMetricFamily("likewise_requests", "Answers by outcome", labels=("function", "outcome"))
        failed = CounterMetricFamily("likewise_problems", "Requests refused or failed", labels=("function", "slug"))
        saved = CounterMetricFamily("likewise_saved_seconds", "Seconds of inference saved", labels=("function",))
        stages = HistogramMetricFamily("likewise_stage_seconds", "Latency by stage", labels=("function", "stage"))
        for each in functions:
            for outcome, count in each.metrics.outcomes.items():
                requests.add_metric((each.id, outcome.value), count)
            for slug, count in each.metrics.failed.items():
                failed.add_metric((each.id, slug), count)
            saved.add_metric((each.id,), each.metrics.saved_s)
            for stage, histogram in each.metrics.stages.items():
                stages.add_metric((each.id, stage), histogram.cumulative(), histogram.sum_s)
        yield from (requests, failed, saved, stages)
        values = [(each.id, each.gauges()) for each in functions]
        for name, text in _GAUGES.items():
            gauge = GaugeMetricFamily(f"likewise_{name}", text, labels=("function",))
            for function, of_function in values:
                gauge.add_metric((function,), of_function[name])
            yield gauge
        for name, text in _COUNTERS.items():
            counter = CounterMetricFamily(f"likewise_{name}", text, labels=("function",))
            for function, of_function in values:
                counter.add_metric((function,), of_function[name])
            yield counter
        for name, value in self._journal.items():
            yield GaugeMetricFamily(f"likewise_journal_{name}", "Of the journal", value=value)
