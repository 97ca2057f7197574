"""The server of a fleet is killed in the middle and started again: no app sees an error, no answer is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.judgement import Bar, Figure
from benchmarks.processes import ROOT, Failed, environment

ERRORS = Bar("fleet", "fleet, server killed and started again: errors that an app saw", "errors", "", 0, at_most=True)
LOST = Bar("fleet/lost", "the same: requests without an answer", "requests", "", 0, at_most=True)
SHARING = Bar("fleet/sharing", "the same: share of reused answers after it", "", "before", 0.8)
BARS = (ERRORS, LOST, SHARING)


def drill(folder: Path, quick: bool = False) -> Iterator[Figure]:
    """Let a fleet of digits play the edge cache and both tiers, on its default network; the worse of them counts."""
    phones, requests = (4, 160) if quick else (20, 2000)
    told = folder / "fleet.json"
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "likewise_fleet", "--ways", "edge_no_reuse,edge_cache,both", "--kill-server"),
            *("--phones", str(phones), "--requests", str(requests), "--json", str(told), "--output", str(folder)),
        ],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    if not told.is_file():
        raise Failed(f"the fleet ended with {ran.returncode}: {(ran.stdout + ran.stderr)[-600:]}")
    kills = list(json.loads(told.read_text())["kills"].values())
    away = ", ".join(f"{kill['back_s'] - kill['killed_s']:.1f}" for kill in kills)
    yield Figure(ERRORS, [max(kill["lost"] for kill in kills)], [1.0], note=f"away for {away} s")
    yield Figure(LOST, [max(requests - kill["answers"] for kill in kills)], [1.0])
    worst = min(kills, key=lambda kill: kill["hits_after"] / max(kill["hits_before"], 1e-9))
    yield Figure(SHARING, [worst["hits_after"]], [worst["hits_before"]], note=f"{worst['hits_before']:.0%} before")
