"""Rows of whole fleets: `likewise fleet` with signs and speech on busy Wi-Fi, a seed a run, and its simulation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.judgement import Bar, Figure
from benchmarks.processes import ROOT, Failed, environment

TARGET = 0.95
ACCURACY = Bar("fleet/accuracy", "fleet of 20: lowest accuracy of both tiers, target .95", "", "", TARGET)
EDGE = Bar("fleet/edge", "fleet of 20: mean latency all on the edge ÷ both tiers", "ms", "both tiers", 3.0)
DEVICE = Bar("fleet/device", "fleet of 20: mean latency all on the device ÷ both tiers", "ms", "both tiers", 6.0)
ENERGY = Bar("fleet/energy", "fleet of 20: energy all on the device ÷ both tiers", "J", "both tiers", 5.0)
FASTER = Bar("fleet/faster", "fleet of 20: mean latency, the better tier alone ÷ both", "ms", "both tiers", 1.0)
THRIFTIER = Bar("fleet/thriftier", "fleet of 20: energy, the better tier alone ÷ both", "J", "both tiers", 1.0)
AGREEMENT = Bar("fleet/agreement", "fleet of 20, simulated: largest error of latency and energy", "", "", 0.05, True)
BARS = (ACCURACY, EDGE, DEVICE, ENERGY, FASTER, THRIFTIER, AGREEMENT)
_ALONE = ("device_cache", "edge_cache")


def rows(folder: Path, runs: int, quick: bool) -> Iterator[Figure]:
    """Yield the rows; data sets come from LIKEWISE_DATA."""
    data = os.environ.get("LIKEWISE_DATA")
    if not data:
        yield from (
            Figure(bar, note="set LIKEWISE_DATA to the folder of the data sets, see functions/README.md")
            for bar in BARS
        )
        return
    found = [_run(folder, data, seed, quick) for seed in range(1, 1 + (1 if quick else runs))]
    ways = [each["ways"] for each in found]
    both = [each["both"] for each in ways]
    yield Figure(ACCURACY, [min(each["accuracy"] for each in both)], [1.0], detail={"ways": ways})
    compared = ((EDGE, "edge_no_reuse", "mean_ms"), (DEVICE, "device", "mean_ms"), (ENERGY, "device", "joules"))
    for bar, way, what in compared:
        yield Figure(bar, [each[way][what] for each in ways], [each[what] for each in both])
    for bar, what in ((FASTER, "mean_ms"), (THRIFTIER, "joules")):
        yield Figure(bar, [min(each[way][what] for way in _ALONE) for each in ways], [each[what] for each in both])
    yield Figure(AGREEMENT, [max(each["off"] for each in found)], [1.0])


def _run(folder: Path, data: str, seed: int, quick: bool) -> dict[str, Any]:
    """Play one seed and simulate it again; return the ways, and how far the simulation is off."""
    told, simulated = folder / f"fleet-{seed}.json", folder / f"simulated-{seed}.json"
    phones, requests = (4, 120) if quick else (20, 12_000)
    common = ["--phones", str(phones), "--requests", str(requests), "--seed", str(seed), "--output", str(folder)]
    _fleet(*common, "--workload", "signs,speech", "--data", data, "--target", str(TARGET), "--json", str(told))
    _fleet(*common, "--simulate", "--real", str(told), "--nodes", "1", "--json", str(simulated))
    off = json.loads(simulated.read_text())["agreement"]
    worst = max(abs(each[name]) for each in off.values() for name in ("mean_ms", "joules"))
    return {"ways": json.loads(told.read_text())["ways"], "off": worst}


def _fleet(*options: str) -> None:
    """Run a fleet. Raises Failed where it could not be played."""
    ran = subprocess.run(
        [sys.executable, "-m", "likewise_fleet", *options],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=7200, check=False,
    )  # fmt: skip
    if ran.returncode:
        raise Failed(f"likewise fleet ended with {ran.returncode}: {(ran.stdout + ran.stderr)[-400:]}")
