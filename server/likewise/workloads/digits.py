"""Handwritten digits, photographed by phones: scikit-learn's bundled set of 1,797, nothing to download."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from likewise.errors import InvalidValue
from likewise.workloads.sample import Sample, check_stream_arguments

SIDE = 64
"""Width and height of a photograph in pixels."""


def load_digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return (images, labels): shape (1797, 8, 8), float32 in [0, 1], bright ink on dark; shape (1797,) in 0..9.

    Raises InvalidValue where scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits as load  # an extra: servers do without it
    except ImportError as error:
        raise InvalidValue("The digits come with scikit-learn: pip install 'likewise[demo]'.") from error
    bundle = load()
    return np.asarray(bundle.images, np.float32) / np.float32(16), np.asarray(bundle.target, np.int64)


def held_out(index: int) -> bool:
    """Say whether a digit, by its position in the bundled set, is in the half that nothing was trained on."""
    return index % 2 == 1


def photograph(
    digit: NDArray[np.float32], *, shift: tuple[float, float] = (0.0, 0.0), gain: float = 1.0, lift: float = 0.0
) -> NDArray[np.uint8]:
    """Return an 8 × 8 digit as a camera would see it: shape (64, 64), uint8.

    digit: shape (8, 8), in [0, 1]; enlarged by cubic interpolation.
    shift: right and down, in pixels of the photograph.
    gain, lift: light; brightness is lift + gain · ink, of a full scale of 1.
    """
    scale = SIDE / digit.shape[0]
    centre = (scale - 1) / 2  # pixel centres stay where a plain resize has them
    matrix = np.array([[scale, 0, centre + shift[0]], [0, scale, centre + shift[1]]], np.float32)
    enlarged = cv2.warpAffine(digit, matrix, (SIDE, SIDE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    picture: NDArray[np.uint8] = np.clip(255 * (lift + gain * enlarged) + 0.5, 0, 255).astype(np.uint8)
    return picture


class Digits:
    """Every digit once, in a seeded order; longer streams replay them with new shifts and light.

    Each phone has its own exposure and its own hold; both wander a little from shot to shot.
    """

    name = "digits"
    function = "digits"

    def __init__(self, *, held_out_only: bool = False) -> None:
        """Load the set. Raises InvalidValue where scikit-learn is not installed."""
        self._images, self._labels = load_digits()
        self._indexes = [i for i in range(len(self._labels)) if held_out(i) or not held_out_only]

    def stream(self, requests: int | None, seed: int, devices: int) -> Sequence[Sample]:
        """Return the digits as 64 × 64 gray PNG files; see `Workload.stream`."""
        check_stream_arguments(requests, seed, devices)
        rng = np.random.default_rng([seed, 1])
        total = len(self._indexes) if requests is None else requests
        hold = rng.uniform(-1, 1, (devices, 2))
        exposure = rng.uniform(0.8, 1.0, devices)
        black = rng.uniform(0.0, 0.05, devices)
        samples: list[Sample] = []
        while len(samples) < total:
            for position in rng.permutation(self._indexes)[: total - len(samples)]:
                index = int(position)
                device = int(rng.integers(devices))
                right, down = hold[device] + rng.uniform(-1, 1, 2)
                picture = photograph(
                    self._images[index],
                    shift=(float(right), float(down)),
                    gain=float(exposure[device] * rng.uniform(0.93, 1.0)),
                    lift=float(black[device] + rng.uniform(0.0, 0.02)),
                )
                body = cv2.imencode(".png", picture)[1].tobytes()
                samples.append(Sample(device, body, "image/png", str(self._labels[index]), held_out(index)))
        return samples
