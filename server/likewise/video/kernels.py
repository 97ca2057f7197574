"""The index work, compiled where numba is installed, else in NumPy."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType

Kernels = ModuleType


@cache
def kernels() -> Kernels:
    """Return `compiled`, or `plain` where numba is not there."""
    try:
        return importlib.import_module("likewise.video.compiled")
    except ImportError:
        return importlib.import_module("likewise.video.plain")
