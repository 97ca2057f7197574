"""Inputs in a folder: which files there are, what they are by their content, and which a function can read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from likewise.errors import InvalidValue
from likewise.features.decode import Kind

MAX_FILES = 100_000
"""Files of a folder that are looked at."""
MAX_DEPTH = 64
"""Folders in folders that are looked into."""
_START = 16


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file, and what it is."""

    path: Path
    media_type: str
    kind: Kind
    folder: str
    """The sub-folder it lies in, as inputs are sorted by class or device: its path from the top, empty there."""


_BY_START: Sequence[tuple[bytes, str, Kind]] = (
    (b"\x89PNG", "image/png", "image"),
    (b"\xff\xd8\xff", "image/jpeg", "image"),
    (b"BM", "image/bmp", "image"),
    (b"P5", "image/x-portable-graymap", "image"),
    (b"P6", "image/x-portable-pixmap", "image"),
    (b"\x93NUMPY", "application/x-npy", "array"),
)


_WHAT = {"image": "PNG, JPEG, WebP, BMP or PNM", "audio": "WAV", "array": ".npy or .json"}


def files_in(folder: Path) -> list[InputFile]:
    """Return the files of a folder and its sub-folders, by name; hidden ones and what is no file are left out.

    Raises InvalidValue, with the remedy, for a folder that is not there, cannot be read or holds no file.
    """
    if not folder.is_dir():
        raise InvalidValue(f"{folder}: is no folder; name one with inputs as devices send them")
    found = [_file(path, folder) for path in _walk(folder)]
    if not found:
        raise InvalidValue(f"{folder}: holds no file; name a folder with inputs as devices send them")
    return found


def _walk(folder: Path) -> Iterator[Path]:
    count = 0

    def fail(error: OSError) -> None:
        raise InvalidValue(f"{error.filename}: cannot be read ({error.strerror}); check its permissions") from error

    for place, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        if folders and len(Path(place).relative_to(folder).parts) >= MAX_DEPTH:
            raise InvalidValue(f"{folder}: has folders in over {MAX_DEPTH} folders; name one further in")
        for name in sorted(names):
            path = Path(place) / name
            if name.startswith(".") or not path.is_file():
                continue
            count += 1
            if count > MAX_FILES:
                raise InvalidValue(f"{folder}: holds more than {MAX_FILES} files; name a smaller folder")
            yield path


def _file(path: Path, root: Path) -> InputFile:
    try:
        with path.open("rb") as file:
            start = file.read(_START)
    except OSError as error:
        raise InvalidValue(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    media_type, kind = _what(path, start)
    folder = path.parent.relative_to(root)
    return InputFile(path, media_type, kind, str(folder) if folder.parts else "")


def _what(path: Path, start: bytes) -> tuple[str, Kind]:
    """Return media type and kind of a file, told by its first bytes; JSON by its suffix."""
    for begins, media_type, kind in _BY_START:
        if start.startswith(begins):
            return media_type, kind
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "image/webp", "image"
    if start[:4] in (b"RIFF", b"RF64") and start[8:12] == b"WAVE":
        return "audio/wav", "audio"
    if path.suffix.lower() == ".json":
        return "application/json", "array"
    return "application/octet-stream", "bytes"


def main_kind(files: Sequence[InputFile]) -> Kind:
    """Return what most of the files are; bytes only where there is nothing else."""
    counts = {kind: sum(each.kind == kind for each in files) for kind in ("image", "audio", "array")}
    best = max(counts, key=lambda kind: counts[kind])
    return best if counts[best] else "bytes"  # type: ignore[return-value]


def of_kind(files: Sequence[InputFile], kind: str, folder: Path) -> list[InputFile]:
    """Return the files that are of a kind; as bytes, all of them; without a kind, all that are not just bytes.

    Raises InvalidValue, with the remedy, where there is none.
    """
    if kind == "bytes":
        return [InputFile(each.path, "application/octet-stream", "bytes", each.folder) for each in files]
    fitting = [each for each in files if each.kind == kind or (not kind and each.kind != "bytes")]
    if not fitting:
        suffixes = sorted({each.path.suffix or each.path.name for each in files})[:8]
        what = _WHAT.get(kind, ", ".join(_WHAT.values()))
        raise InvalidValue(
            f"{folder}: holds {len(files)} files ({', '.join(suffixes)}), and none is an input"
            f"{f' of kind `{kind}`' if kind else ''}: {what}; name another folder, or convert them"
        )
    return fitting


def spread(files: Sequence[InputFile], most: int) -> list[InputFile]:
    """Return at most so many of the files, evenly over all."""
    if len(files) <= most:
        return list(files)
    return [files[at * len(files) // most] for at in range(most)]
