"""How far around an entry's key its result may be reused by whoever sees none of the other entries."""

from __future__ import annotations

from collections.abc import Callable

from likewise.types import Neighbors

STEPS = 12


def safe_radius(around: Neighbors, label: int, confident: Callable[[Neighbors], bool]) -> float:
    """Return the radius within which a policy would reuse an entry, whatever lies where; 0.0: nowhere.

    around: the entries nearest to the entry's key, itself left out. label: the entry's own.
    confident: whether the policy would reuse the winner among such neighbors.
    A key within r of the entry is at least d - r from a rival at d, and at most d + r from an ally at d: what the
    policy says to just that is asked. So for a policy that wants a margin m (the log of how much farther the nearest
    rival is) r is d ÷ (1 + e^m), less where its other evidence wants less. A rival that is not among the neighbors may
    be as near as the farthest of them; with no other entry at all nothing is known, and nothing is stated.
    """
    if not around.distances:
        return 0.0
    nearest_rival = next(
        (far for far, other in zip(around.distances, around.labels, strict=True) if other != label),
        around.distances[-1],
    )

    def safe(radius: float) -> bool:
        seen = [(radius, label)]
        for far, other in zip(around.distances, around.labels, strict=True):
            seen.append((far + radius, other) if other == label else (max(0.0, far - radius), other))
        seen.sort()
        return confident(Neighbors([far for far, _ in seen], [each for _, each in seen], list(range(len(seen)))))

    low, high = 0.0, nearest_rival / 2.0
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
