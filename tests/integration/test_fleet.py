"""`likewise fleet` as a stranger runs it, with few phones."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from likewise_fleet.records import WAYS

ROOT = Path(__file__).parents[2]
FEW = ("--phones", "3", "--requests", "90", "--network", "good-wifi", "--speed", "50")


def fleet(tmp_path, *options):
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "likewise_fleet",
            "--output",
            str(tmp_path),
            "--json",
            str(tmp_path / "f.json"),
            *options,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_the_ways_are_played_side_by_side(tmp_path):
    """Real phones, links and servers, a kill in the middle: figures of each way, plots, page, and the trace again."""
    ran = fleet(tmp_path, *FEW, "--kill-server", "--save-trace", str(tmp_path / "t.zip"), "--require", "accuracy=0.9")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads((tmp_path / "f.json").read_text())
    ways = found["ways"]
    assert tuple(ways) == WAYS
    for way, figures in ways.items():
        assert figures["requests"] == 90
        assert figures["failed"] == 0, way
        assert figures["accuracy"] >= 0.9, way
        assert figures["mean_ms"] > 0
        assert figures["joules"] > 0
        assert len(found["devices"][way]) == 3
    assert ways["device"]["accuracy"] == ways["edge_no_reuse"]["accuracy"] == 1.0
    assert ways["device"]["bytes"] == ways["device_cache"]["bytes"] == 0 < ways["edge_cache"]["bytes"]
    assert ways["device"]["inferences"] == ways["edge_no_reuse"]["inferences"] == 90
    assert ways["edge_cache"]["inferences"] < 90 > ways["device_cache"]["inferences"]
    assert {"accuracy", "mean_ms", "p50_ms", "p99_ms", "joules", "bytes", "inferences"} <= set(ways["edge_cache"])
    for kill in found["kills"].values():
        assert kill["lost"] == 0
        assert kill["answers"] == 90
        assert kill["hits_after"] > 0
    assert found["assumptions"]
    for name in ("latency.png", "energy.png", "sources.png", "phones.png", "index.html"):
        assert (tmp_path / name).stat().st_size > 5000
    simulated(tmp_path)
    again = fleet(
        tmp_path, "--trace", str(tmp_path / "t.zip"), "--ways", "device", "--require", "speedup=1", "--speed", "100"
    )
    assert again.returncode == 1
    assert "speedup is required" in again.stdout
    assert json.loads((tmp_path / "f.json").read_text())["ways"]["device"]["requests"] == 90


def simulated(tmp_path):
    """A simulation meets what it was calibrated on, as far as so few requests can tell, and goes on to more phones."""
    told = tmp_path / "s.json"
    options = ("--phones", "60", "--requests", "1800", "--nodes", "6", "--json", str(told))
    ran = fleet(tmp_path, "--simulate", "--real", str(tmp_path / "f.json"), *options)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads(told.read_text())
    device, edge = found["agreement"]["device"], found["agreement"]["edge_no_reuse"]
    assert device == {name: pytest.approx(0.0, abs=0.01) for name in device}
    assert edge["inferences"] == pytest.approx(0.0, abs=0.001)
    assert edge["bytes"] == pytest.approx(0.0, abs=0.05)
    assert edge["mean_ms"] == pytest.approx(0.0, abs=0.4)
    assert found["ways"]["edge_cache"]["requests"] == 1800
    assert found["ways"]["edge_cache"]["inferences"] < 1800
    assert len(found["resources"]) == 8
    assert "what ends first" in ran.stdout


def test_the_package_brings_the_verb():
    """The entry point names the command that this is."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["likewise.commands"]["fleet"] == "likewise_fleet.command:Command"
