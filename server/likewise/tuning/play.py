"""Candidates played as streams, and the choice among them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.evaluation.own import Subject
from likewise.evaluation.read import Read
from likewise.evaluation.replay import Run, replay
from likewise.evaluation.streams import Stream
from likewise.ports import Projection
from likewise.types import Keys

_T = 2.0
"""Student's t, two-sided 95 %, with about as many degrees of freedom as streams have parts: 40 to 120."""


FEWEST_COINS, MOST_COINS = 3, 20
"""Times that a stream is played, each with other probes."""
PLAYED = 6000
"""Requests that are played of one key at one target, where that is within these."""


@dataclass(frozen=True, slots=True)
class Played:
    """What came of one candidate at one target."""

    name: str
    target: float
    harvest: float
    later: float
    """The same over the second half of the streams, when there is more in the cache."""
    error: float
    """Half the width of the 95 % confidence interval of the harvest, over parts of the stream and coins; NaN: none."""
    accuracy: float
    reused: float
    """Share of requests that were answered from the cache."""
    key_s: float
    compute_s: float

    @property
    def request_s(self) -> float:
        """Processor time of a request in the mean: its key, and the model where nothing is reused."""
        return self.key_s + (1.0 - self.reused) * self.compute_s


class Part(NamedTuple):
    """What came of a part of a stream, in the mean of some plays."""

    correct: float
    """Correct hits."""
    chances: float
    """Requests whose right label was cached."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Plays keys as a stream of the requests that were read."""

    subject: Subject
    read: Read
    targets: Sequence[float]

    @property
    def budgets(self) -> list[float]:
        """Shares of wrong answers by which keys are ranked in hindsight: that of the first target, and less.

        What is sure early counts: a policy learns where the bar is, and probes cost it tokens meanwhile.
        """
        return [(1 - self.targets[0]) / part for part in (1, 3, 10)]

    def stream(
        self,
        name: str,
        keys: Keys,
        places: NDArray[np.int64],
        *,
        projected: bool = False,
        prior: Projection | None = None,
    ) -> Stream:
        """Return the requests at some places with their keys, shape (places, d); see `Stream`."""
        chosen, read = places.tolist(), self.read
        return Stream(
            name,
            0,
            keys,
            [read.labels[at] for at in chosen],
            [read.devices[at] for at in chosen],
            self.subject.spec.reuse.neighbors,
            projected,
            [read.digests[at] for at in chosen],
            [read.signatures[at] for at in chosen],
            anonymous=read.anonymous,
            prior=prior,
        )


def coins_for(requests: int) -> int:
    """Return how often a stream of so many requests is played: the fewer, the more chance there is in one play."""
    return max(FEWEST_COINS, min(MOST_COINS, PLAYED // max(1, requests)))


def play(
    name: str,
    streams: Sequence[Stream],
    targets: Sequence[float],
    coins: int,
    policy: str,
    costs: tuple[float, float],
    advance: Callable[[float], None] = lambda _: None,
) -> list[Played]:
    """Return what comes of the streams of all rounds at each target, in the mean.

    costs: seconds of the key, and of a miss beside it. advance: with the share that has been played since.
    """
    found = []
    for target in targets:
        rounds: list[list[Run]] = []
        for stream in streams:
            rounds.append([replay(replace(stream, seed=coin), policy, target) for coin in range(coins)])
            advance(1 / len(streams) / len(targets))
        runs = [run for each in rounds for run in each]
        requests = sum(run.requests for run in runs)
        halves = [(parts[: len(parts) // 2], parts[len(parts) // 2 :]) for parts in map(_parts, rounds)]
        second = [part for _, half in halves for part in half]
        parts = [part for half, _ in halves for part in half] + second
        found.append(
            Played(
                name,
                target,
                _harvest(parts),
                _harvest(second),
                interval(parts),
                1.0 - sum((1.0 - run.accuracy) * run.requests for run in runs) / requests,
                sum(run.hits for run in runs) / requests,
                *costs,
            )
        )
    return found


def _harvest(parts: Sequence[Part]) -> float:
    return sum(part.correct for part in parts) / max(1e-9, sum(part.chances for part in parts))


def _parts(runs: Sequence[Run]) -> list[Part]:
    """Return what came of each part of a stream, in the mean of some runs of it."""
    found, before = [], (0.0, 0.0)
    for at in range(min(len(run.blocks) for run in runs)):
        correct, chances = (mean(run.blocks[at][what] for run in runs) for what in (0, 1))
        found.append(Part(correct - before[0], chances - before[1]))
        before = correct, chances
    return found


def interval(parts: Sequence[Part]) -> float:
    """Return half the width of the 95 % confidence interval of the harvest over all parts of some streams.

    Harvest is a ratio, correct hits ÷ opportunities, and requests near in time are alike, so equal parts of a stream
    are taken for the sample. Source: the ratio estimator of cluster sampling (Cochran, Sampling Techniques, 1977, 6.4).
    """
    count, total, harvest = len(parts), sum(part.chances for part in parts), _harvest(parts)
    if count < 2 or not total:
        return math.nan
    spread = sum((part.correct - harvest * part.chances) ** 2 for part in parts)
    return _T * math.sqrt(count / (count - 1) * spread) / total


def hindsight(keys: Keys, labels: NDArray[np.int64], budgets: Sequence[float]) -> float:
    """Return the harvest of a stream answered by the nearest key so far, with the best bar known in hindsight.

    keys: shape (n, d), in order. labels: shape (n,). budgets: shares of requests that may be answered wrongly; the
    harvest is the mean over them. The bar is on the margin: how much farther the nearest rival label is. A quick
    measure to compare keys by; quadratic.
    """
    count = len(labels)
    squared = np.einsum("ij,ij->i", keys, keys)
    distances = np.sqrt(np.maximum(squared[:, None] + squared[None, :] - 2 * (keys @ keys.T), 0))
    distances[np.triu_indices(count)] = np.inf  # only what came before
    nearest = distances.argmin(axis=1)
    best = distances[np.arange(count), nearest]
    answers = labels[nearest]
    distances[labels[None, :] == answers[:, None]] = np.inf
    margins = (np.minimum(distances.min(axis=1), 1e6) + 1e-3) / (best + 1e-3)
    right = (answers == labels)[1:][np.argsort(-margins[1:], kind="stable")]
    wrong = np.cumsum(~right)
    opportunities = count - len(np.unique(labels))
    ends = [int(np.searchsorted(wrong, budget * count, "right")) for budget in budgets]
    return mean(int(np.count_nonzero(right[:end])) / max(1, opportunities) for end in ends)


def choose(played: Sequence[Played], within: float) -> Played:
    """Return the candidate with the least time of a request among those near enough to the best harvest.

    played: the first target of each candidate comes before its others. The first, which times are taken at, counts as
    much as all others together: where it is easy all keys are alike at it, and the others say which will hold on
    inputs that are harder. The second half of the streams counts three times as much as the first: what is played here
    is only the beginning, in which keys that are learned are ahead by more than later on.
    """
    by_name: dict[str, list[Played]] = {}
    for each in played:
        by_name.setdefault(each.name, []).append(each)
    harvests = {
        name: mean([_expected(rows[0]), mean(map(_expected, rows[1:] or rows))]) for name, rows in by_name.items()
    }
    best = max(harvests.values())
    near = [rows[0] for name, rows in by_name.items() if harvests[name] >= best - within]
    return min(near, key=lambda each: each.request_s)


def _expected(row: Played) -> float:
    """Return what streams of twice the length would harvest if they went on as in their second half."""
    return (row.harvest + row.later) / 2
