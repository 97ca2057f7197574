"""The device's tier in files: one pack for each function, replaced as a whole."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from likewise_client._device.pack import Packed, read_pack, write_pack

log = logging.getLogger("likewise_client")

SUFFIX = ".likewise-pack"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PLAIN = re.compile(r"[^A-Za-z0-9_.@-]")


def path_of(folder: Path, function: str) -> Path:
    """Return the file of a function."""
    digest = hashlib.sha256(function.encode(errors="surrogatepass")).hexdigest()[:12]
    return folder / f"{_PLAIN.sub('_', function)[:60]}-{digest}{SUFFIX}"


def load(folder: Path, function: str, max_bytes: int) -> tuple[dict[str, Any], list[Packed]]:
    """Return what was kept of a function; nothing, with a warning, where the file is damaged or cannot be read."""
    path = path_of(folder, function)
    try:
        if not path.exists():
            return {}, []
        if path.stat().st_size > 8 * max_bytes + (1 << 20):
            raise ValueError("it is far larger than this cache may be")
        header, entries = read_pack(path.read_bytes())
        if header.get("function") != function:
            raise ValueError("it is that of another function")
        away_s = max(0.0, time.time() - float(header["saved_at"]))
        return header, [
            replace(each, ttl_s=each.ttl_s - away_s, age_s=each.age_s + away_s)
            for each in entries
            if each.ttl_s > away_s
        ]
    except Exception as error:  # what is on disk may be anything; a cache can always start empty
        log.warning("%s cannot be used, the cache on this device starts empty: %s", path, error)
        return {}, []


def save(folder: Path, function: str, header: dict[str, Any], entries: list[Packed], dimension: int) -> None:
    """Keep entries in place of what was kept before; a failure is a warning."""
    content = write_pack({**header, "function": function, "saved_at": time.time()}, entries, dimension)
    write(path_of(folder, function), content)


def load_file(folder: Path, sha256: str, suffix: str = ".onnx") -> bytes | None:
    """Return a file of that digest; None where it is not there, or is another one by now."""
    try:
        content = (folder / f"{sha256}{suffix}").read_bytes() if _DIGEST.fullmatch(sha256) else b""
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest() == sha256 else None


def load_document(folder: Path, function: str) -> dict[str, Any] | None:
    """Return the list of a function's models as it was kept; None where there is none, or it is damaged."""
    try:
        digest, _, text = path_of(folder, function).with_suffix(".models").read_bytes().partition(b"\n")
        if hashlib.sha256(text).hexdigest().encode() != digest:
            return None
        document = json.loads(text)
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def save_document(folder: Path, function: str, document: dict[str, Any]) -> None:
    """Keep the list of a function's models; a failure is a warning."""
    text = json.dumps(document).encode()
    write(path_of(folder, function).with_suffix(".models"), hashlib.sha256(text).hexdigest().encode() + b"\n" + text)


def save_file(folder: Path, sha256: str, content: bytes, suffix: str = ".onnx") -> None:
    """Keep a file of that digest; a failure is a warning."""
    if _DIGEST.fullmatch(sha256):
        write(folder / f"{sha256}{suffix}", content)


def write(path: Path, content: bytes) -> None:
    """Write a file whole, in place of what stood there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=SUFFIX)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(name, path)  # noqa: PTH105 (a name, not a Path)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)  # noqa: PTH108
            raise
    except OSError as error:
        log.warning("%s cannot be written, the cache on this device is not kept: %s", path, error)
