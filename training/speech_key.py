"""Learn by what keys of spoken digits are searched: the MFCCs as they are, and beside them what tells digits apart.

Linear discriminants alone find the digits of the speakers that they were fitted on, and lose those of others. Beside
the MFCCs and at half their weight, they help with known speakers and cost unknown ones nothing. `--speakers` measures
that: fitted on two speakers' recordings, it is tried on those of the two others.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
import orjson

from likewise.features.decode import decoder
from likewise.features.make import make_extractor
from likewise.learning.lda import Projection, fit_lda
from likewise.types import Keys
from likewise.workloads.speech import find_recordings

FILE = Path(__file__).parent.parent / "functions" / "speech" / "1" / "key.json"
WEIGHT = 0.5
"""Length of the discriminants in the mean, beside MFCCs of length 1."""
SHRINKAGE = 0.25


def fit(keys: Keys, digits: np.ndarray) -> Projection:
    """Return MFCCs less their mean, with the discriminants behind them."""
    found = fit_lda(keys, digits, dimension=9, shrinkage=SHRINKAGE)
    assert found is not None, "the recordings are all of one digit"
    length = np.sqrt(np.mean(np.sum(((keys - found.mean) @ found.matrix) ** 2, axis=1)))
    matrix = np.hstack([np.eye(len(found.mean), dtype=np.float32), found.matrix * np.float32(WEIGHT / length)])
    return Projection(found.mean, np.ascontiguousarray(matrix, np.float32))


def right_neighbors(keys: Keys, digits: np.ndarray, requests: int = 100, streams: int = 50) -> float:
    """Return how often the nearest earlier key is of the same digit, over the first requests of shuffled streams."""
    rng = np.random.default_rng(0)
    right = []
    for _ in range(streams):
        order = rng.permutation(len(keys))[:requests]
        alike = keys[order] @ keys[order].T
        for at in range(10, requests):
            right.append(digits[order[alike[at, :at].argmax()]] == digits[order[at]])
    return float(np.mean(right))


def main() -> None:
    """Fit on the even recordings, measure on the odd ones, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with fsdd/recordings")
    parser.add_argument("--speakers", action="store_true", help="also measure it on speakers that it was not fitted on")
    parser.add_argument("--out", type=Path, default=FILE)
    args = parser.parse_args()
    recordings = find_recordings(args.data)
    decode = decoder("audio", max_pixels=1, max_seconds=60.0, max_values=1)
    extract = make_extractor("mfcc", "audio")
    keys = np.array([extract(decode("audio/wav", each.path.read_bytes())) for each in recordings], np.float32)
    digits = np.array([int(each.digit) for each in recordings])
    speakers = np.array([each.speaker for each in recordings])
    held_out = np.array([each.held_out for each in recordings])
    projection = fit(keys[~held_out], digits[~held_out])
    rows = [("held out, known speakers", projection, held_out)]
    if args.speakers:
        for pair in combinations(np.unique(speakers), 2):
            theirs = np.isin(speakers, pair)
            fitted = fit(keys[~theirs & ~held_out], digits[~theirs & ~held_out])
            rows.append((f"{' and '.join(pair)}, unknown", fitted, theirs & held_out))
    for name, fitted, where in rows:
        plain = right_neighbors(keys[where], digits[where])
        projected = right_neighbors(fitted.many(keys[where]), digits[where])
        print(f"{name}: {plain:.3f} of the nearest neighbors are right by MFCCs, {projected:.3f} with discriminants")
    state = {name: np.round(np.float64(numbers), 6).tolist() for name, numbers in projection.state().items()}
    args.out.write_bytes(orjson.dumps(state))
    print(f"{args.out}: {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
