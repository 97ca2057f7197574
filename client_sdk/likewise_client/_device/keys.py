"""The server's feature extractors on the device, in NumPy alone: the same keys but for rounding.

Where an input cannot be read here (an encoded picture without PIL, a sound of a rare format) there is no key; the
server then makes it, and this device answers by exact repeats alone.
"""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Callable, Mapping
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

from likewise_client._device import pictures, sounds
from likewise_client._wire import JSON, NPY, decode_npy

Key = NDArray[np.float32]
MakeKey = Callable[[Any, bytes, str], Optional[Key]]
"""From an input, its bytes as they are sent and their media type, to its key; None: it cannot be made here."""

MOST_NORM_SQ = 1e30


def scaled(key: Key) -> Key:
    """Return a key at Euclidean norm 1; a zero key stays zero."""
    norm_sq = float(key.dot(key))
    return key * np.float32(1.0 / np.sqrt(norm_sq)) if norm_sq > 1e-24 else np.zeros_like(key)


def key_maker(
    extractor: str,
    metric: str,
    dimension: int,
    kind: str = "",
    network: Callable[[Any], Key] | None = None,
) -> MakeKey | None:
    """Return what makes the keys of a function; None: this device cannot.

    extractor, metric, dimension: as the server describes the function's primary key type. kind: of its inputs.
    network: what makes them where that is a file of the function's own.
    """
    make: Callable[..., Key]
    read: Callable[[Any, bytes, str], Any]
    if extractor in ("vector", "pool"):
        make, read = _vector if extractor == "vector" else _pool, _array
    elif extractor in pictures.EXTRACTORS:
        make, read = pictures.EXTRACTORS[extractor], _pixels
    elif extractor in sounds.EXTRACTORS:
        make, read = sounds.EXTRACTORS[extractor](), _sound
    elif extractor == "onnx" and network is not None and kind in READERS:
        make, read = network, READERS[kind]
    elif extractor == "bytes":
        make, read = _histogram, lambda value, body, media_type: body
    else:
        return None

    def make_key(value: Any, body: bytes, media_type: str) -> Key | None:
        try:
            what: Any = read(value, body, media_type)
            key = None if what is None else make(what)
        except Exception:  # what cannot be read here is the server's to refuse
            return None
        if key is None or key.shape != (dimension,):
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            if not float(key.dot(key)) < MOST_NORM_SQ:
                return None
        return scaled(key) if metric == "cosine" else key

    return make_key


def _array(value: Any, body: bytes, media_type: str) -> NDArray[Any] | None:
    if not isinstance(value, np.ndarray):
        if media_type == NPY:
            value = decode_npy(body)
        elif media_type == JSON:
            document = json.loads(body)
            if isinstance(document, Mapping):
                document = np.asarray(document["data"]).reshape(document["shape"])
            value = np.asarray(document)
        else:
            return None
    return value if value.dtype.kind in "fiub" else None


def _vector(values: NDArray[Any]) -> Key:
    return np.ascontiguousarray(values, np.float32).ravel()


def _pool(values: NDArray[Any]) -> Key:
    flat = values.reshape(-1)
    key = np.zeros(256, np.float64)
    if flat.size <= 256:
        key[: flat.size] = flat
    else:
        starts = np.arange(256) * flat.size // 256
        key[:] = np.add.reduceat(flat, starts, dtype=np.float64) / np.diff(np.append(starts, flat.size))
    return key.astype(np.float32)


def _histogram(content: bytes) -> Key:
    ends = content[:4096] + content[4096:][-4096:]
    key = np.zeros(512, np.float32)
    key[:256] = np.sqrt(np.bincount(np.frombuffer(ends, np.uint8), minlength=256) / np.float32(len(ends)))
    start = np.frombuffer(content[:8], np.uint8).astype(np.int64)
    key[256 + 32 * np.arange(len(start)) + start // 8] = np.float32(8**-0.5)
    return key


def _pixels(value: Any, body: bytes, media_type: str) -> NDArray[np.uint8] | None:
    if isinstance(value, np.ndarray):
        return value if value.dtype == np.uint8 and value.ndim in (2, 3) else None
    try:
        from PIL import Image, ImageOps
    except ImportError:
        return None
    with Image.open(io.BytesIO(body)) as picture:
        turned = ImageOps.exif_transpose(picture) or picture
        return np.asarray(turned.convert("L" if turned.mode in ("1", "L") else "RGB"))


def _sound(value: Any, body: bytes, media_type: str) -> tuple[NDArray[np.float32], int] | None:
    with wave.open(io.BytesIO(body)) as file:
        width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
        raw = file.readframes(file.getnframes())
    samples: NDArray[np.float32]
    if width == 2:
        samples = np.frombuffer(raw, "<i2") * np.float32(1 / 32768)
    elif width == 1:
        samples = (np.frombuffer(raw, np.uint8) - np.float32(128)) * np.float32(1 / 128)
    elif width == 4:
        samples = np.frombuffer(raw, "<i4").astype(np.float32) * np.float32(1 / 2**31)
    else:
        return None
    return samples.reshape(-1, channels).mean(axis=1, dtype=np.float32) if channels > 1 else samples, rate


READERS: Mapping[str, Callable[[Any, bytes, str], Any]] = {"image": _pixels, "audio": _sound, "array": _array}
