"""Several workers' metrics and stats as one: what is counted is added up, what is measured keeps its worker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

LARGEST = ("entries", "bytes", "bar", "false_hits_bound", "latency_p50_s", "latency_p99_s", "work")
"""Of these the largest of the workers' is told: each holds a copy of what they share."""
SMALLEST = ("estimated_accuracy", "up")
SAME = ("accuracy_target",)


def total_metrics(texts: Mapping[int, bytes]) -> bytes:
    """Return the metrics of several workers, by number, in the Prometheus text format.

    Counters and histograms are summed; gauges get a label `worker`.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Total(texts))
    return generate_latest(registry)


class _Total(Collector):
    def __init__(self, texts: Mapping[int, bytes]) -> None:
        self._texts = texts

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        sums: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        for number, text in self._texts.items():
            for family in text_string_to_metric_families(text.decode()):
                kept = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    if family.type == "gauge":
                        labels = {**sample.labels, "worker": str(number)}
                        kept.samples.append(Sample(sample.name, labels, sample.value, None, None))
                        continue
                    key = (sample.name, tuple(sorted(sample.labels.items())))
                    if key not in sums:
                        kept.samples.append(Sample(sample.name, dict(sample.labels), 0.0, None, None))
                    sums[key] = sums.get(key, 0.0) + sample.value
        for family in families.values():
            family.samples = [
                each._replace(value=sums.get((each.name, tuple(sorted(each.labels.items()))), each.value))
                for each in family.samples
            ]
            yield family


def total_stats(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the stats of several workers as one document; the first is that of the worker that answers."""
    first = documents[0]
    functions: dict[str, list[dict[str, Any]]] = {}
    for document in documents:
        for name, numbers in document["functions"].items():
            functions.setdefault(name, []).append(numbers)
    return {
        **first,
        "functions": {name: _total_function(numbers) for name, numbers in functions.items()},
        "journal": _total([document["journal"] for document in documents]),
        "workers": [{"pid": each["pid"], "uptime_s": each["uptime_s"]} for each in documents],
    }


def _total_function(each: Sequence[dict[str, Any]]) -> dict[str, Any]:
    total = _total(each)
    requests = [sum(one["outcomes"].values()) - one["bypassed"] for one in each]
    hits = sum(one["hit_rate"] * count for one, count in zip(each, requests, strict=True))
    total["hit_rate"] = hits / sum(requests) if sum(requests) else 0.0
    return total


def _total(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = dict.fromkeys(name for one in each for name in one)
    return {name: _value(name, [one[name] for one in each if name in one]) for name in names}


def _value(name: str, values: Sequence[Any]) -> Any:
    if all(isinstance(value, dict) for value in values):
        return _total(values)
    numbers = [value for value in values if isinstance(value, int | float)]
    if not numbers or name in SAME or any(isinstance(value, str) for value in values):
        return values[0]
    if name in LARGEST:
        return max(numbers)
    return min(numbers) if name in SMALLEST else sum(numbers)
