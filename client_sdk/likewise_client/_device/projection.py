"""The server's projection of keys on the device, in NumPy alone, where a function's own file has one.

What two keys make is compared by the server, not the keys. The file is JSON: `mean` and `matrix`, or `mean`, `layers`,
`directions` and `weight`, of a small network whose beliefs go beside the key.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise_client._device.keys import Key, scaled

MOST_BYTES = 4 << 20
"""Largest file that is fetched."""
MOST_LAYERS = 3
MOST_WIDE = 4096
"""Numbers that a key has, or a layer makes, at most."""
LARGEST = 1e6
LARGEST_OF_NETWORK = 100.0
"""No number in a file is as large: what is made by them stays within float32."""


@dataclass(frozen=True)
class Projection:
    """What a file makes of keys."""

    sha256: str
    """Digest of the file, in hexadecimal."""
    one: Callable[[Key], Key]
    """From a key, shape (d,), to what is compared in its place, at norm 1. Thread-safe."""


def read_projection(content: bytes, sha256: str, dimension: int, metric: str) -> Projection:
    """Return the projection in a file whose digest was checked. dimension, metric: of the function's primary key type.

    Raises ValueError, saying what is wrong, for anything else.
    """
    if len(content) > MOST_BYTES:
        raise ValueError(f"it has {len(content)} bytes, the limit is {MOST_BYTES}")
    try:
        # no whole numbers: the time that Python takes to read a long one grows with its square
        state = json.loads(content, parse_int=float)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from error
    if not isinstance(state, dict):
        raise ValueError("it is no JSON object")
    if "layers" not in state:
        return Projection(sha256, _linear(state, dimension))
    if metric != "cosine":
        raise ValueError(f"it has `layers`, which take keys at norm 1, and keys here have metric {metric[:40]}")
    return Projection(sha256, _beside(state, dimension))


def _linear(state: dict[str, Any], dimension: int) -> Callable[[Key], Key]:
    mean = _numbers(state, "mean", (dimension,), LARGEST)
    matrix = _numbers(state, "matrix", (dimension, None), LARGEST)

    def one(key: Key) -> Key:
        with np.errstate(over="ignore", invalid="ignore"):
            return scaled(np.dot(key - mean, matrix))

    return one


def _beside(state: dict[str, Any], dimension: int) -> Callable[[Key], Key]:
    """Return key -> unit((key - mean, weight * softmax(unit(network(key)) @ directions)))."""
    mean = _numbers(state, "mean", (dimension,), LARGEST_OF_NETWORK)
    tables, layers, width = state["layers"], [], dimension
    if not isinstance(tables, list) or not 1 <= len(tables) <= MOST_LAYERS:
        raise ValueError(f"`layers` is no list of 1 to {MOST_LAYERS}")
    for table in tables:
        matrix = _numbers(table, "matrix", (width, None), LARGEST_OF_NETWORK)
        width = matrix.shape[1]
        layers.append((matrix, _numbers(table, "bias", (width,), LARGEST_OF_NETWORK)))
    directions = _numbers(state, "directions", (width, None), LARGEST_OF_NETWORK)
    weight = float(_numbers(state, "weight", (), LARGEST_OF_NETWORK))
    if not weight > 0.0:
        raise ValueError("`weight` is not above 0")
    *inner, (last, bias) = layers

    def one(key: Key) -> Key:
        made = key
        for matrix, offset in inner:
            made = np.maximum(made @ matrix + offset, np.float32(0))
        made = scaled(made @ last + bias) @ directions
        beliefs = np.exp(made - made.max())
        beliefs *= np.float32(weight / float(beliefs.sum()))
        return scaled(np.concatenate((key - mean, beliefs)))

    return one


def _numbers(table: Any, name: str, shape: tuple[int | None, ...], largest: float) -> NDArray[np.float32]:
    """Return an array of a table. shape: None where any length up to the widest will do."""
    if not isinstance(table, dict) or name not in table:
        raise ValueError(f"`{name}` is missing")
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            array = np.array(table[name], np.float32, order="C")
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` is no array of numbers") from error
    fits = array.ndim == len(shape) and all(
        0 < has <= MOST_WIDE if wanted is None else has == wanted for has, wanted in zip(array.shape, shape)
    )
    if not fits:
        raise ValueError(f"`{name}` has shape {array.shape}, which does not fit what goes into it")
    if not (np.abs(array) < largest).all():
        raise ValueError(f"`{name}` has a number that is not finite, or not below {largest:g}")
    return array
