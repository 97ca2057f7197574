"""What a run is required to come to, as `--require` takes it."""

from __future__ import annotations

from collections.abc import Mapping

from likewise.errors import InvalidValue

NAMES = ("accuracy", "speedup", "device_speedup", "energy")
"""Of the best way: accuracy; mean latency on the edge, and on the device, ÷ its; energy on the device ÷ its."""


def parse(text: str) -> dict[str, float]:
    """Return floors by name, from `name=floor,name=floor`. Raises InvalidValue."""
    floors: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        try:
            floors[name] = float(value)
        except ValueError:
            floors[name] = float("nan")
        if name not in NAMES or not floors[name] >= 0:
            raise InvalidValue(f"--require takes NAME=FLOOR with a name of {', '.join(NAMES)}, not `{part}`.")
    return floors


def missed(found: Mapping[str, float], floors: Mapping[str, float]) -> list[str]:
    """Return a line for each floor that was not reached, or that the ways played say nothing of."""
    lines = []
    for name, floor in floors.items():
        if name not in found:
            lines.append(f"{name} is required and not known: play the ways that it compares")
        elif found[name] < floor:
            lines.append(f"{name} is {found[name]:.4g}, at least {floor:g} is required")
    return lines
