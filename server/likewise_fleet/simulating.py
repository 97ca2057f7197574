"""`likewise fleet --simulate`: from a real run's JSON to a larger fleet."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from likewise.errors import InvalidValue
from likewise_fleet.capacity import resources
from likewise_fleet.networks import network, phone
from likewise_fleet.simulation import Simulated, Simulation, World, grown

AGREEMENT = ("mean_ms", "joules", "bytes", "inferences")
"""What a simulation of the real run's own fleet is held against."""


def load_run(path: Path) -> dict[str, Any]:
    """Return what `likewise fleet --json` wrote. Raises InvalidValue for anything else."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        if not found["calibration"]["ways"] or not found["ways"] or found["phones"] < 1:
            raise ValueError("no ways")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidValue(
            f"{path} is no real run of a fleet ({error}); make one with `likewise fleet --json FILE`."
        ) from error
    return found


def simulate(
    real: dict[str, Any],
    *,
    phones: int,
    requests: int,
    nodes: int,
    cores: int,
    partitions: int,
    seed: int,
    advance: Callable[[str, int], None] = lambda way, done: None,
) -> dict[str, Any]:
    """Return the figures of a larger fleet, how well the real one is met, and what ends first.

    Raises InvalidValue for numbers out of range and for a run that says too little.
    """
    world = world_of(real, nodes, cores, partitions)
    calibration = real["calibration"]
    demand = grown(calibration["demand"], phones, requests, seed)
    found: dict[str, Simulated] = {}
    for way in calibration["ways"]:
        found[way] = Simulation(calibration, way, demand, world).run(lambda done, way=way: advance(way, done))  # type: ignore[misc]
    sharing = next((way for way in ("both", "edge_cache") if way in found), None)
    ends = [] if sharing is None else resources(calibration, demand, world, found[sharing], leases=sharing == "both")
    return {
        "phones": phones,
        "requests": requests,
        "nodes": nodes,
        "cores": cores,
        "partitions": partitions,
        "places": demand.place_count,
        "calibrated_on": {name: real[name] for name in ("phones", "requests", "network", "workloads", "seed")},
        "ways": {way: each.document() for way, each in found.items()},
        "agreement": agreement(real),
        "resources": [each.document() for each in ends],
        "redis_measured_here": bool(calibration["redis"]["measured"]),
    }


def world_of(real: dict[str, Any], nodes: int = 1, cores: int = 2, partitions: int = 1) -> World:
    """Return the world that a run was in, with other nodes."""
    base = phone("entry")
    told = real["phone"]
    there = replace(base, name=told["name"], factor=told["factor"], watts=told["watts"])
    return World(network(real["network"]), there, nodes, cores, partitions)


def agreement(real: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return, by way, how far a simulation of the real run's own fleet is off: share of each figure."""
    calibration = real["calibration"]
    demand = grown(calibration["demand"], real["phones"], real["requests"], real["seed"])
    off: dict[str, dict[str, float]] = {}
    for way, figures in real["ways"].items():
        found = Simulation(calibration, way, demand, world_of(real)).run().document()
        off[way] = {
            name: found[name] / figures[name] - 1 if figures[name] else float(found[name] != 0) for name in AGREEMENT
        }
    return off
