"""Where frames come from: what is opened, what may be printed of it, and what its stream is called."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from likewise.errors import SettingsError

STANDARD_INPUT = "-"
PIPED = "pipe:0"
"""The target that FFmpeg takes for standard input."""
Kind = Literal["file", "device", "network", "other"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_NAME = re.compile(r"[A-Za-z0-9._:/-]{1,100}")
_LOCAL = "file,pipe,crypto,data"
_REMOTE = "rtsp,rtp,srtp,udp,tcp,tls,http,https,httpproxy,hls,rtmp,rtmps,rtmpt,srt,crypto,data"


@dataclass(frozen=True)
class Address:
    """A source that was named."""

    target: str
    """What PyAV opens; may hold credentials, so it is never printed."""
    shown: str
    """The same without user, password, query and whatever in the path looks like `password=...`."""
    name: str
    """What its stream is called."""
    kind: Kind
    format: str | None
    """FFmpeg's name of the container or device; None: found out."""
    options: Mapping[str, str]
    """FFmpeg's options."""


def addresses(
    sources: Sequence[str],
    names: Sequence[str] = (),
    format: str | None = None,  # noqa: A002 (FFmpeg's word for it)
    options: Mapping[str, str] | None = None,
) -> list[Address]:
    """Return the sources that a command line names, each with a name of its own.

    names: for the first sources, in their order; others are called after their file, device or URL.
    Raises SettingsError for a file that is not there, more names than sources, or one that cannot be used.
    """
    if len(names) > len(sources):
        raise SettingsError(f"--name was given {len(names)} times for {len(sources)} sources; leave the last ones out.")
    found: list[Address] = []
    taken = set(names)
    for name in names:
        if not _NAME.fullmatch(name):
            raise SettingsError(f"--name {name!r}: a stream's name is 1 to 100 letters, digits, or . _ - : / signs.")
    if len(taken) < len(names):
        raise SettingsError("--name gives two sources one name; every source needs its own.")
    for at, source in enumerate(sources):
        kind, scheme = _kind(source, format)
        shown = _without_secrets(source) if scheme else "standard input" if source == STANDARD_INPUT else source
        name = names[at] if at < len(names) else _unused(_name(source, shown, kind), taken)
        taken.add(name)
        chosen = format or ("v4l2" if kind == "device" else None)
        target = PIPED if source == STANDARD_INPUT else source
        found.append(Address(target, shown, name, kind, chosen, {**_defaults(kind, scheme), **(options or {})}))
    return found


def _kind(source: str, given: str | None) -> tuple[Kind, str]:
    """Return what a source is, and its scheme in lower case. Raises SettingsError for a file that is not there."""
    if source == STANDARD_INPUT:
        return "file", ""
    match = _SCHEME.match(source)
    if match:
        scheme = match[1].lower()
        return ("file", "file") if scheme == "file" else ("network", scheme)
    if given is not None:
        return ("device" if given in ("v4l2", "video4linux2") else "other"), ""
    path = Path(source)
    try:
        if path.is_char_device():
            return "device", ""
        if path.is_dir():
            raise SettingsError(f"{source} is a folder; name a video file in it.")
        if path.exists():
            return "file", ""
    except (OSError, ValueError) as error:
        raise SettingsError(f"{source!r} is no source: {error}.") from error
    where = "is not there; is the webcam plugged in?" if source.startswith("/dev/") else "is not there."
    raise SettingsError(
        f"{source} {where} Name a file, a device such as /dev/video0, or a URL such as rtsp://host/path."
    )


def _defaults(kind: Kind, scheme: str) -> dict[str, str]:
    """Return options that keep what is read from naming files here, or hosts elsewhere, and cameras from lagging."""
    if kind == "file":
        return {"protocol_whitelist": _LOCAL}
    if kind != "network":
        return {}
    known = scheme in _REMOTE.split(",") or scheme == "rtsps"
    options = {"protocol_whitelist": _REMOTE} if known else {}
    if scheme in ("http", "https"):
        options["max_redirects"] = "0"  # they would lead somewhere that nobody named
    if scheme in ("rtsp", "rtsps"):
        options["rtsp_transport"] = "tcp"  # over UDP a lost packet is a broken picture
    return options


def _without_secrets(url: str) -> str:
    """Return a URL without what may be a credential: user, password, query, fragment, `name=value` in the path."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return f"{url.partition('://')[0]}://…"
    if "@" in url.partition("://")[2].removeprefix(parts.netloc):  # of a password with a slash, the rest stands here
        return f"{parts.scheme}://…"
    shown = f"[{host}]" if ":" in host else host
    path = "/".join("…" if re.search(r"[=@&;]|%(?:3d|40|26)", each, re.I) else each for each in parts.path.split("/"))
    return f"{parts.scheme}://{shown}{f':{port}' if port else ''}{path}"


def _name(source: str, shown: str, kind: Kind) -> str:
    text = Path(source).stem if kind == "file" else Path(source).name if kind == "device" else shown.partition("://")[2]
    if kind == "other":
        text = source
    if source == STANDARD_INPUT:
        text = "stdin"
    return re.sub(r"[^A-Za-z0-9._:/-]+", "-", text).strip("-/")[:80] or "camera"


def _unused(name: str, taken: set[str]) -> str:
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    return candidate
