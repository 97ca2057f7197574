"""Processor time of things that take turns, in an order that chance decides: what disturbs one disturbs the others."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, sqrt
from statistics import fmean, median
from time import monotonic, thread_time
from typing import TypeVar

T = TypeVar("T")

ROUNDS = 5
"""Rounds of `measured`."""
STRETCH = 8
"""Calls of one in a row that make a round of `compared`; one before them warms the caches, as a server's are."""
SLOW_S, SLOW_STRETCH = 0.02, 2
"""From so many seconds a call, rounds are of so few."""
LEAST, FEWEST, MOST = 4, 12, 400
"""Rounds of `compared`: where the time is up, before it may decide, and in all."""
MOST_S = 30.0
_NARROW = 0.005
_Z = 2.58
"""Of the normal distribution, two-sided 99 %: the interval is looked at again and again until it decides."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as long one takes as another, with a 99 % confidence interval; round by round, the median."""

    value: float
    low: float
    high: float


def measured(contenders: Sequence[Callable[[T], object]], sample: Sequence[T], rounds: int = ROUNDS) -> list[float]:
    """Return the seconds of processor time of this thread that each takes for one input: the median of some rounds."""
    coin = random.Random(0)
    times = [[fmean(each) for each in _round(contenders, sample, coin)] for _ in range(rounds)]
    return [median(each) for each in zip(*times, strict=True)]


def compared(
    contenders: Sequence[Callable[[T], object]], sample: Sequence[T], limit: float, most_s: float = MOST_S
) -> tuple[list[float], list[Ratio]]:
    """Return the seconds of processor time of this thread that each takes for one input, and its ratio to the last's.

    It goes on until each ratio is above the limit, or not, beyond noise, or is known to half a percent, or `most_s`
    seconds have passed. What disturbs a call only adds to its time, so ratios are of the shortest of some calls in a
    row (Chen and Revels, Robust Benchmarking in Noisy Environments, 2016); seconds are medians.
    """
    coin = random.Random(0)
    times: list[list[float]] = []
    shortest: list[list[float]] = []
    until = monotonic() + most_s
    (whole_s,) = measured(contenders[-1:], sample[:2], 1)
    length = SLOW_STRETCH if whole_s > SLOW_S else STRETCH
    while True:
        begin = coin.randrange(len(sample))
        stretch = [sample[(begin + at) % len(sample)] for at in range(length)]
        found = _round(contenders, stretch, coin)
        times.append([median(each) for each in found])
        shortest.append([min(each) for each in found])
        up = len(times) >= LEAST and monotonic() > until
        if not up and (len(times) < FEWEST or len(times) % 4):
            continue
        ratios = [_ratio([each[at] / each[-1] for each in shortest]) for at in range(len(contenders) - 1)]
        decided = all(each.high <= limit or each.low > limit or each.high - each.low <= 2 * _NARROW for each in ratios)
        if decided or up or len(times) >= MOST:
            return [median(each) for each in zip(*times, strict=True)], ratios


def _round(contenders: Sequence[Callable[[T], object]], values: Sequence[T], coin: random.Random) -> list[list[float]]:
    """Return the seconds of each contender for each value, which they take in a random order."""
    found: list[list[float]] = [[] for _ in contenders]
    for at in coin.sample(range(len(contenders)), len(contenders)):
        call = contenders[at]
        call(values[0])
        for value in values:
            started = thread_time()
            call(value)
            found[at].append(thread_time() - started)
    return found


def _ratio(ratios: list[float]) -> Ratio:
    """Return the median and its interval, by ranks (Hollander and Wolfe, Nonparametric Statistical Methods, 3.6)."""
    ordered, count = sorted(ratios), len(ratios)
    reach = _Z * sqrt(count) / 2
    low, high = floor((count - 1) / 2 - reach), ceil((count - 1) / 2 + reach)
    return Ratio(median(ordered), ordered[max(0, low)], ordered[min(count - 1, high)])
