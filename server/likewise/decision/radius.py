"""How far around an entry's key its result may be reused by whoever sees none of the other entries."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

from likewise.types import Neighbors

STEPS = 12
SIGMAS = 1.0
"""How far from level a direction is taken to lead towards a rival, in standard deviations of what chance makes it: with
more caution, more requests go to the server than the tokens of the wrong hits that it avoids are worth."""


def lean(dimension: int) -> float:
    """Return the cosine with which a key is taken to lie off towards a rival, in (0, 1].

    The direction in which a key differs from an entry's has by chance a cosine of 0 ± 1 / √d with that to a rival; the
    worst case is 1, and for a single number this is.
    """
    return min(1.0, SIGMAS / sqrt(dimension))


def safe_radius(around: Neighbors, label: int, confident: Callable[[Neighbors], bool], towards: float = 1.0) -> float:
    """Return the radius within which a policy would reuse an entry, whatever lies where; 0.0: nowhere.

    around: the entries nearest to the entry's key, itself left out. label: the entry's own.
    confident: whether the policy would reuse the winner among such neighbors. towards: see `lean`.
    A key at r from the entry is √(d² + r² - 2·towards·d·r) from a rival at d, or farther, and not much farther from an
    ally than the same with a plus: what the policy says to just that is asked. So in the worst case, towards = 1, a
    policy that wants a margin m (the log of how much farther the nearest rival is) gets r = d ÷ (1 + e^m), and less
    where its other evidence wants less. A rival that is not among the neighbors may be as near as the farthest of them;
    with no other entry at all nothing is known, and nothing is stated.
    """
    if not around.distances:
        return 0.0
    known = list(zip(around.distances, around.labels, strict=True))
    rival = next((far for far, other in known if other != label), around.distances[-1])

    def safe(radius: float) -> bool:
        seen = [(radius, label)]
        for far, other in known:
            sign = 1.0 if other == label else -1.0
            seen.append((sqrt(max(0.0, far * far + radius * (radius + sign * 2.0 * towards * far))), other))
        seen.sort()
        return confident(Neighbors([far for far, _ in seen], [each for _, each in seen], list(range(len(seen)))))

    low, high = 0.0, rival * min(1.0, 0.5 / towards)
    if high <= 0.0:
        return 0.0
    if safe(high):
        return high
    for _ in range(STEPS):
        middle = 0.5 * (low + high)
        if safe(middle):
            low = middle
        else:
            high = middle
    return low
