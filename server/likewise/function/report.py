"""What a function says of itself: gauges for the metrics, numbers for /v1/stats, its description."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from likewise.decision.counters import Counters
from likewise.decision.leases import lease_statistics
from likewise.function.preparation_spec import Preparation
from likewise.function.spec import FunctionSpec, KeySpec
from likewise.requests import Outcome
from likewise.types import PolicyStatistics

if TYPE_CHECKING:
    from likewise.function.function import Function


_SHOWN = {"name", "takes", "cost", "size_bytes", "memory_bytes", "agreement", "origin"}


def gauges(fn: Function) -> Mapping[str, float]:
    """Return everything countable that others keep for this function."""
    policy = fn.policies[fn.key_type].statistics()
    others = [each.statistics() for each in list(fn.policies.values())[1:]]
    beyond = Counters() if fn.variants is None else fn.variants.ladder.counters
    space = fn.namespace.statistics()
    runner = fn.runner
    return {
        "entries": space["entries"],
        "bytes": space["bytes"],
        "evictions": space["evictions"],
        "expirations": space["expirations"],
        "insertions": space["insertions"],
        "queued": runner.queued if runner else 0,
        "inferences": runner.computed if runner else 0,
        "tickets": len(fn.tickets),
        "bar": policy.bar,
        "tokens": policy.tokens,
        "accuracy_target": policy.accuracy_target,
        "estimated_accuracy": _least([_with(policy, beyond), *(each.estimated_accuracy for each in others)]),
        "hit_precision": policy.hit_precision,
        "false_hits_bound": policy.false_hits_bound,
        "probes": beyond.probes + sum(each.probes for each in [policy, *others]),
        "false_hits_seen": policy.false_hits_seen
        + beyond.false_hits_seen
        + sum(each.false_hits_seen for each in others),
        **lease_statistics(None if fn.leasing is None else fn.leasing.leases),
        "samples_sent": fn.evidence.sent,
        "samples_left_out": fn.evidence.left_out,
        "samples_taken_in": fn.evidence.taken_in,
        "samples_refused": fn.evidence.refused,
    }


def statistics(fn: Function) -> dict[str, object]:
    """Return the numbers of /v1/stats; what is not finite is None."""
    metrics = fn.metrics
    finite = {name: value if math.isfinite(value) else None for name, value in gauges(fn).items()}
    return {
        "function": fn.id,
        "policy": fn.policies[fn.key_type].statistics().policy,
        "requests": metrics.requests,
        "outcomes": {outcome.value: count for outcome, count in metrics.outcomes.items()},
        "bypassed": metrics.outcomes[Outcome.BYPASS],
        "problems": dict(metrics.failed),
        "indexes": fn.namespace.kinds(),
        "projections": {
            name: projection.dimension if (projection := fn.namespace.projections.get(name)) else None
            for name in (*fn.projectors, *(name for name in fn.namespace.projections if name not in fn.projectors))
        },
        "hit_rate": metrics.hits / metrics.answers if metrics.answers else 0.0,
        "budget": {} if fn.governor is None else fn.governor.statistics(),
        "variants": {} if fn.variants is None else fn.variants.statistics(),
        "trunks": [] if fn.shared is None else fn.shared.statistics(),
        "video": None if fn.streams is None else fn.streams.statistics(),
        "saved_s": metrics.saved_s,
        "latency_p50_s": metrics.stages["total"].quantile(0.5),
        "latency_p99_s": metrics.stages["total"].quantile(0.99),
        **finite,
    }


def describe(fn: Function) -> dict[str, object]:
    """Return what GET /v1/functions says of it."""
    spec = fn.spec
    policy = fn.policies[fn.key_type].statistics()
    return {
        "name": fn.name,
        "version": fn.version,
        "fingerprint": fn.fingerprint,
        "description": spec.description,
        "input": {**spec.input.model_dump(), "dtype": fn.reader.dtype or None, "sizes": _sizes(spec)},
        "model": spec.model.model_dump(exclude_defaults=True) if spec.model else None,
        "result": {"kind": spec.result.kind, "equality": spec.result.equality},
        "keys": [
            {
                "name": key.label,
                "extractor": key.extractor,
                "metric": key.metric,
                "dimension": fn.key_types[key.label].dimension,
                **(_made_by(fn, key) if key.label == fn.key_type else {}),
            }
            for key in spec.keys
        ],
        "variants": [variant.model_dump(include=_SHOWN) for variant in spec.variants],
        "reuse": {"policy": policy.policy, "accuracy_target": policy.accuracy_target, "neighbors": fn.k},
        "capacity": {
            "entries": fn.namespace.capacity_entries,
            "bytes": fn.namespace.capacity_bytes,
            "ttl_s": fn.namespace.default_ttl_s,
        },
        "entries": len(fn.namespace),
    }


def _with(policy: PolicyStatistics, beyond: Counters) -> float:
    """Return the estimated accuracy of a policy and of the variants beyond it; NaN where either has none yet."""
    if math.isnan(policy.estimated_accuracy) or (beyond.would_be_hits and not beyond.probes):
        return math.nan
    return max(0.0, policy.estimated_accuracy - beyond.corrections / max(1, policy.requests))


def _made_by(fn: Function, key: KeySpec) -> dict[str, object]:
    """Return by which files of the function a device makes the primary key, and searches by it, where it may."""
    if fn.leasing is None:
        return {}
    made: dict[str, object] = {}
    if (file := fn.leasing.key_file) is not None:
        prepare = key.model_dump(include=set(Preparation.model_fields), exclude_defaults=True)
        made = {"file": file.named(), "prepare": prepare}
    if (file := fn.leasing.projection_file) is not None:
        made["projection"] = file.named()
    return made


def _sizes(spec: FunctionSpec) -> list[tuple[int, int]] | None:
    """Return the sizes to which a picture is averaged before anything looks at it; None where more of it is used."""
    if spec.input.kind != "image" or spec.model is None:
        return None
    variants = (variant for variant in spec.variants if variant.takes == "input")
    sizes: set[tuple[int, int]] = set()
    for table in (spec.model, *variants, *spec.keys):
        averaged = table.resize == "stretch" and table.interpolation in ("auto", "area")
        known = not isinstance(table, KeySpec) or table.extractor in ("onnx", "layer")
        if table.size is None or not averaged or not known:
            return None
        sizes.add((table.size[0], table.size[1]))
    return sorted(sizes)


def _least(estimates: Iterable[float]) -> float:
    """Return the smallest number there is; NaN where nothing was estimated yet."""
    return min((each for each in estimates if not math.isnan(each)), default=math.nan)
