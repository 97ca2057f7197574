"""The requests that could be read from inputs of one's own, and what came of them when they were recorded."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np

from likewise.evaluation.replay import Run
from likewise.evaluation.streams import Stream
from likewise.requests import Outcome
from likewise.results.labels import Labels
from likewise.types import Key

GIVEN_AWAY = 0.9
"""Share of requests whose sub-folder alone says the result: beyond, it is no device but the answer."""
COMPUTED = (Outcome.MISS, Outcome.PROBE)
_CACHED = (Outcome.HIT, Outcome.EXACT, Outcome.COALESCED)
_APPROXIMATE = (*_CACHED, Outcome.VARIANT)


@dataclass(slots=True)
class Read:
    """The requests that could be read, and their results; lists of one length."""

    labels: list[int] = field(default_factory=list)
    """Of `Labels`: what makes results equal is the function's own."""
    devices: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    """When each came, in seconds."""
    computed_s: list[float] = field(default_factory=list)
    """How long each took that was computed when it was recorded; NaN for others."""
    took_s: list[float] = field(default_factory=list)
    """How long each took when it was recorded; 0 where it was not."""
    served: list[int] = field(default_factory=list)
    """The labels of what was answered when it was recorded; -1 where nothing was."""
    outcomes: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    """Which of the requests each is, as `Inputs` yields them."""
    known: Labels | None = None
    """What tells results apart, which gave the labels their ids."""
    keys: dict[int, Key] = field(default_factory=dict)
    """By place: keys that came instead of inputs."""
    notes: list[str] = field(default_factory=list)
    anonymous: bool = False
    """Whether devices are to be ignored: their sub-folders would give the results away."""


def as_recorded(stream: Stream, read: Read, target: float, first: int) -> Run | None:
    """Return what came of the requests when they were recorded; None where that is not known.

    A request was an opportunity where an equal result had been answered afresh before it came, or was reused rightly.
    """
    if not any(outcome in _APPROXIMATE for outcome in read.outcomes):
        return None
    fresh: list[tuple[float, int]] = sorted(
        (at + took, served)
        for at, took, served, outcome in zip(read.times, read.took_s, read.served, read.outcomes, strict=True)
        if outcome in (*COMPUTED, Outcome.VARIANT)
    )
    known: set[int] = set()
    done = correct = wrong = opportunities = 0
    course, first_harvest = [], 0.0
    for place, (at, label, served, outcome) in enumerate(
        zip(read.times, read.labels, read.served, read.outcomes, strict=True), 1
    ):
        while done < len(fresh) and fresh[done][0] <= at:
            known.add(fresh[done][1])
            done += 1
        right = outcome in _CACHED and served == label
        wrong += outcome in _APPROXIMATE and served != label
        correct += right
        opportunities += right or label in known
        course.append(1.0 - wrong / place)
        if place <= first:
            first_harvest = correct / max(1, opportunities)
    count = len(read.labels)
    times = Counter(read.outcomes)
    hits = sum(times[outcome] for outcome in _APPROXIMATE)
    sources = {"cache": sum(times[outcome] for outcome in _CACHED) / count, "model": 1.0 - hits / count}
    if times[Outcome.VARIANT]:
        sources["variants"] = times[Outcome.VARIANT] / count
    return Run(
        stream.workload, "as recorded", target, 0, count, opportunities, correct / max(1, opportunities), course[-1],
        first_harvest, 1.0 - wrong / max(1, hits), hits, times[Outcome.EXACT],
        times[Outcome.PROBE], count - hits, 0.0, 0.0, 0.0, stream.keys.shape[1],
        tuple(course[min(count - 1, round((point + 1) * count / 100))] for point in range(100)),
        ladder="all" if times[Outcome.VARIANT] else "off", sources=sources,
    )  # fmt: skip


def timed(read: Read) -> tuple[list[float], list[float]]:
    """Return when each request comes and what it would take to compute; two empty lists where that was not recorded.

    What was not computed would have taken what the quickest tenth did: it made no queue longer.
    """
    took = np.array(read.computed_s)
    if np.isnan(took).all():
        return [], []
    return read.times, np.where(np.isnan(took), np.nanquantile(took, 0.1), took).tolist()


def given_away(read: Read) -> bool:
    """Say whether the device alone says what is answered: sub-folders that are classes rather than devices."""
    by_device: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for device, label in zip(read.devices, read.labels, strict=True):
        by_device[device][label] += 1
    most = max(Counter(read.labels).values()) / len(read.labels)
    told = sum(max(labels.values()) for labels in by_device.values()) / len(read.labels)
    return told > GIVEN_AWAY and told - most > 0.2
