"""Bytes on the wire: inputs, keys and results there, results and headers back."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from likewise_client._errors import InvalidInput, MalformedAnswer
from likewise_client._media import Picture, Sound, compact, encode_pil, encode_pixels, encode_sound, is_pil

NPY = "application/x-npy"
JSON = "application/json"
OCTETS = "application/octet-stream"

Input = Union[
    bytes, bytearray, memoryview, NDArray[Any], Picture, Sound, "os.PathLike[str]", Sequence[Any], Mapping[str, Any]
]
"""What `infer` takes: encoded bytes, an array, an image of Pillow's, a sound, a file's path, lists and dicts (JSON)."""

MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".ppm": "image/x-portable-pixmap",
    ".pgm": "image/x-portable-graymap",
    ".pnm": "image/x-portable-anymap",
    ".wav": "audio/wav",
    ".npy": NPY,
    ".json": JSON,
}
"""Media type by a file's suffix, in lower case."""

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x93NUMPY", NPY),
    (b"BM", "image/bmp"),
    (b"P5", "image/x-portable-graymap"),
    (b"P2", "image/x-portable-graymap"),
    (b"P6", "image/x-portable-pixmap"),
    (b"P3", "image/x-portable-pixmap"),
)


def encode_input(
    value: Input, media_type: str | None = None, *, lists_as: str = JSON, narrow: bool = False
) -> tuple[bytes, str]:
    """Return an input's bytes and media type.

    media_type: what bytes are in, or overrides a path's suffix; told from the first bytes where absent. Of a picture
        in memory (pixels, or Pillow's): what it is sent as.
    narrow: for a model, which has a type of its own: an array is sent in the smallest one that holds the same numbers.
    lists_as: JSON or NPY, how to send nested lists (a lookup cannot take them as JSON, which names keys there).
    Raises InvalidInput for what cannot be encoded or is no media type, OSError for a path that cannot be read.
    """
    check_media_type(media_type)
    if isinstance(value, (bytes, bytearray, memoryview)):
        body = bytes(value)
        return body, media_type or _sniff(body)
    if isinstance(value, np.ndarray):
        if media_type is not None and media_type.startswith("image/"):
            return encode_pixels(value, media_type), media_type
        return encode_npy(compact(value) if narrow else value), media_type or NPY
    if isinstance(value, Sound):
        return encode_sound(value), media_type or "audio/wav"
    if is_pil(value):
        return encode_pil(value, media_type or "image/png"), media_type or "image/png"
    if isinstance(value, os.PathLike):
        path = Path(value)
        known = media_type or MEDIA_TYPES.get(path.suffix.lower())
        body = path.read_bytes()
        return body, known or _sniff(body)
    if isinstance(value, str):
        raise InvalidInput("a str is no input: pass Path(...) for a file, or bytes with a media_type")
    if lists_as == NPY and isinstance(value, Sequence):
        return encode_npy(_array(value)), media_type or NPY
    return encode_json(value), media_type or JSON


_MEDIA_TYPE = re.compile(r"[\w!#$&^.+*-]+/[\w!#$&^.+*-]+(?:[ \t]*;[ -~]*)?", re.ASCII)


def check_media_type(media_type: str | None, name: str = "media_type") -> None:
    """Raise InvalidInput for what is no media type."""
    if media_type is not None and not (isinstance(media_type, str) and _MEDIA_TYPE.fullmatch(media_type)):
        raise InvalidInput(f"{name} is a media type, such as 'image/png', not {media_type!r}")


def _sniff(body: bytes) -> str:
    if body[8:12] == b"WAVE" and body[:4] in (b"RIFF", b"RF64"):
        return "audio/wav"
    if body[8:12] == b"WEBP" and body[:4] == b"RIFF":
        return "image/webp"
    for magic, media_type in _MAGIC:
        if body.startswith(magic):
            return media_type
    raise InvalidInput("these bytes do not say what they are: pass media_type, such as 'image/png'")


def _array(value: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"not an array of numbers: {error}") from error


def encode_npy(values: NDArray[Any]) -> bytes:
    """Return an array in .npy format; never with pickled objects in it."""
    buffer = io.BytesIO()
    try:
        np.save(buffer, values, allow_pickle=False)
    except ValueError as error:
        raise InvalidInput(f"an array of numbers is needed, not of {values.dtype}: {error}") from error
    return buffer.getvalue()


def encode_json(value: Any) -> bytes:
    """Return compact JSON (RFC 8259: no NaN, no infinity)."""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"cannot be written as JSON: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON value")


def encode_key(key: ArrayLike) -> bytes:
    """Return one key, shape (d,), as little-endian float32 bytes. Raises InvalidInput if it is not finite."""
    return key_matrix(np.atleast_2d(_array(key)), rows=1).tobytes()


def key_matrix(keys: ArrayLike, rows: int | None = None) -> NDArray[np.float32]:
    """Return keys as a C-contiguous little-endian float32 array of shape (n, d), d >= 1, all finite."""
    matrix = np.ascontiguousarray(_array(keys), dtype="<f4")
    if matrix.ndim != 2 or matrix.shape[1] == 0 or (rows is not None and len(matrix) != rows):
        expected = "one vector, shape (d,)" if rows == 1 else "vectors of one length, shape (n, d)"
        raise InvalidInput(f"a key lookup takes {expected}, not shape {np.shape(keys)}")
    if not np.isfinite(matrix).all():
        raise InvalidInput("a key holds NaN or infinity (float32)")
    return matrix


def text_of(data: bytes) -> str:
    """Return bytes as base64 text."""
    return base64.b64encode(data).decode("ascii")


def encode_result(result: Any, media_type: str | None = None) -> dict[str, str | Any]:
    """Return the fields of an insert that carry a result: any JSON, or bytes or an array in base64."""
    check_media_type(media_type, "result_media_type")
    if isinstance(result, np.ndarray) and media_type is None:
        return {"result_base64": text_of(encode_npy(result)), "media_type": NPY}
    if isinstance(result, (bytes, bytearray, memoryview)):
        return {"result_base64": text_of(bytes(result)), "media_type": media_type or OCTETS}
    if media_type not in (None, JSON):
        raise InvalidInput(f"a result in {media_type} is passed as bytes")
    return {"result": result}


def decode_result(body: bytes, media_type: str) -> Any:
    """Return a result's value: JSON parsed, .npy as an array, text as str, anything else as its bytes."""
    try:
        if media_type == JSON or media_type.endswith("+json"):
            return json.loads(body)
        if media_type == NPY:
            return decode_npy(body)
        if media_type.startswith("text/"):
            return body.decode()
    except Exception as error:  # what NumPy's reader of headers raises is no closed list
        raise MalformedAnswer(f"the result is not the {media_type} it claims to be: {error}") from error
    return body


def decode_npy(body: bytes) -> NDArray[Any]:
    """Return the array of .npy bytes. Raises ValueError; takes no more memory than the bytes hold numbers."""
    file = io.BytesIO(body)
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header:
        raise ValueError(f"version {version} of .npy is not known here")
    shape, by_column, dtype = read_header[version](file)
    size = len(body) - file.tell()
    if dtype.hasobject or dtype.itemsize == 0 or math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"{size} bytes are no array of shape {shape} and {dtype}")
    flat = np.frombuffer(body, dtype, offset=file.tell()).copy()
    return flat.reshape(shape[::-1]).T if by_column else flat.reshape(shape)


@dataclass(frozen=True)
class CacheStatus:
    """One member of a Cache-Status header (RFC 9211)."""

    cache: str
    """Who wrote it."""
    parameters: Mapping[str, str | int | bool]

    @property
    def hit(self) -> bool:
        """Answered without going on."""
        return self.parameters.get("hit") is True

    @property
    def detail(self) -> str:
        """The cache's own word about it, or an empty string."""
        return str(self.parameters.get("detail", ""))

    @property
    def ttl_s(self) -> float | None:
        """Seconds of freshness left, or None where it does not say."""
        ttl = self.parameters.get("ttl")
        return float(ttl) if isinstance(ttl, int) and not isinstance(ttl, bool) else None


_MEMBER = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[^\s;,="]+)')
_PARAMETER = re.compile(r'\s*;\s*([a-z*][a-z0-9_.*-]*)(?:=("(?:[^"\\]|\\.)*"|[^\s;,"]+))?')


def parse_cache_status(header: str) -> list[CacheStatus]:
    """Parse a Cache-Status header (a list in the sense of RFC 8941); an empty list where it is malformed."""
    members: list[CacheStatus] = []
    position = 0
    while match := _MEMBER.match(header, position):
        position = match.end()
        parameters: dict[str, str | int | bool] = {}
        while found := _PARAMETER.match(header, position):
            parameters[found[1]] = True if found[2] is None else _bare(found[2])
            position = found.end()
        members.append(CacheStatus(str(_unquoted(match[1])), parameters))
        rest = header[position:].lstrip()
        if not rest:
            return members
        if not rest.startswith(","):
            return []
        position = len(header) - len(rest) + 1
    return []


def _bare(text: str) -> str | int | bool:
    if text in ("?0", "?1"):
        return text == "?1"
    if re.fullmatch(r"-?\d{1,15}", text):
        return int(text)
    return _unquoted(text)


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text


def likewise_status(header: str) -> CacheStatus:
    """Return what likewise said in a Cache-Status header that other caches on the way may have added to."""
    members = parse_cache_status(header)
    for member in members:
        if member.cache == "likewise":
            return member
    return CacheStatus("", {})


def parse_seconds(header: str | None, now: float) -> float:
    """Return seconds from `Age` or `Retry-After`: a number, or a date after `now` (Unix time); 0 if neither."""
    if not header:
        return 0.0
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - now
        except (ValueError, TypeError, IndexError, OverflowError):
            return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0
