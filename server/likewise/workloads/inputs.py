"""Inputs of one's own, as a stream of requests: the files of a folder, or a capture."""

from __future__ import annotations

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
from likewise.workloads.folder import InputFile, files_in, of_kind

MAX_BYTES = 16 << 20
"""The largest file that is played: what a server takes, unless it is set up to take more."""
Order = Literal["auto", "time", "name"]
ORDERS: tuple[Order, ...] = ("auto", "time", "name")

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
        self._files: list[tuple[float, InputFile]] = []

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
        for at, file in self._files:
            try:
                with file.path.open("rb") as opened:
                    body = opened.read(MAX_BYTES)
            except OSError:
                continue
            yield Recorded(at, 0.0, self._function, file.folder, "miss", media_type=file.media_type, body=body)

    def name(self, place: int) -> str:
        """Return what to call the request at a place of an iteration."""
        return self._files[place][1].path.name if self._capture is None else f"request {place + 1}"

    def _check_capture(self, capture: Capture) -> None:
        names = Counter(record.function.partition("@")[0] for record in capture if record.outcome)
        if self._function not in names:
            known = ", ".join(f"`{name}` ({count})" for name, count in names.most_common(10)) or "none at all"
            raise InvalidValue(f"{self.path} has no answered request for `{self._function}`; it has {known}.")
        if capture.lost:
            self.notes.append(f"{capture.lost} requests are missing from the capture.")

    def _find_files(self) -> None:
        there = files_in(self.path)
        files = of_kind(there, self._kind, self.path)
        if len(files) < len(there):
            self.notes.append(f"{len(there) - len(files)} files of other kinds are left out.")
        files = self._taken(files)
        by_device: dict[str, list[InputFile]] = {}
        for file in files:
            by_device.setdefault(file.folder, []).append(file)
        self.by_folder = len(by_device) > 1
        stamps = [time_stamp(file.path.name) for file in files] if self._order != "name" else [None]
        if self._order == "time" and None in stamps:
            nameless = next(file.path for file, stamp in zip(files, stamps, strict=True) if stamp is None)
            raise InvalidValue(f"--order time: the name of {nameless} has no time stamp; take --order name.")
        if None not in stamps:
            timed = [(stamp or 0.0, file) for file, stamp in zip(files, stamps, strict=True)]
            self._files = sorted(timed, key=lambda each: (each[0], natural(each[1].path)))
            self.notes.append("The files play by the time stamps in their names.")
            return
        self._files = _side_by_side(by_device)
        devices = f", their {len(by_device)} folders side by side as devices" if self.by_folder else ""
        self.notes.append(f"The files play in the order of their names{devices}.")

    def _taken(self, files: list[InputFile]) -> list[InputFile]:
        """Return the files that are not too large. Raises InvalidValue where all are."""
        large = [file for file in files if _size(file.path) > MAX_BYTES]
        if not large:
            return files
        said = f"{len(large)} files have over {MAX_BYTES} bytes and are left out; the first: {large[0].path.name}."
        if len(large) == len(files):
            raise InvalidValue(f"{self.path} has nothing to play. {said}")
        self.notes.append(said)
        gone = {file.path for file in large}
        return [file for file in files if file.path not in gone]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # it went away
        return 0


def _side_by_side(by_device: dict[str, list[InputFile]]) -> list[tuple[float, InputFile]]:
    """Return all files so that every device sends all the time, each in the order of its names; a second apart."""
    placed = []
    for files in by_device.values():
        ordered = sorted(files, key=lambda each: natural(each.path))
        placed += [((at + 0.5) / len(ordered), file) for at, file in enumerate(ordered)]
    placed.sort(key=lambda each: (each[0], each[1].folder))
    return [(float(at), file) for at, (_, file) in enumerate(placed)]


def natural(path: Path) -> list[tuple[int, int, str]]:
    """Return what orders names as people do: frame 2 before frame 10."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]
