"""Nested capacities trained together: the weights are common, a scale and an offset of each filter are each one's own.

Before the training those make the outputs of each filter like the full model's, as normalization of its own would. In
each step every capacity sees the same inputs; the full model is the teacher of all (see `training.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from likewise.compression.making import Made
from likewise.compression.modules import Module
from likewise.compression.nested import Plan, apply, capacity, ordered, places, plan, read, write
from likewise.compression.network import Layer, Network, attribute
from likewise.compression.training import FRESH_RATE, RATE, Trainer
from likewise.types import Tensor

NESTED_RATE = 1e-3
"""The highest: small capacities begin far from the full model, large ones near to it."""
RATES_ALONE = (RATE, NESTED_RATE, FRESH_RATE)
"""Of which each takes the one that suits it, where they are trained by themselves."""
MATCHED = 128
"""Inputs over which the outputs of filters are compared."""
MOST_SCALED = 5.0


class Capacity(Module):
    """One capacity, which computes with the common weights."""

    def __init__(self, whole: Module, network: Network, at: dict[str, Tensor], last: bool) -> None:
        """Set up. network: the capacity; at: where its weights stand in the whole's; last: it is the whole."""
        super().__init__(network, frozen=network.weights)
        self._whole = [whole]  # not registered: its weights are trained once
        self._at = {name: _taken(places, whole.network.weights[name].shape) for name, places in at.items()}
        self._own_keys: dict[str, str] = {}
        self.own = nn.ParameterDict()
        self._turned = {
            layer.weight: layer.kind == "dense" and not attribute(layer.node, "transB", 0) for layer in network.layers()
        }
        if not last:
            for number, layer in enumerate(network.layers()):
                self._add(layer.weight, f"s{number}", np.ones(len(network.matrix(layer)), np.float32))
                if layer.bias:
                    self._add(layer.bias, f"b{number}", network.weights[layer.bias].copy())

    def _add(self, name: str, key: str, value: Tensor) -> None:
        self._own_keys[name] = key
        self.own[key] = nn.Parameter(torch.from_numpy(value))

    def weight(self, name: str) -> Any:
        """Return a weight as it is now: of the whole's those that it has, by its own scale."""
        key = self._own_keys.get(name)
        if key is not None and name not in self._turned:
            return self.own[key]
        if name not in self._at:
            return super().weight(name)
        value = self._at[name](self._whole[0].weight(name))
        if key is None:
            return value
        scale = self.own[key]
        return value * (scale if self._turned[name] else scale.view(-1, *[1] * (value.ndim - 1)))

    def match(self, inputs: Any) -> None:
        """Let the outputs of each filter have the mean and the spread that they have in the whole.

        They lack what the channels that are left out would add. Layer by layer, so that each sees what it will see.
        """
        with torch.no_grad():
            wanted = self._whole[0].tensors(inputs)
            layers = {layer.output: layer for layer in self.network.layers()}
            known = {self.network.input: inputs}
            for node in self.network.model.graph.node:
                name = node.output[0]
                known[name] = self.computed(node, known)
                if name in layers and layers[name].weight in self._own_keys:
                    self._match(layers[name], known[name], wanted[name])
                    known[name] = self.computed(node, known)

    def _match(self, layer: Layer, made: Any, wanted: Any) -> None:
        scale = self.own[self._own_keys[layer.weight]]
        mean, spread = _moments(made, layer)
        wanted_mean, wanted_spread = (each[: len(scale)] for each in _moments(wanted, layer))
        factor = (wanted_spread / spread.clamp_min(1e-6)).clamp(1 / MOST_SCALED, MOST_SCALED)
        scale.mul_(factor)
        if layer.bias:
            offset = self.own[self._own_keys[layer.bias]]
            offset.copy_((offset - mean) * factor + wanted_mean)

    def values(self) -> dict[str, Tensor]:
        """Return its own scales and offsets, by weight."""
        with torch.no_grad():
            return {name: self.own[key].numpy().copy() for name, key in self._own_keys.items()}


def _moments(value: Any, layer: Layer) -> tuple[Any, Any]:
    """Return the mean and the spread of the outputs of each filter."""
    by_filter = value.movedim(1 if layer.kind == "conv" else -1, 0).flatten(1).float()
    return by_filter.mean(1), by_filter.std(1, correction=0)


def _taken(places: NDArray[np.int64], shape: tuple[int, ...]) -> Callable[[Any], Any]:
    """Return what takes a capacity's weight out of the whole's. Slices, where they do, cost far less than places."""
    first = tuple(slice(size) for size in places.shape)
    if np.array_equal(np.arange(math.prod(shape)).reshape(shape)[first], places):
        return lambda value: value[first]
    chosen = torch.from_numpy(places)
    return lambda value: value.reshape(-1)[chosen]


@dataclass(frozen=True, slots=True)
class Nested:
    """Capacities trained together."""

    whole: Network
    """The largest."""
    own: list[dict[str, Tensor]]
    """What the smaller ones have of their own, as `nested.write` takes it."""
    starts: list[Network]
    """All, as they were before the training."""
    steps: int
    """That they were trained for."""


def nest(trainer: Trainer, network: Network, found: Plan, steps: int = 0) -> Nested:
    """Return the capacities trained, for as much time as so many networks have, or for some steps."""
    inputs, wanted = trainer.shown()
    whole = Module(network).train()
    last = len(found.kept) - 1
    parts = [
        Capacity(whole, capacity(network, counts), places(network, counts), at == last)
        for at, counts in enumerate(found.kept)
    ]
    starts = []
    for part in parts:
        part.match(inputs[:: -(-len(inputs) // MATCHED)])
        starts.append(part.network.copy())
        apply(starts[-1], part.values())
    parameters = [*whole.parameters(), *(each for part in parts for each in part.own.values())]
    taken = 0
    for drawn in trainer.descend(parameters, NESTED_RATE, len(parts) * trainer.seconds, steps):
        for part in parts:
            trainer.learn(part, inputs[drawn], wanted[drawn])
        taken += 1
    return Nested(whole.eval().result(), [part.values() for part in parts[:-1]], starts, taken)


def alone(trainer: Trainer, start: Network, steps: int) -> Network:
    """Return a network trained for some steps, by the one of several rates that brings it nearest to the full model."""
    return min((trainer.train(start, rate=rate, steps=steps) for rate in RATES_ALONE), key=trainer.distance)


def nested(trainer: Trainer, network: Network, shares: list[float], compare: bool) -> tuple[bytes, list[Made]]:
    """Return the file of capacities with these shares of the channels, and each of them.

    compare: also each trained by itself, from the same start and for as many steps.
    """
    began = monotonic()
    start = ordered(network, trainer.task.fitted.tensors)
    found = plan(start, shares)
    trained = nest(trainer, start, found)
    content = write(trained.whole, found, trained.own)
    each = (monotonic() - began) / len(shares)
    made = []
    for at, (share, part) in enumerate(zip(shares, read(content, network.name, network.shape), strict=True)):
        how = f"{share:.0%} of the channels"
        made.append(Made(f"nested-{at + 1}", "combined", how, part, each))
        if compare:
            began = monotonic()
            single = alone(trainer, trained.starts[at], trained.steps)
            made.append(Made(f"alone-{at + 1}", "combined", how, single, monotonic() - began))
    return content, made
