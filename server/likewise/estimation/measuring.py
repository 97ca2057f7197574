"""A model run for its time and memory, to judge an estimate by; in a process of its own, see `worker`."""

from __future__ import annotations

import ctypes
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from likewise.errors import InvalidFunction
from likewise.estimation.calibration import layer_times, run_time
from likewise.estimation.networks import tiny
from likewise.estimation.reading import InputShapes, fits, read
from likewise.inference.graphs import Timed
from likewise.types import Tensor

RUNS = 3
"""After which a session has all the memory that it comes to hold."""
MAX_INPUT = 1 << 28
"""Numbers of an input."""
_TYPES = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(bool)": np.bool_,
    "tensor(uint8)": np.uint8, "tensor(int8)": np.int8, "tensor(uint16)": np.uint16, "tensor(int16)": np.int16,
    "tensor(uint32)": np.uint32, "tensor(int32)": np.int32, "tensor(uint64)": np.uint64, "tensor(int64)": np.int64,
}  # fmt: skip


def measure(path: Path, shapes: InputShapes, batch: int, threads: int) -> dict[str, Any]:
    """Return `total_us`, `layers` (µs by name, with what the profile itself takes) and, on Linux, `memory` in bytes.

    Inputs are random. Raises InvalidFunction where the model cannot be run, ModelFailed where it raises.
    """
    model, _ = read(path, shapes, batch)
    if not fits(model):
        raise InvalidFunction(f"{path}: is too large to be measured here")
    content = model.SerializeToString()
    with tempfile.TemporaryDirectory(prefix="likewise-") as folder:
        fixed = Path(folder) / "model.onnx"
        fixed.write_bytes(content)
        del model
        feeds = inputs(Timed(content, threads))
        memory = _memory(fixed, feeds, threads)
    return {
        "total_us": run_time(content, feeds, threads),
        "layers": layer_times(content, feeds, threads),
        "memory": memory,
    }


def memory_of(path: Path, threads: int) -> dict[str, int] | None:
    """Return the bytes that a model with fixed shapes takes when `loaded`, and after it has `run`; None if unknown."""
    return _memory(path, inputs(Timed(path.read_bytes(), threads)), threads)


def inputs(timed: Timed) -> dict[str, Tensor]:
    """Return an input for a model whose shapes are fixed. Raises InvalidFunction."""
    rng, feeds = np.random.default_rng(0), dict[str, Tensor]()
    for name, (kind, shape) in timed.inputs().items():
        axes = [axis if isinstance(axis, int) and axis > 0 else 1 for axis in shape]
        if kind not in _TYPES or np.prod(axes, dtype=np.float64) > MAX_INPUT:
            raise InvalidFunction(f"input `{name[:80]}` is {kind} of {axes}, which cannot be made up")
        dtype = np.dtype(_TYPES[kind])
        feeds[name] = rng.random(axes).astype(dtype) if dtype.kind == "f" else np.ones(axes, dtype)
    return feeds


def _memory(path: Path, feeds: dict[str, Tensor], threads: int) -> dict[str, int] | None:
    """Load and run a model as a server does, from its file, and look at what the process has more of."""
    first = tiny(2)  # so that what ONNX Runtime itself takes is there before
    Timed(first.model(), threads).run(first.feeds)
    before = _resident()
    if before is None:
        return None
    timed = Timed(path, threads)
    loaded = _resident()
    for _ in range(RUNS):
        timed.run(feeds)
    ran = _resident()
    return {"loaded": (loaded or 0) - before, "ran": (ran or 0) - before}


def _resident() -> int | None:
    """Return the bytes of memory of this process that no file is behind, freed pages given back; None if unknown."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except (OSError, AttributeError):
        return None
    return next((int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("RssAnon:")), None)
