"""Files from outside are read and run in a process of their own: it may crash or be ended, and nothing else is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from likewise.errors import InvalidFunction, InvalidValue, LikewiseError
from likewise.estimation.description import Description, Layer, Value
from likewise.estimation.reading import InputShapes

TIMEOUT_S = 120.0
MEMORY_BYTES = 12 << 30
"""Address space of the process, most of which nothing uses."""
_ERRORS: Mapping[str, type[LikewiseError]] = {"InvalidValue": InvalidValue}


def described(path: Path, shapes: InputShapes, batch: int, timeout_s: float = TIMEOUT_S) -> Description:
    """Return what a file describes; see `graph.describe`. Raises InvalidFunction and InvalidValue."""
    found = asked({"task": "describe", "path": str(path), "shapes": dict(shapes), "batch": batch}, timeout_s)
    values = {
        name: Value(each["dtype"], None if each["shape"] is None else tuple(each["shape"]), each["weight"])
        for name, each in found.pop("values").items()
    }
    layers = [
        Layer(**{**each, "inputs": tuple(each["inputs"]), "outputs": tuple(each["outputs"])})
        for each in found.pop("layers")
    ]
    return Description(values=values, layers=layers, **found)


def asked(request: Mapping[str, Any], timeout_s: float = TIMEOUT_S) -> Any:
    """Return the answer of a process of its own to a request; see `worker`. Raises LikewiseError."""
    path = request["path"]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "likewise.estimation.worker"],
            input=orjson.dumps({**request, "memory_bytes": MEMORY_BYTES}),
            capture_output=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        raise InvalidFunction(f"{path}: was not read within {timeout_s:g} s; export a smaller model") from None
    try:
        found = orjson.loads(done.stdout)
    except ValueError:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise InvalidFunction(f"{path}: cannot be read without breaking the process ({last[0][:200]})") from None
    if "error" in found:
        raise _ERRORS.get(found["kind"], InvalidFunction)(found["error"])
    return found["answer"]
