"""Keys of pictures, as the server makes them: gray, color, DCT, HOG with color."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


def gray(pixels: Pixels) -> Pixels:
    """Return the luma (ITU-R BT.601) in the whole numbers of OpenCV, shape (height, width)."""
    if pixels.ndim == 2:
        return pixels
    red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
    return ((red * 9798 + green * 19235 + blue * 3735 + (1 << 14)) >> 15).astype(np.uint8)


def rgb(pixels: Pixels) -> Pixels:
    """Return pixels with three channels."""
    return pixels[..., :3] if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def resize(pixels: Pixels, width: int, height: int) -> Pixels:
    """Return pixels at another size: averaged over areas when shrinking, bilinear when enlarging."""
    high, wide = pixels.shape[:2]
    if (wide, high) == (width, height):
        return pixels
    if wide < width or high < height:
        return _enlarged(pixels, width, height)
    return _shrunk(pixels, width, height)


def _shrunk(pixels: Pixels, width: int, height: int) -> Pixels:
    """Return the means over areas, summed and rounded in the order of OpenCV, so that ties fall alike."""
    high, wide = pixels.shape[:2]
    values = pixels.reshape(high, wide, -1)
    if wide % width == 0 and high % height == 0:
        across, down = wide // width, high // height
        sums = values.reshape(height, down, width, across, -1).sum(axis=(1, 3), dtype=np.int32)
        if across == down == 2:
            out: Pixels = ((sums + 2) >> 2).astype(np.uint8)
        else:
            out = np.rint(sums.astype(np.float32) * np.float32(1 / (across * down))).astype(np.uint8)
        return out.reshape(height, width, *pixels.shape[2:])
    rows = _summed(values.astype(np.float32).transpose(1, 0, 2), width).transpose(1, 0, 2)
    means = np.rint(_summed(rows, height))
    return np.clip(means, 0, 255).astype(np.uint8).reshape(height, width, *pixels.shape[2:])


def _summed(values: Floats, target: int) -> Floats:
    """Return weighted sums along the first axis, one tap after another."""
    places, weights = _taps(len(values), target)
    out = np.zeros((target, *values.shape[1:]), np.float32)
    for place, weight in zip(places, weights):
        out += values[place] * weight[:, None, None]
    return out


@lru_cache(maxsize=64)
def _taps(size: int, target: int) -> tuple[Ints, Floats]:
    # Shape (taps, target) both: which pixels lie in the area of each larger one, and their shares of it.
    scale = size / target
    begin = np.arange(target) * scale
    end, width = begin + scale, np.minimum(scale, size - begin)
    last = np.minimum(np.floor(end), size - 1).astype(np.int32)
    first = np.minimum(np.ceil(begin), last).astype(np.int32)
    taps = int((last - first).max()) + 2
    places, weights = np.zeros((taps, target), np.int32), np.zeros((taps, target), np.float32)
    places[0] = np.maximum(first - 1, 0)
    weights[0] = np.where(first - begin > 1e-3, (first - begin) / width, 0.0)
    for tap in range(1, taps):
        place = first + tap - 1
        inside = np.where(place < last, 1.0 / width, 0.0)
        rest = np.minimum(np.minimum(end - last, 1.0), width) / width
        rest = np.where((place == last) & (end - last > 1e-3), rest, 0.0)
        places[tap], weights[tap] = np.minimum(place, size - 1), inside + rest
    return places, weights


def _enlarged(pixels: Pixels, width: int, height: int) -> Pixels:
    """Return pixels at another size, bilinear, in the fixed-point numbers of OpenCV."""
    high, wide = pixels.shape[:2]
    values = pixels.reshape(high, wide, -1).astype(np.int32)
    left, share = _between(wide, width)
    share = np.where((left < 0) | (left >= wide - 1), np.float32(0), share)
    left = np.clip(left, 0, wide - 1)
    right = np.minimum(left + 1, wide - 1)
    across = values[:, left] * _parts(1 - share)[None, :, None] + values[:, right] * _parts(share)[None, :, None]
    top, share = _between(high, height)
    upper = across[np.clip(top, 0, high - 1)] >> 4
    lower = across[np.clip(top + 1, 0, high - 1)] >> 4
    mixed = ((_parts(1 - share)[:, None, None] * upper) >> 16) + ((_parts(share)[:, None, None] * lower) >> 16)
    out: Pixels = ((mixed + 2) >> 2).astype(np.uint8).reshape(height, width, *pixels.shape[2:])
    return out


@lru_cache(maxsize=64)
def _between(size: int, target: int) -> tuple[Ints, Floats]:
    # The pixel of lower index of the two around each target, -1 before the first, and the weight of the next one.
    place = ((np.arange(target) + 0.5) * (size / target) - 0.5).astype(np.float32)
    low = np.floor(place)
    return low.astype(np.int32), place - low


def _parts(share: Floats) -> Ints:
    return np.rint(share * 2048).astype(np.int32)


def _gray_key(pixels: Pixels) -> Floats:
    key: Floats = resize(gray(pixels), 12, 12).ravel() * np.float32(1 / 255)
    key -= key.mean()
    return key


def _color_key(pixels: Pixels) -> Floats:
    key: Floats = resize(rgb(pixels), 8, 8).ravel() * np.float32(1 / 255)
    key -= key.mean()
    return key


@lru_cache(maxsize=1)
def _cosines() -> Floats:
    frequency, place = np.arange(8)[:, None], np.arange(32)[None, :]
    basis = np.cos(np.pi * frequency * (2 * place + 1) / 64) * np.sqrt(2 / 32)
    basis[0] *= np.sqrt(0.5)
    return np.ascontiguousarray(basis, np.float32)


def _dct_key(pixels: Pixels) -> Floats:
    basis = _cosines()
    luma = resize(gray(pixels), 32, 32).astype(np.float32)
    return np.ascontiguousarray((basis @ luma @ (basis.T / np.float32(255))).ravel()[1:], np.float32)


def _hog_key(pixels: Pixels) -> Floats:
    small = resize(rgb(pixels), 32, 32)
    key = np.empty(432, np.float32)
    key[:324] = _gradients(gray(small))
    planes = np.array([[0.299, 0.587, 0.114], [0.5, -0.5, 0.0], [0.25, 0.25, -0.5]], np.float32)
    coarse = planes @ resize(small, 6, 6).reshape(36, 3).T.astype(np.float32)
    coarse[0] -= coarse[0].mean()
    key[324:] = _unit(coarse.ravel()) * np.float32(0.5)
    return key


def _gradients(luma: Pixels) -> Floats:
    padded = np.pad(luma.astype(np.float32), 1, mode="reflect")
    across = (padded[1:-1, 2:] - padded[1:-1, :-2]).ravel()
    down = (padded[2:, 1:-1] - padded[:-2, 1:-1]).ravel()
    weight = np.sqrt(across * across + down * down)
    # Direction without sign in 9 bins; each pixel votes for the two nearest.
    place = _angle(across, down) * np.float32(9 / np.pi)
    floor = place.astype(np.int64)
    upper = (place - floor) * weight
    pixel, low = np.arange(1024), floor % 9
    votes = np.zeros(9 * 1024, np.float32)
    votes[low * 1024 + pixel] = weight - upper
    votes[(low + 1) % 9 * 1024 + pixel] = upper
    shares, places = _cells()
    blocks = (votes.reshape(9, 1024) @ shares).ravel()[places]
    norms = np.sqrt(np.einsum("ij,ij->i", blocks, blocks)) + np.float32(1.0)
    blocks = np.minimum(blocks / norms[:, None], np.float32(0.2))
    norms = np.sqrt(np.einsum("ij,ij->i", blocks, blocks)) + np.float32(1e-3)
    return _unit((blocks / norms[:, None]).ravel())


def _angle(across: Floats, down: Floats) -> Floats:
    """Return directions in [0, 2 pi), by the polynomial that OpenCV takes for the arctangent."""
    x, y = np.abs(across), np.abs(down)
    tiny = np.float32(2.220446e-16)
    ratio = np.minimum(x, y) / (np.maximum(x, y) + tiny)
    square = ratio * ratio
    turn = np.float32(180 / np.pi)
    p1, p3 = np.float32(0.9997878412794807) * turn, np.float32(-0.3258083974640975) * turn
    p5, p7 = np.float32(0.1555786518463281) * turn, np.float32(-0.04432655554792128) * turn
    degrees = (((p7 * square + p5) * square + p3) * square + p1) * ratio
    degrees = np.where(x >= y, degrees, np.float32(90) - degrees)
    degrees = np.where(across < 0, np.float32(180) - degrees, degrees)
    degrees = np.where(down < 0, np.float32(360) - degrees, degrees)
    return (degrees * np.float32(np.pi / 180)).astype(np.float32)


@lru_cache(maxsize=1)
def _cells() -> tuple[Floats, NDArray[Any]]:
    # Each pixel's share in each of 16 cells, and where each number of a block stands among (bin, cell).
    centers, place = np.arange(4) * 8 + 3.5, np.arange(32)
    share = np.maximum(0, 1 - np.abs(place[:, None] - centers[None, :]) / 8)
    shares = np.ascontiguousarray(np.einsum("yi,xj->yxij", share, share).reshape(1024, 16), np.float32)
    row, column = np.arange(3)[:, None, None, None], np.arange(3)[None, :, None, None]
    cell = (row + np.arange(2)[None, None, :, None]) * 4 + column + np.arange(2)[None, None, None, :]
    return shares, (cell.reshape(9, 4)[:, :, None] + 16 * np.arange(9)).reshape(9, 36)


def _unit(key: Floats) -> Floats:
    norm = float(np.sqrt(key.dot(key)))
    return key * np.float32(1.0 / norm) if norm > 1e-12 else np.zeros_like(key)


EXTRACTORS: dict[str, Callable[[Pixels], Floats]] = {
    "gray": _gray_key,
    "color": _color_key,
    "dct": _dct_key,
    "hog": _hog_key,
}
