"""How much memory there is for models."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
UNKNOWN_BYTES = 4 << 30
"""What a machine is taken to have that does not say."""


def available_bytes(limits: tuple[Path, ...] = _CGROUPS) -> int:
    """Return the bytes of memory that this process may have at most: the machine's, or its container's.

    limits: files that may hold a container's limit.
    """
    try:
        found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, ValueError, OSError):
        found = [UNKNOWN_BYTES]
    for path in limits:
        try:
            found.append(int(path.read_text()))
        except (OSError, ValueError):  # there is none, or it is "max"
            continue
    return min(found)
