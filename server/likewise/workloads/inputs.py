"""Inputs of one's own, as a stream of requests: the files of a folder, or a capture."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from likewise.captures import Capture, Recorded
from likewise.captures.files import is_capture
from likewise.errors import InvalidValue

Order = Literal["auto", "time", "name"]
ORDERS: tuple[Order, ...] = ("auto", "time", "name")

MEDIA_TYPES = {
    "image": {
        ".png": "image/png",
        ".jpg": "image/jpeg",
        ".jpeg": "image/jpeg",
        ".webp": "image/webp",
        ".bmp": "image/bmp",
        ".ppm": "image/x-portable-pixmap",
        ".pgm": "image/x-portable-graymap",
        ".pnm": "image/x-portable-anymap",
    },
    "audio": {".wav": "audio/wav", ".wave": "audio/wav"},
    "array": {".npy": "application/x-npy", ".json": "application/json"},
}
"""By kind of input: the endings of files, in lower case. A file of any name is bytes."""
ANY_KIND = {ending: media_type for types in MEDIA_TYPES.values() for ending, media_type in types.items()}

_DATE = re.compile(
    r"(?<!\d)(?P<date>(?:19|20)\d\d[-_.]?\d\d[-_.]?\d\d)[T_ .-]?"
    r"(?P<time>\d\d[-_:.h]?\d\d[-_:.m]?\d\d)(?:[.,_-]?(?P<fraction>\d{1,6}))?(?!\d)"
)
_EPOCH = re.compile(r"(?<!\d)(?P<seconds>1\d{9})(?:(?P<digits>\d{3}|\d{6}|\d{9})|\.(?P<fraction>\d{1,9}))?(?!\d)")


def time_stamp(name: str) -> float | None:
    """Return the time in a file's name, in seconds; None where it has none.

    A date with a time of day, as in `20250131-235959`, `2025-01-31T23:59:59.250` or `IMG_20250131_235959123`, taken as
    UTC; or seconds, milliseconds, microseconds or nanoseconds since the Unix epoch.
    """
    for match in _DATE.finditer(name):
        digits = re.sub(r"\D", "", match["date"] + match["time"])
        try:
            when = datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        except ValueError:  # the thirteenth month: some other number
            continue
        return when.timestamp() + float(f"0.{match['fraction'] or 0}")
    if found := _EPOCH.search(name):
        return float(f"{found['seconds']}.{found['digits'] or found['fraction'] or 0}")
    return None


class Inputs:
    """A folder or a capture: the requests for one function, in the order of sending.

    Use as a context manager; iterate as often as wanted: nothing is held in memory but where things are.
    """

    def __init__(self, path: Path, function: str, kind: str, order: Order = "auto") -> None:
        """Set up. function: its name, without a version; kind: what it takes, or empty for whatever there is.

        order: of the files in a folder: by the `time` stamps in their names, by `name`, or (auto) by time where all
        names have a stamp.
        """
        self.path = path
        self.notes: list[str] = []
        """What there is to say about what was found, a sentence each."""
        self.by_folder = False
        """Whether devices are told by the sub-folder that a file lies in."""
        self._function = function
        self._kind = kind
        self._order = order
        self._open = ExitStack()
        self._capture: Capture | None = None
        self._files: list[tuple[float, str, Path]] = []

    def __enter__(self) -> Self:
        """Find the requests. Raises InvalidValue, with the remedy, where there are none."""
        if self.path.is_dir():
            self._find_files()
        elif self.path.exists() and not is_capture(self.path):
            raise InvalidValue(f"{self.path} is neither a folder nor a capture; name one of the two with --inputs.")
        else:
            self._capture = self._open.enter_context(Capture(self.path))
            try:
                self._check_capture(self._capture)
            except BaseException:
                self._open.close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def __len__(self) -> int:
        """Return the most requests that an iteration may yield."""
        return len(self._capture) if self._capture is not None else len(self._files)

    def __iter__(self) -> Iterator[Recorded]:
        """Yield the requests that were answered; a file that went away is left out."""
        if self._capture is not None:
            for record in self._capture:
                if record.outcome and record.function.partition("@")[0] == self._function:
                    yield record
            return
        for at, device, path in self._files:
            try:
                body = path.read_bytes()
            except OSError:
                continue
            yield Recorded(at, 0.0, self._function, device, "miss", media_type=self._media_type(path), body=body)

    def _media_type(self, path: Path) -> str:
        """Return what a file is sent as; empty for one that the function does not take."""
        if self._kind == "bytes":
            return "application/octet-stream"
        return MEDIA_TYPES.get(self._kind, ANY_KIND).get(path.suffix.lower(), "")

    def _check_capture(self, capture: Capture) -> None:
        names = Counter(record.function.partition("@")[0] for record in capture if record.outcome)
        if self._function not in names:
            known = ", ".join(f"`{name}` ({count})" for name, count in names.most_common(10)) or "none at all"
            raise InvalidValue(f"{self.path} has no answered request for `{self._function}`; it has {known}.")
        if capture.lost:
            self.notes.append(f"{capture.lost} requests are missing from the capture.")

    def _find_files(self) -> None:
        by_device: dict[str, list[Path]] = {}
        others = 0
        for folder, folders, names in os.walk(self.path):
            folders[:] = sorted(each for each in folders if not each.startswith("."))
            for name in names:
                if name.startswith("."):
                    continue
                path = Path(folder, name)
                if self._media_type(path) and path.is_file():
                    by_device.setdefault(str(path.parent.relative_to(self.path)), []).append(path)
                else:
                    others += 1
        found = [(device, path) for device, paths in by_device.items() for path in paths]
        if not found:
            kind = self._kind or "image, audio or array"
            taken = "any file" if kind == "bytes" else ", ".join(MEDIA_TYPES.get(self._kind, ANY_KIND))
            raise InvalidValue(f"{self.path} holds no file of kind {kind}; `{self._function}` takes {taken}.")
        if others:
            self.notes.append(f"{others} files of other kinds are left out.")
        self.by_folder = len(by_device) > 1
        stamps = [time_stamp(path.name) for _, path in found] if self._order != "name" else [None]
        if self._order == "time" and None in stamps:
            nameless = next(path for (_, path), stamp in zip(found, stamps, strict=True) if stamp is None)
            raise InvalidValue(f"--order time: the name of {nameless} has no time stamp; take --order name.")
        if None not in stamps:
            timed = [(stamp or 0.0, device, path) for (device, path), stamp in zip(found, stamps, strict=True)]
            self._files = sorted(timed, key=lambda each: (each[0], _natural(each[2])))
            self.notes.append("The files play by the time stamps in their names.")
            return
        self._files = _side_by_side(by_device)
        devices = f", their {len(by_device)} folders side by side as devices" if self.by_folder else ""
        self.notes.append(f"The files play in the order of their names{devices}.")


def _side_by_side(by_device: dict[str, list[Path]]) -> list[tuple[float, str, Path]]:
    """Return all files so that every device sends all the time, each in the order of its names; a second apart."""
    placed = []
    for device, paths in by_device.items():
        ordered = sorted(paths, key=_natural)
        placed += [((at + 0.5) / len(ordered), device, path) for at, path in enumerate(ordered)]
    placed.sort(key=lambda each: (each[0], each[1]))
    return [(float(at), device, path) for at, (_, device, path) in enumerate(placed)]


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Return what orders names as people do: frame 2 before frame 10."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]
