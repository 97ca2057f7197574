"""The settings of a device's own tier."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from likewise_client._errors import InvalidInput


@dataclass(frozen=True)
class DeviceCache:
    """Settings of a small cache on the device, from which a client answers without asking a server.

    It answers only what the server lets it: entries within the distance that came with them, and as often as its lease
    says a would-be hit goes to the server all the same, as a probe. So the accuracy target holds for both together.
    """

    max_entries: int = 500
    """Entries of each function, and as many inputs that are known by their very bytes; at least 1."""
    max_bytes: int = 4 << 20
    """Bytes of keys and results of each function, at least 1,024."""
    path: str | os.PathLike[str] | None = None
    """Folder in which it is kept across restarts of the app; None: in memory alone."""
    background: bool = True
    """Whether `infer` may answer a would-be hit at once that is to be checked, and have it checked in the background: a
    few more are checked then, and the app waits for none of them."""
    offline: Literal["never", "serve"] = "never"
    """Whether to answer by near entries when no server can be asked and the lease is over: "serve" is outside of what
    the accuracy target promises."""

    def __post_init__(self) -> None:
        for name, least in (("max_entries", 1), ("max_bytes", 1024)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InvalidInput(f"DeviceCache: {name} is a whole number, at least {least}, not {value!r}")
        if not isinstance(self.background, bool):
            raise InvalidInput(f"DeviceCache: background is True or False, not {self.background!r}")
        if self.offline not in ("never", "serve"):
            raise InvalidInput(f"DeviceCache: offline is 'never' or 'serve', not {self.offline!r}")
        if self.path is not None and not isinstance(self.path, (str, os.PathLike)):
            raise InvalidInput(f"DeviceCache: path is a folder, not {self.path!r}")


@dataclass(frozen=True)
class DeviceCacheInfo:
    """What a device's own tier has done for one function since the client began."""

    entries: int
    repeats: int
    """Inputs known by their very bytes."""
    bytes: int
    hits: int
    """Answers by near entries."""
    repeated: int
    """Answers by the very bytes of an input."""
    probes: int
    """Would-be hits that were sent to the server, to check; those checked in the background are hits, too."""
    asked: int
    """Requests for which the tier was asked; the others of them went to the server."""
    probability: float
    """Of a probe, by the lease; 1 without one."""
