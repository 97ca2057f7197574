"""Keys with what a small network believes beside them: a projection that is trained before, and read from a file.

Where the network is sure, beliefs bring together what keys alone do not: the same word from two mouths. Where it is
not, as on what it was not trained for, they are short and much alike, and the keys decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import UNFIT, InvalidValue
from likewise.features.vector import unit, units
from likewise.types import Key, Keys

MOST_LAYERS = 3
LARGEST = 100.0
"""No number of a network is as large: what three layers of 4,096 make of a key at norm 1 stays within float32."""

Layer = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Matrix, shape (inputs, outputs), and bias, shape (outputs,)."""


@dataclass(frozen=True, slots=True)
class Beside:
    """key -> unit((key - mean, weight * softmax(unit(network(key)) @ directions))).

    Between its layers the network cuts off below 0. Directions bound what it can say, and so how sure it can be.
    """

    mean: NDArray[np.float32]
    """Shape (d,)."""
    layers: tuple[Layer, ...]
    """The first one takes d numbers, the others what the one before them makes."""
    directions: NDArray[np.float32]
    """Of each class, shape (numbers of the last layer, classes); their length is the sharpness of the softmax."""
    weight: float
    """Of the beliefs, whose length is 1 where they are certain; keys are at norm 1, and a little shorter less their
    mean."""

    @property
    def dimension(self) -> int:
        """Length of a projected key."""
        return len(self.mean) + int(self.directions.shape[1])

    @property
    def work(self) -> int:
        """Multiply-adds for one key."""
        return sum(matrix.size for matrix, _ in self.layers) + self.directions.size

    def one(self, key: Key) -> Key:
        """Return one projected key, shape (dimension,), unit norm. About 11 us for 104 to 128 to 32 to 10."""
        made = unit(self._made(key)) @ self.directions
        beliefs = np.exp(made - made.max())
        beliefs *= np.float32(self.weight / float(beliefs.sum()))
        return unit(np.concatenate((key - self.mean, beliefs)))

    def many(self, keys: Keys) -> Keys:
        """Return projected keys, shape (n, dimension), unit norm."""
        made = units(self._made(keys)) @ self.directions
        beliefs = np.exp(made - made.max(axis=1, keepdims=True))
        beliefs *= np.float32(self.weight) / beliefs.sum(axis=1, keepdims=True)
        return units(np.concatenate((keys - self.mean, beliefs), axis=1))

    def _made(self, keys: NDArray[np.float32]) -> NDArray[np.float32]:
        for matrix, bias in self.layers[:-1]:
            keys = np.maximum(keys @ matrix + bias, np.float32(0))
        matrix, bias = self.layers[-1]
        made: NDArray[np.float32] = keys @ matrix + bias
        return made

    def state(self) -> dict[str, Any]:
        """Return all of it as lists of numbers, for a file."""
        layers = [{"matrix": matrix.tolist(), "bias": bias.tolist()} for matrix, bias in self.layers]
        return {
            "mean": self.mean.tolist(),
            "layers": layers,
            "directions": self.directions.tolist(),
            "weight": self.weight,
        }

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Beside:
        """Return the projection that `state` described. Raises InvalidValue if unusable, saying what does not fit."""
        try:
            mean, directions = (np.ascontiguousarray(state[name], np.float32) for name in ("mean", "directions"))
            layers = tuple(
                (np.ascontiguousarray(each["matrix"], np.float32), np.ascontiguousarray(each["bias"], np.float32))
                for each in state["layers"]
            )
            weight = float(state["weight"])
        except UNFIT as error:
            raise InvalidValue(
                "a network needs `mean`, `layers` of `matrix` and `bias`, `directions` and `weight`"
            ) from error
        if not 1 <= len(layers) <= MOST_LAYERS:
            raise InvalidValue(f"it has {len(layers)} `layers`, give 1 to {MOST_LAYERS}")
        width = mean.size
        for number, (matrix, bias) in enumerate(layers, 1):
            if matrix.ndim != 2 or not matrix.size or len(matrix) != width or bias.shape != matrix.shape[1:]:
                raise InvalidValue(f"it has a layer {number} that does not fit what comes before it, or its own bias")
            width = matrix.shape[1]
        if directions.ndim != 2 or not directions.size or len(directions) != width:
            raise InvalidValue(f"its `directions` do not fit its last layer, which makes {width} numbers")
        numbers = (mean, *(part for layer in layers for part in layer), directions)
        if mean.ndim != 1 or not all(np.abs(part).max() < LARGEST for part in numbers) or not 0 < weight < LARGEST:
            raise InvalidValue(f"it has a number that is not finite or beyond {LARGEST:g}, or no `weight` above 0")
        return cls(mean, layers, directions, weight)
