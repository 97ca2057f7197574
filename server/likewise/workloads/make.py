"""The workloads by name."""

from __future__ import annotations

from pathlib import Path

from likewise.errors import InvalidValue
from likewise.workloads.digits import Digits
from likewise.workloads.roads import Roads
from likewise.workloads.sample import Workload
from likewise.workloads.signs import Signs
from likewise.workloads.speech import Speech

WORKLOAD_NAMES = ("digits", "speech", "speech-block", "signs-junction", "signs-drift", "signs-cold", "roads")
"""Every workload; "signs" is another word for "signs-junction"."""


def open_workload(name: str, data: Path | None = None, *, held_out_only: bool = False) -> Workload:
    """Return a workload by name.

    name: one of WORKLOAD_NAMES, or "signs".
    data: folder with `fsdd/`, `gtsrb/` and `video/` in their public layouts; digits needs none.
    held_out_only: play only what the bundled model was not trained on (the signs always do).
    Raises InvalidValue, naming what is missing and where to get it.
    """
    match name:
        case "digits":
            return Digits(held_out_only=held_out_only)
        case "speech" | "speech-block":
            return Speech(data, block=name == "speech-block", held_out_only=held_out_only)
        case "signs" | "signs-junction":
            return Signs(data, "junction")
        case "signs-drift":
            return Signs(data, "drift")
        case "signs-cold":
            return Signs(data, "cold")
        case "roads":
            return Roads(data)
    raise InvalidValue(f"There is no workload {name!r}; choose one of {', '.join(WORKLOAD_NAMES)}.")
