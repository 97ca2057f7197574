"""Time and memory of a model on a machine, from its description and the machine's profile.

Source: Augur (Lu et al., "Modeling the Resource Requirements of Convolutional Neural Networks on Mobile Devices",
ACM Multimedia 2017), with the costs of ONNX Runtime's own layers in place of those of matrix products alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from likewise.estimation.arena import held
from likewise.estimation.description import Description
from likewise.estimation.features import coldness, features
from likewise.estimation.isolation import described
from likewise.estimation.profiles import Profile
from likewise.estimation.reading import InputShapes


@dataclass(frozen=True, slots=True)
class Cost:
    """One layer, as it runs."""

    name: str
    operator: str
    output: tuple[int, ...] | None
    """Shape of its first output."""
    ms: float | None
    """None where it cannot be told."""
    macs: int
    parameters: int
    activations: int
    """Numbers that it puts out."""
    unknown: str = ""
    """Why its time cannot be told."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a model costs for one run."""

    total_ms: float
    """Without the layers that cannot be told."""
    peak_bytes: int
    """What loading and running it adds to a process: weights, tensors, and the session's own."""
    weight_bytes: int
    arena_bytes: int
    """Of `peak_bytes`: tensors, and what holds them."""
    parameters: int
    macs: int
    activations: int
    layers: tuple[Cost, ...]
    complete: bool
    """Whether the time of every layer could be told."""
    notes: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def estimate(model_path: Path, profile: Profile, *, shapes: InputShapes | None = None, batch: int = 1) -> Estimate:
    """Return what a model costs on a machine, without running it.

    shapes: of inputs that have open axes, by name; batch: first axis of inputs that leave it open.
    Raises InvalidFunction and InvalidValue; see `reading.read`.
    """
    return priced(described(model_path, shapes or {}, batch), profile)


def priced(network: Description, profile: Profile) -> Estimate:
    """Return what a network costs on a machine."""
    cold = coldness(network.footprint)
    layers: list[Cost] = []
    for layer in network.layers:
        found = features(layer, network, cold)
        made = network.values.get(layer.outputs[0]) if layer.outputs else None
        layers.append(
            Cost(
                layer.name, layer.operator, made.shape if made else None,
                None if found is None else profile.costs.microseconds(found) / 1e3,
                layer.macs, layer.parameters,
                sum(network.values[name].count for name in layer.outputs if name in network.values),
                layer.unknown or ("" if found else "its shapes are not known"),
            )
        )  # fmt: skip
    weights = sum(each.size_bytes for each in network.values.values() if each.weight)
    arena = held(network)
    own = profile.session_bytes + profile.layer_bytes * len(layers)
    unknown = _reasons(layers)
    return Estimate(
        profile.run_us / 1e3 + sum(each.ms or 0.0 for each in layers), int(weights + arena + own), weights, arena,
        network.parameters, network.macs, network.activations, tuple(layers), not unknown,
        (*network.notes, *unknown),
    )  # fmt: skip


def _reasons(layers: list[Cost]) -> list[str]:
    """Return a note for each reason why layers are left out, with how many."""
    counts: Mapping[str, int]
    counts = {}
    for each in layers:
        if each.ms is None:
            counts[each.unknown] = counts.get(each.unknown, 0) + 1
    notes = [f"Not estimated: {count} layer{'s'[: count > 1]}: {why}." for why, count in counts.items()]
    return notes if len(notes) <= 8 else [*notes[:8], f"… and {len(notes) - 8} reasons more."]
