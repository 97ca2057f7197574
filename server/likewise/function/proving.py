"""A registered function is built in a process of its own first: what its models do to that, they do not do to a server.

Loading a model computes whatever follows from its constants, which no call can end; some operators do not end within a
lifetime, others break the process.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from likewise.function.assembly import Assembler, Defaults
from likewise.function.governor import CostLimits
from likewise.function.spec_text import read_spec
from likewise.inference.model import limit_memory
from likewise.inference.workers import Workers
from likewise.priority import WORK, give_way
from likewise.processes import answer, ask

MODULE = "likewise.function.proving"
SPARE_BYTES = 1 << 30
"""Address space beyond that of models."""

Prove = Callable[[Path], None]
"""Raises InvalidFunction for a folder whose function cannot be built, or not in time."""


def prover(defaults: Defaults, model_bytes: int, timeout_s: float) -> Prove:
    """Return what builds the function in a folder in a process of its own, and drops it.

    model_bytes: memory for its models. timeout_s: time for all of it.
    """

    def prove(folder: Path) -> None:
        if not read_spec(folder)[0].onnx_files:
            return
        ask(
            MODULE,
            {"folder": str(folder), "defaults": asdict(defaults), "model_bytes": model_bytes,
             "max_memory": model_bytes + SPARE_BYTES},
            folder.name,
            timeout_s,
            late="give it less to compute, before it is loaded and for an input, or raise registration_timeout_s",
            memory="model_memory_bytes",
        )  # fmt: skip

    return prove


def _build(request: dict[str, Any]) -> dict[str, Any]:
    give_way(WORK)
    limit_memory(request["model_bytes"])
    defaults = Defaults(**{**request["defaults"], "costs": CostLimits(**request["defaults"]["costs"])})
    with ThreadPoolExecutor(1) as pool:
        Assembler(defaults, Workers(pool, 1), pool, time.time, random.random).build(Path(request["folder"]))
    return {}


if __name__ == "__main__":
    answer(_build, "model_memory_bytes")
