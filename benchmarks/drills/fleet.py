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
SHARING = Bar("fleet/sharing", "the same: share of hits on the edge after it", "", "before", 0.8)
BARS = (ERRORS, LOST, SHARING)


def drill(folder: Path, quick: bool = False) -> Iterator[Figure]:
    """Let a fleet of digits play the edge cache, on its default network."""
    phones, requests = (4, 160) if quick else (20, 2000)
    told = folder / "fleet.json"
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "likewise_fleet", "--ways", "edge_no_reuse,edge_cache", "--kill-server"),
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
    kill = json.loads(told.read_text())["kills"]["edge_cache"]
    away = f"away for {kill['back_s'] - kill['killed_s']:.1f} s"
    yield Figure(ERRORS, [kill["lost"]], [1.0], note=away)
    yield Figure(LOST, [requests - kill["answers"]], [1.0])
    before = kill["edge_hits_before"]
    yield Figure(SHARING, [kill["edge_hits_after"]], [before], note=f"{before:.0%} before")
