"""The figures of each way, overall and per phone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from likewise_fleet.energy import Use, joules
from likewise_fleet.networks import Phone, Radio
from likewise_fleet.records import Answered, Check, From
from likewise_fleet.trace import Trace

_COMPUTED = (From.DEVICE_MODEL, From.EDGE_MODEL)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a way comes to, over some requests."""

    requests: int
    failed: int
    accuracy: float
    """Share of answers that are what the model says."""
    mean_ms: float
    p50_ms: float
    p99_ms: float
    joules: float
    """Of all phones, over the whole trace."""
    radio_joules: float
    compute_joules: float
    bytes: int
    """Both ways, as HTTP has them: without the heads of TCP and IP."""
    inferences: int
    """How often the model ran, wherever that was."""
    device_hits: int
    edge_hits: int
    probes: int

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def figures(
    trace: Trace, answers: Sequence[Answered], truth: Sequence[str], radio: Radio, phone: Phone
) -> tuple[Figures, list[Figures]]:
    """Return the figures of a way, of all phones and of each. truth: what the model says, by position."""
    by_phone: list[list[Answered]] = [[] for _ in range(trace.phones)]
    for each in sorted(answers, key=lambda answered: answered.position):
        by_phone[trace.requests[each.position].phone].append(each)
    spent = [joules(_uses(trace, mine), radio, phone) for mine in by_phone]
    single = [_figures(mine, truth, [energy]) for mine, energy in zip(by_phone, spent, strict=True) if mine]
    return _figures(answers, truth, spent), single


def _figures(answers: Sequence[Answered], truth: Sequence[str], spent: Sequence[tuple[float, float]]) -> Figures:
    ms = 1000 * np.array([each.latency_s for each in answers])
    sources = Counter(each.source for each in answers)
    radio, computed = sum(each[0] for each in spent), sum(each[1] for each in spent)
    checks = [each.check for each in answers if each.check is not None]
    return Figures(
        requests=len(answers),
        failed=sources[From.NOWHERE],
        accuracy=sum(each.label == truth[each.position] for each in answers) / len(answers),
        mean_ms=float(ms.mean()),
        p50_ms=float(np.percentile(ms, 50)),
        p99_ms=float(np.percentile(ms, 99)),
        joules=radio + computed,
        radio_joules=radio,
        compute_joules=computed,
        bytes=_bytes(answers) + _bytes(checks),
        inferences=sum(sources[each] for each in _COMPUTED) + sum(each.computed for each in checks),
        device_hits=sources[From.DEVICE_CACHE],
        edge_hits=sources[From.EDGE_CACHE],
        probes=sum(each.probe for each in answers) + len(checks),
    )


def _bytes(each_of: Sequence[Answered] | Sequence[Check]) -> int:
    return sum(each.up_bytes + each.down_bytes for each in each_of)


def _uses(trace: Trace, answers: Sequence[Answered]) -> Iterator[Use]:
    """Yield what one phone's requests took, in order. A check goes on beside the think time after its answer."""
    passed_s = 0.0
    for each in answers:
        think_s = trace.requests[each.position].think_s
        yield Use(max(0.0, think_s - passed_s), each.latency_s, each.up_bytes, each.down_bytes, each.busy_s)
        passed_s = 0.0
        if (check := each.check) is not None:
            yield Use(0.0, check.seconds, check.up_bytes, check.down_bytes, 0.0)
            passed_s = check.seconds
