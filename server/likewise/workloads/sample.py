"""What a stream is made of, and what every workload can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from likewise.errors import InvalidValue


@dataclass(frozen=True, slots=True)
class Sample:
    """One request of a stream."""

    device: int
    """Which phone or car sends it, 0-based."""
    body: bytes
    """The raw input in its media type."""
    media_type: str
    truth: str
    """The true label, as the function's labels.txt spells it."""
    held_out: bool
    """True where the model was not trained on it: such samples count for label accuracy."""


class Workload(Protocol):
    """A source of streams. The same arguments always give the same stream."""

    name: str
    function: str
    """The function that the stream is for."""

    def stream(self, requests: int | None, seed: int, devices: int) -> Sequence[Sample]:
        """Return a stream, in the order of sending.

        requests: its length, or None for the workload's own.
        seed: 0 or more; other seeds give other orders, devices and distortions.
        devices: how many devices send, 1 or more.
        Raises InvalidValue for numbers out of range and for files that cannot be read.
        """


def check_stream_arguments(requests: int | None, seed: int, devices: int) -> None:
    """Raise InvalidValue where `Workload.stream` was called with a number out of range."""
    if requests is not None and requests < 1:
        raise InvalidValue(f"A stream needs at least 1 request, not {requests}.")
    if seed < 0:
        raise InvalidValue(f"A seed is 0 or more, not {seed}.")
    if devices < 1:
        raise InvalidValue(f"A stream needs at least 1 device, not {devices}.")


def data_folder(data: Path | None, layout: str, workload: str, source: str) -> Path:
    """Return the folder `data / layout`.

    Raises InvalidValue, with where the public set comes from, if no data folder was named or it lacks the layout.
    """
    remedy = f"Get it from {source}, and name the folder that holds {layout}/ with --data DIR or LIKEWISE_DATA."
    if data is None:
        raise InvalidValue(f"The workload {workload} needs a data folder. {remedy}")
    folder = data / layout
    if not folder.is_dir():
        raise InvalidValue(f"The workload {workload} needs {folder}, which is not there. {remedy}")
    return folder
