"""How much a key can harvest: every input inserted, and the best bar on the margin found in hindsight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def harvest(
    keys: np.ndarray, labels: np.ndarray, targets: Sequence[float] = (0.95, 0.98, 0.99), k: int = 10
) -> dict[float, float]:
    """Return correct hits ÷ opportunities for each accuracy target.

    keys: shape (n, d), in the order of the stream, of any norm: it is made 1; labels: shape (n,), what is true of each.
    """
    n = len(keys)
    keys = keys / np.maximum(np.linalg.norm(keys, axis=1, keepdims=True), 1e-12)
    l2 = np.sqrt(np.maximum(2 - 2 * keys @ keys.T, 0))
    seen: set[object] = set()
    margins, right, opportunities = [], [], 0
    for i in range(n):
        if labels[i] in seen:
            opportunities += 1
        seen.add(labels[i])
        if i == 0:
            continue
        nearest = np.argsort(l2[i, :i], kind="stable")[:k]
        near, votes = l2[i, nearest], {}
        for distance, label in zip(near, labels[nearest], strict=True):
            votes[label] = votes.get(label, 0.0) + 1 / (distance**2 + 1e-4)
        best = max(votes, key=lambda label: votes[label])
        same = labels[nearest] == best
        rival = near[~same][0] if not same.all() else near[-1]
        margins.append(np.log((rival + 1e-3) / (near[same][0] + 1e-3)))
        right.append(best == labels[i])
    order = np.argsort(-np.array(margins), kind="stable")
    correct = np.cumsum(np.array(right)[order])
    false = np.arange(1, len(order) + 1) - correct
    found = {}
    for target in targets:
        allowed = np.flatnonzero(false <= (1 - target) * n)
        found[target] = float(correct[allowed[-1]] / max(opportunities, 1)) if len(allowed) else 0.0
    return found
