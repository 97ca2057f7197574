"""Every way to make a network smaller, by name.

The categories are those of surveys of the field: fewer or smaller *weights*, cheaper *convolutions*, another
*architecture*. Strengths go from mild to strong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from likewise.compression.examples import Task, scores
from likewise.compression.factors import depthwise, fire, low_rank
from likewise.compression.heads import cut_names, headed, last_map
from likewise.compression.network import Floats, Network
from likewise.compression.particles import particle_importance
from likewise.compression.precision import dynamic_int8, float16, static_int8
from likewise.compression.pruning import Importance, Scale, magnitude, pruned
from likewise.compression.refusals import NotApplicable
from likewise.compression.saliency import channel_pruned
from likewise.compression.sharing import coded, shared
from likewise.compression.students import student

Stage = Literal["structure", "sparsity", "precision"]
"""The order in which ways are combined: what is computed, which weights are zero, how they are written."""
Make = Callable[[Network, Task, float], Network]
"""A network made smaller, with a strength. Raises NotApplicable where it has nothing that this works on."""
RANGES = 200
"""Inputs that tell the ranges of activations."""
MOST_HEADS = 6000
"""Inputs that a linear layer is fitted to."""


@dataclass(frozen=True, slots=True)
class Method:
    """One way."""

    name: str
    category: Literal["weights", "convolutions", "architecture"]
    stage: Stage
    make: Make
    strengths: Sequence[float] = (1.0,)
    says: str = ""
    """The strength in words, a format string."""
    trains: bool = False
    """Whether what comes of it is worth training further."""
    needs_torch: bool = False
    usual: bool = True
    """Whether it is tried where no methods are named."""
    fresh: bool = False
    """Whether what it makes knows nothing before it is trained."""
    head: str = ""
    """What the names of the weights begin with that are trained; empty: all."""

    def how(self, strength: float) -> str:
        """Return its settings in words."""
        return self.says.format(strength)


def _changed(make: Make, missing: str) -> Make:
    """Return a way that raises NotApplicable where nothing changed."""

    def made(network: Network, task: Task, strength: float) -> Network:
        found = make(network, task, strength)
        if found.model.graph == network.model.graph and _equal(found.weights, network.weights):
            raise NotApplicable(missing)
        return found

    return made


def _equal(one: Mapping[str, Floats], other: Mapping[str, Floats]) -> bool:
    return one.keys() == other.keys() and all(
        value is other[name] or np.array_equal(value, other[name]) for name, value in one.items()
    )


def _pooled_head(network: Network, task: Task, strength: float) -> Network:
    shapes = network.shapes()
    tensor = last_map(network, shapes) if task.labelled and len(network.outputs) == 1 else None
    if tensor is None:
        raise NotApplicable("it has no map that is flattened for dense layers")
    if min(shapes[tensor][2:]) < strength:
        raise NotApplicable("its last map is smaller than that")
    return _headed(network, task, tensor, int(strength))


def _exit(network: Network, task: Task, strength: float) -> Network:
    if not task.labelled or len(network.outputs) != 1:
        raise NotApplicable("exits are for scores of classes, in one output")
    shapes = network.shapes()
    cuts = [each for each in cut_names(network) if len(shapes.get(each[0], ())) == 4 and each[1] < 0.95]
    if not cuts:
        raise NotApplicable("it has no map that all has to pass through")
    return _headed(network, task, min(cuts, key=lambda each: abs(each[1] - strength))[0], 2)


def _headed(network: Network, task: Task, tensor: str, grid: int) -> Network:
    some = task.fitted.spread(MOST_HEADS)
    return headed(network, tensor, grid, some.tensors, scores(some.outputs[0]))


def _second_derivatives(network: Network, task: Task) -> Importance:
    if task.second_derivatives is None:
        raise NotApplicable("second derivatives need PyTorch, `pip install 'likewise[compress]'`, and --train-minutes")
    return task.second_derivatives(network)


def _zeros(importance: Callable[[Network, Task], Importance], scale: Scale) -> Make:
    return lambda network, task, share: pruned(network, share, importance(network, task), scale)


def _fewer_channels(importance: Callable[[Network, Task], Importance]) -> Make:
    return lambda network, task, left: channel_pruned(network, left, task.fitted.tensors, importance(network, task))


_SHARES, _FEW, _LEFT = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97), (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6), (
    0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)  # fmt: skip


_SOURCES: Sequence[tuple[str, Callable[[Network, Task], Importance], Mapping[str, Scale]]] = (
    ("", lambda network, _: magnitude(network), {"pruned": "weight", "kernels": "kernel", "strides": "stride"}),
    ("obd", _second_derivatives, {"": "weight", "-kernels": "kernel", "-strides": "stride"}),
    ("particle", particle_importance, {"-kernels": "kernel", "-strides": "stride"}),
)
"""What says which weights matter, and the names of what is zero by it at each scale."""

METHODS: tuple[Method, ...] = (
    Method("float16", "weights", "precision", lambda net, _, __: float16(net)),
    Method("int8-dynamic", "weights", "precision", lambda net, _, __: dynamic_int8(net)),
    Method("int8", "weights", "precision", lambda net, task, __: static_int8(net, task.fitted.spread(RANGES).tensors)),
    Method(
        "shared", "weights", "precision", lambda net, _, bits: shared(net, int(bits)), (8, 7, 6, 5, 4, 3), "{:.0f} bits"
    ),
    Method(
        "coded", "weights", "precision", lambda net, _, noise: coded(net, noise),
        (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5), "noise {:.3g}",
    ),
    *(
        Method(
            f"{source}{what}", "weights", "sparsity", _zeros(importance, scale), _FEW if what else _SHARES,
            "{:.0%} zero", trains=True, needs_torch=source.startswith("obd"), usual=not source or not what,
        )
        for source, importance, parts in _SOURCES
        for what, scale in parts.items()
    ),
    Method(
        "obd-channels", "convolutions", "structure", _fewer_channels(_second_derivatives), _LEFT, "{:.0%} of the work",
        trains=True, needs_torch=True, usual=False,
    ),
    Method(
        "particle-channels", "convolutions", "structure", _fewer_channels(particle_importance), _LEFT,
        "{:.0%} of the work", trains=True, usual=False,
    ),
    Method(
        "low-rank-dense", "weights", "structure",
        _changed(lambda net, _, energy: low_rank(net, energy, ["dense"]), "no dense layer gets smaller by it"),
        (0.99, 0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5), "energy {:.3g}", trains=True,
    ),
    Method(
        "low-rank", "convolutions", "structure",
        _changed(lambda net, _, energy: low_rank(net, energy), "no layer gets smaller by it"),
        (0.99, 0.98, 0.97, 0.95, 0.93, 0.9, 0.85, 0.8, 0.7), "energy {:.3g}", trains=True,
    ),
    Method(
        "channels", "convolutions", "structure",
        _changed(
            lambda net, task, left: channel_pruned(net, left, task.fitted.tensors), "no channels can be taken out"
        ),
        _LEFT, "{:.0%} of the work", trains=True,
    ),
    Method(
        "depthwise", "convolutions", "structure",
        _changed(lambda net, _, count: depthwise(net, int(count)), "no convolution gets cheaper by it"),
        (6, 5, 4, 3, 2, 1), "{:.0f} per channel", trains=True,
    ),
    Method(
        "fire", "convolutions", "structure",
        _changed(lambda net, _, share: fire(net, share), "no convolution gets cheaper by it"),
        (0.5, 0.25), "squeezed to {:.0%}", trains=True,
    ),
    Method(
        "pooled-head", "architecture", "structure", _pooled_head, (4, 2, 1), "{0:.0f} × {0:.0f} places", trains=True
    ),
    Method("exit", "architecture", "structure", _exit, (0.85, 0.7, 0.6, 0.45, 0.3, 0.15), "at {:.0%}", trains=True,
        head="likewise_head",),
    Method(
        "student", "architecture", "structure", lambda net, _, width: student(net, int(width)), (32, 64, 48, 24, 16),
        "{:.0f} channels first", trains=True, needs_torch=True, fresh=True,
    ),
)  # fmt: skip
"""All of them."""
