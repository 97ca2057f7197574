"""Checks the figures of a demo run: `figures.py FILE`, the FILE that `likewise demo --json` wrote."""

import json
import sys
from pathlib import Path

BARS = {"accuracy": 0.95, "harvest": 0.5}
"""Floors for a short run; the whole stream does better, see docs/benchmarks.md."""
SHOWN = (*BARS, "speedup")
"""The speed-up is told alone: on a machine that does much else, both sides wait for a core and are alike."""

figures = json.loads(Path(sys.argv[1]).read_text())
low = [f"{name} is {figures[name]:.3f}, at least {bar} is needed" for name, bar in BARS.items() if figures[name] < bar]
print("\n".join(low) or "   " + ", ".join(f"{name} {figures[name]:.3f}" for name in SHOWN))  # noqa: T201
sys.exit(bool(low))
