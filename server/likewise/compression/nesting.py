"""Nested capacities trained together: the weights are common, a scale and an offset of each filter are each one's own.

In each step every capacity sees the same inputs; the full model is the teacher of all (see `training.py`).
"""

from __future__ import annotations

import math
from time import monotonic, thread_time
from typing import Any

import numpy as np
import torch
from torch import nn

from likewise.compression.making import Made
from likewise.compression.modules import Module
from likewise.compression.nested import Plan, capacity, ordered, places, plan, read, write
from likewise.compression.network import Network
from likewise.compression.training import BATCH, RATE, Trainer
from likewise.types import Tensor


class Capacity(Module):
    """One capacity, which computes with the common weights."""

    def __init__(self, whole: Module, network: Network, at: dict[str, Tensor], last: bool) -> None:
        """Set up. network: the capacity; at: where its weights stand in the whole's; last: it is the whole."""
        super().__init__(network, frozen=network.weights)
        self._whole = [whole]  # not registered: its weights are trained once
        self._at = {name: torch.from_numpy(places) for name, places in at.items()}
        self._last = last
        self._own_keys: dict[str, str] = {}
        self.own = nn.ParameterDict()
        self._turned = {
            layer.weight: layer.kind == "dense" and network.matrix(layer).shape != network.weights[layer.weight].shape
            for layer in network.layers()
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
        value = self._whole[0].weight(name).reshape(-1)[self._at[name]]
        if key is None:
            return value
        scale = self.own[key]
        return value * (scale if self._turned[name] else scale.view(-1, *[1] * (value.ndim - 1)))

    def values(self) -> dict[str, Tensor]:
        """Return its own scales and offsets, by weight."""
        with torch.no_grad():
            return {name: self.own[key].numpy().copy() for name, key in self._own_keys.items()}


def nest(trainer: Trainer, network: Network, found: Plan, seconds: float) -> tuple[Network, list[dict[str, Tensor]]]:
    """Return the largest capacity trained, and what the smaller ones have of their own. seconds: of processor time."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    inputs, wanted = trainer.shown()
    whole = Module(network).train()
    parts = [
        Capacity(whole, capacity(network, counts), places(network, counts), at == len(found.kept) - 1)
        for at, counts in enumerate(found.kept)
    ]
    shared, own = list(whole.parameters()), [each for part in parts for each in part.own.values()]
    optimizer = torch.optim.AdamW(
        [
            {"params": [each for each in shared if each.ndim > 1], "weight_decay": 0.02},
            {"params": [*(each for each in shared if each.ndim <= 1), *own], "weight_decay": 0.0},
        ]
    )
    began = thread_time()
    while (spent := thread_time() - began) < seconds:
        done = spent / seconds
        for group in optimizer.param_groups:
            group["lr"] = 2 * RATE * min(1.0, 0.1 + done / 0.05) * (0.5 + 0.5 * math.cos(math.pi * done))
        drawn = torch.randint(len(inputs), (BATCH,))
        optimizer.zero_grad(set_to_none=True)
        for part in parts:
            with torch.autocast("cpu", torch.bfloat16, enabled=inputs.ndim == 4):
                said = part(inputs[drawn])
            trainer.loss(said.float(), wanted[drawn]).backward()
        nn.utils.clip_grad_norm_([*shared, *own], 5.0)
        optimizer.step()
    return whole.eval().result(), [part.values() for part in parts[:-1]]


def nested(trainer: Trainer, network: Network, shares: list[float], alone: bool) -> tuple[bytes, list[Made]]:
    """Return the file of capacities with these shares of the channels, and each of them.

    alone: also each trained by itself, from the same start and for as long, to compare.
    """
    began = monotonic()
    start = ordered(network, trainer.task.fitted.tensors)
    found = plan(start, shares)
    trained, own = nest(trainer, start, found, len(shares) * trainer.seconds)
    content = write(trained, found, own)
    each = (monotonic() - began) / len(shares)
    made = []
    for at, (share, part) in enumerate(zip(shares, read(content, network.name), strict=True)):
        how = f"{share:.0%} of the channels"
        made.append(Made(f"nested-{at + 1}", "combined", how, part, each))
        if alone:
            began = monotonic()
            single = trainer.train(capacity(start, found.kept[at]))
            made.append(Made(f"alone-{at + 1}", "combined", how, single, monotonic() - began))
    return content, made
