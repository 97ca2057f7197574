"""Rows of whole streams: `likewise demo` on real signs and real speech."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.judgement import Bar, Figure
from benchmarks.processes import ROOT, environment

SIGNS = Bar("demo-signs", "demo, signs: mean latency without reuse ÷ with", "ms", "with reuse", 6.0)
SPEECH = Bar("demo-speech", "demo, speech: mean latency without reuse ÷ with", "ms", "with reuse", 4.0)


def demo(bar: Bar, folder: Path, runs: int, quick: bool) -> Figure:
    """Return the row of one workload; data sets come from LIKEWISE_DATA."""
    workload = bar.name.partition("-")[2]
    data = os.environ.get("LIKEWISE_DATA")
    if not data:
        return Figure(bar, note="set LIKEWISE_DATA to the folder of the data sets, see functions/README.md")
    found = folder / f"{bar.name}.json"
    without, reusing, detail = [], [], []
    for seed in range(1, 1 + (1 if quick else runs)):
        command = [sys.executable, "-m", "likewise", "demo", "--workload", workload, "--data", data]
        command += ["--requests", "50" if quick else "4000", "--seed", str(seed), "--json", str(found)]
        command += ["--output", str(folder / "demo"), "--functions", str(ROOT / "functions")]
        done = subprocess.run(
            command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=3600, check=False
        )
        if done.returncode:
            return Figure(bar, note=f"likewise demo ended with {done.returncode}: {(done.stdout + done.stderr)[-300:]}")
        document = json.loads(found.read_text())
        detail.append(document)
        without.append(float(document["baseline_mean_ms"]))
        reusing.append(float(document["mean_ms"]))
    return Figure(bar, without, reusing, detail={"runs": detail})
