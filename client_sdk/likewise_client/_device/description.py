"""What a device makes of a server's description of a function: how its keys are made there, and searched."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from likewise_client import _calls as calls
from likewise_client._device import disk, onnx, projection
from likewise_client._device.keys import Key, MakeKey, key_maker
from likewise_client._device.projection import Projection
from likewise_client._errors import LikewiseClientError

if TYPE_CHECKING:
    from likewise_client._device.tier import Exchange
    from likewise_client._exchange import Steps

log = logging.getLogger("likewise_client")

UNFIT = (AttributeError, LookupError, TypeError, ValueError, OverflowError)
"""What a document raises that is not what the protocol says."""


class Described(NamedTuple):
    """How keys of a function are made and searched on this device."""

    make_key: MakeKey | None
    cosine: bool
    projection: Projection | None
    complete: bool
    """False: its projection could not be fetched this time."""


def described(
    exchange: Exchange, function: str, folder: Path | None, node: str | None, *, again: bool = False
) -> Steps[Described]:
    """Ask how, and fetch the files that it takes, kept in a folder. Raises what UNFIT names, and the SDK's errors.

    again: only the projection was missing, so without it there is nothing new, and why is raised.
    """
    description = yield from exchange.run(calls.describe(function), patient=False, node=node)
    primary, kind = description["keys"][0], str(description.get("input", {}).get("kind", ""))
    extractor, metric, dimension = str(primary["extractor"]), str(primary["metric"]), int(primary["dimension"])
    fetch = _Fetch(exchange, function, folder, node)
    try:
        content, complete = (yield from _projection_file(fetch, primary)), True
    except (LikewiseClientError, *UNFIT) as error:
        if again:
            raise
        log.warning("%s: keys are compared as they are until its projection can be fetched: %s", function, error)
        content, complete = None, False
    make_key = key_maker(extractor, metric, dimension, kind, (yield from _network(fetch, kind, primary)))
    searched = None if content is None else _projection(function, content, primary, metric, dimension)
    return Described(make_key, metric == "cosine", searched, complete)


class _Fetch(NamedTuple):
    exchange: Exchange
    function: str
    folder: Path | None
    node: str | None

    def file(self, named: Mapping[str, Any], most: int, suffix: str) -> Steps[bytes | None]:
        """Return the file that is named, fetched once; None where it is too large for a device."""
        sha256 = str(named["sha256"])
        content = None if self.folder is None else disk.load_file(self.folder, sha256, suffix)
        if content is None:
            if not 0 < int(named["bytes"]) <= most:
                return None
            call = calls.file(self.function, sha256)
            content = yield from self.exchange.run(call, patient=False, node=self.node)
            if hashlib.sha256(content).hexdigest() != sha256:
                raise ValueError("a file for devices is not the one that was named")
            if self.folder is not None:
                disk.save_file(self.folder, sha256, content, suffix)
        return content


def _network(fetch: _Fetch, kind: str, primary: Mapping[str, Any]) -> Steps[Callable[[Any], Key] | None]:
    """Return what makes keys by the function's own file; None where there is none for this device."""
    file = primary.get("file")
    if primary.get("extractor") != "onnx" or not file or not onnx.available():
        return None
    content = yield from fetch.file(file, onnx.MOST_BYTES, ".onnx")
    if content is None:
        return None
    try:
        return onnx.network(content, kind, primary.get("prepare") or {})
    except Exception as error:  # ONNX Runtime's errors are no closed list
        log.debug("%s: the file that makes keys cannot be used here: %s", fetch.function, error)
        return None


def _projection_file(fetch: _Fetch, primary: Mapping[str, Any]) -> Steps[bytes | None]:
    """Return what keys are searched by, as it came; None where there is none for this device."""
    file = primary.get("projection")
    return (yield from fetch.file(file, projection.MOST_BYTES, ".json")) if file else None


def _projection(
    function: str, content: bytes, primary: Mapping[str, Any], metric: str, dimension: int
) -> Projection | None:
    """Return the projection in a file; None, with a warning, where it is of no use: less is answered then."""
    try:
        return projection.read_projection(content, str(primary["projection"]["sha256"]), dimension, metric)
    except UNFIT as error:
        log.warning("%s: keys are compared as they are, since its projection is of no use: %s", function, error)
        return None
