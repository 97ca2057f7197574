"""Train by what keys of spoken digits are searched: MFCCs as they are, and beside them what a small network believes.

Which digit a network believes to hear brings together what different speakers say; alone it would lose those of
speakers that it was not trained on. Beside the MFCCs, and no surer than its sharpness allows, it helps with known
speakers and costs unknown ones nothing. `--speakers` measures that: trained on some speakers' recordings, it is tried
on those of others.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
import orjson
import torch
import torch.nn.functional as F
from common import FUNCTIONS, train
from torch import Tensor, nn

from likewise.features.audio import MfccExtractor
from likewise.features.decode import decoder
from likewise.learning.beside import Beside
from likewise.types import Audio
from likewise.workloads.speech import find_recordings

FILE = FUNCTIONS / "speech" / "1" / "key.json"
RATE = 8000
SHARPNESS = 4.25
"""Of the softmax over cosines when keys are searched: a cosine of 1 weighs e^8.5 times as much as one of -1."""
WEIGHT = 1.0
"""Of certain beliefs, beside MFCCs of length 1."""
TRAINED_AT, MARGIN = 12.0, 0.1
"""Sharpness in the training, and what is taken off the true digit's cosine."""


class Network(nn.Module):
    """(n, 104) MFCCs to (n, 10) cosines with the directions of the digits."""

    def __init__(self, mean: np.ndarray, deviation: float) -> None:
        super().__init__()
        self.mean, self.deviation = torch.from_numpy(mean), deviation
        self.layers = nn.Sequential(nn.Linear(len(mean), 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 32))
        self.directions = nn.Parameter(torch.randn(10, 32))

    def forward(self, x: Tensor) -> Tensor:
        made = self.layers((x - self.mean) / self.deviation)
        return F.normalize(made, dim=1) @ F.normalize(self.directions, dim=1).T

    def beside(self, center: np.ndarray, weight: float, sharpness: float) -> Beside:
        """Return the projection for the server; center: mean of the keys that are searched."""
        first, last = (self.layers[i] for i in (0, 3))
        matrix = (first.weight.T / self.deviation).detach().numpy()
        bias = first.bias.detach().numpy() - self.mean.numpy() @ matrix
        directions = sharpness * F.normalize(self.directions, dim=1).T
        layers = [(matrix, bias), (last.weight.T.detach().numpy(), last.bias.detach().numpy())]
        state = {
            "mean": center,
            "layers": [{"matrix": each, "bias": offset} for each, offset in layers],
            "directions": directions.detach().numpy(),
            "weight": weight,
        }
        return Beside.restored(state)


def varied(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a sound by another mouth, so to speak: at another pitch, pace, loudness and color, cut, with noise."""
    steps = np.arange(0, len(sound) - 1, np.exp(rng.uniform(-0.2, 0.2)))
    sound = np.interp(steps, np.arange(len(sound)), sound)
    if rng.random() < 0.6:  # dull or sharp
        sound = sound + rng.uniform(-0.6, 0.6) * np.concatenate([[0.0], sound[:-1]])
    if rng.random() < 0.5:  # louder in some bands
        spectrum = np.fft.rfft(sound)
        decibels = np.interp(np.linspace(0, 5, len(spectrum)), np.arange(6), rng.normal(0, 3.0, 6))
        sound = np.fft.irfft(spectrum * 10 ** (decibels / 20), len(sound))
    if rng.random() < 0.3:  # slower at one end
        moments = np.linspace(0, 1, len(sound))
        moments = moments + rng.uniform(-0.35, 0.35) * moments * (1 - moments)
        sound = np.interp(moments * (len(sound) - 1), np.arange(len(sound)), sound)
    if rng.random() < 0.4:
        start, end = (int(len(sound) * share) for share in rng.uniform(0, 0.06, 2))
        sound = sound[start : len(sound) - end]
    if rng.random() < 0.7:
        sound = sound + 10 ** rng.uniform(-4, -1.3) * np.abs(sound).max() * rng.standard_normal(len(sound))
    return (sound * 10 ** (rng.uniform(-6, 4) / 20)).astype(np.float32)


def keys_of(sounds: list[np.ndarray], variations: int, rng: np.random.Generator) -> np.ndarray:
    """Return MFCCs of sounds, as they are first and then varied: shape (variations, sounds, 104)."""
    extract = MfccExtractor()
    rows = [[extract(Audio(sound, RATE)) for sound in sounds]]
    for _ in range(variations - 1):
        rows.append([extract(Audio(varied(sound, rng), RATE)) for sound in sounds])
    return np.array(rows, np.float32)


def learn(
    keys: np.ndarray, digits: np.ndarray, epochs: int, *, weight: float = WEIGHT, sharpness: float = SHARPNESS
) -> Beside:
    """Return the projection trained on keys, shape (variations, n, 104), of n digits."""
    rng = np.random.default_rng(0)
    flat, told = torch.from_numpy(keys.reshape(-1, keys.shape[2])), np.tile(digits, len(keys))
    others = [np.flatnonzero(told == digit) for digit in range(10)]
    deviation = float(flat.std())
    torch.manual_seed(0)
    network = Network(flat.mean(0).numpy(), deviation)

    def batch(chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Return some keys with noise; some of them lie between two recordings, as of a speaker between two."""
        here = told[chosen.numpy()]
        other = torch.from_numpy(np.array([rng.choice(others[digit]) for digit in here]))
        share = torch.rand(len(chosen), 1) * (torch.rand(len(chosen), 1) < 0.3)
        inputs = flat[chosen] + share * (flat[other] - flat[chosen])
        return inputs + 0.3 * deviation * torch.randn_like(inputs), torch.from_numpy(here)

    def loss(network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        cosines = network(inputs) - MARGIN * F.one_hot(targets, 10)
        return F.cross_entropy(TRAINED_AT * cosines, targets, label_smoothing=0.1)

    trained = train(
        network, batch, loss, samples=len(flat), epochs=epochs, batch_size=256, rate=3e-3, decay=0.01,
        dtype=torch.float32,
    )  # fmt: skip
    return trained.beside(keys[0].mean(axis=0), weight, sharpness)


def right_neighbors(keys: np.ndarray, digits: np.ndarray, requests: int = 100, streams: int = 50) -> float:
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
    """Train on the even recordings, measure on the odd ones, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with fsdd/recordings")
    parser.add_argument(
        "--speakers", action="store_true", help="also measure it on speakers that it was not trained on"
    )
    parser.add_argument("--variations", type=int, default=40, help="of each recording")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--out", type=Path, default=FILE)
    args = parser.parse_args()
    recordings = find_recordings(args.data)
    decode = decoder("audio", max_pixels=1, max_seconds=60.0, max_values=1)
    sounds = [decode("audio/wav", each.path.read_bytes()).samples for each in recordings]
    keys = keys_of(sounds, args.variations, np.random.default_rng(5))
    digits = np.array([int(each.digit) for each in recordings])
    speakers = np.array([each.speaker for each in recordings])
    held_out = np.array([each.held_out for each in recordings])
    projection = learn(keys[:, ~held_out], digits[~held_out], args.epochs)
    rows = [("held out, known speakers", projection, held_out)]
    if args.speakers:
        for pair in combinations(np.unique(speakers), 2):
            theirs = np.isin(speakers, pair)
            learned = learn(keys[:, ~theirs & ~held_out], digits[~theirs & ~held_out], args.epochs)
            rows.append((f"{' and '.join(pair)}, unknown", learned, theirs & held_out))
    for name, learned, where in rows:
        plain = right_neighbors(keys[0, where], digits[where])
        beside = right_neighbors(learned.many(keys[0, where]), digits[where])
        print(f"{name}: {plain:.3f} of the nearest neighbors are right by MFCCs, {beside:.3f} with beliefs beside them")
    args.out.write_bytes(orjson.dumps(rounded(projection.state())))
    print(f"{args.out}: {args.out.stat().st_size} bytes")


def rounded(state: object) -> object:
    """Return a state with the digits that matter."""
    if isinstance(state, dict):
        return {name: rounded(each) for name, each in state.items()}
    return [rounded(each) for each in state] if isinstance(state, list) else round(float(state), 4)


if __name__ == "__main__":
    main()
