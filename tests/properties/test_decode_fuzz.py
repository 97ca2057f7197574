"""Whatever the bytes: an input within the limits, or an error made for people. Nothing printed, nothing huge made."""

from __future__ import annotations

import io
import json
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from likewise.errors import InvalidValue, LikewiseError, TooLarge, UndecodableInput, UnsupportedMediaType
from likewise.features.decode import MEDIA_TYPES, Kind, decoded_size, decoder
from likewise.features.identity import digest, signature
from likewise.types import Array, Audio, Image, Input

MAX_PIXELS, MAX_SECONDS, MAX_VALUES = 20_000, 2.0, 5_000
DECODERS = {
    kind: decoder(kind, max_pixels=MAX_PIXELS, max_seconds=MAX_SECONDS, max_values=MAX_VALUES) for kind in MEDIA_TYPES
}
FUZZ = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)


def _picture() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    coarse = np.random.default_rng(2).integers(0, 256, (5, 6, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (24, 20)), np.uint8)


def _npy(values: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)  # type: ignore[arg-type]
    return buffer.getvalue()


def _wav() -> bytes:
    data = np.arange(-200, 200, dtype="<i2").tobytes()
    head = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 2, 8000, 32000, 4, 16)
    return b"RIFF" + struct.pack("<I", len(data) + 36) + head + b"data" + struct.pack("<I", len(data)) + data


PICTURE = _picture()
EXIF = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x112, 3, 1, 6, 0, 0)


def _picture_file(suffix: str, *options: int, gray: bool = False) -> bytes:
    return bytes(cv2.imencode(suffix, PICTURE[:, :, 0] if gray else PICTURE, options)[1])


def _webp(*options: int) -> bytes:
    plain = _picture_file(".webp", *options)
    head = b"VP8X\x0a\0\0\0\x08\0\0\0" + (23).to_bytes(3, "little") + (19).to_bytes(3, "little")
    content = b"WEBP" + head + plain[12:] + b"EXIF" + struct.pack("<I", len(EXIF)) + EXIF
    return b"RIFF" + struct.pack("<I", len(content)) + content


def _long_wav(data_length: int) -> bytes:
    plain = _wav()
    sizes = b"ds64" + struct.pack("<IQQQI", 28, len(plain), len(plain) - 44, 200, 0)
    return b"RF64\xff\xff\xff\xffWAVE" + sizes + plain[12:40] + struct.pack("<I", data_length) + plain[44:]


def _double_wav() -> bytes:
    data = np.linspace(-1, 1, 60).tobytes()
    head = b"WAVEfmt " + struct.pack("<IHHIIHHH", 18, 3, 1, 8000, 64000, 8, 64, 0)
    return b"RIFF" + struct.pack("<I", len(data) + 38) + head + b"data" + struct.pack("<I", len(data)) + data


JPEG = _picture_file(".jpg")
SEEDS: list[tuple[Kind, str, bytes]] = [
    ("image", "image/png", _picture_file(".png")),
    ("image", "image/png", _picture_file(".png", cv2.IMWRITE_PNG_BILEVEL, 1, gray=True)),
    ("image", "image/jpeg", JPEG),
    ("image", "image/jpeg", _picture_file(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
    ("image", "image/jpeg", JPEG[:2] + b"\xff\xe1" + struct.pack(">H", len(EXIF) + 2) + EXIF + JPEG[2:]),
    ("image", "image/jpeg", JPEG[:-2] + bytes(20) + JPEG[-2:]),
    ("image", "image/webp", _picture_file(".webp", cv2.IMWRITE_WEBP_QUALITY, 80)),
    ("image", "image/webp", _picture_file(".webp", cv2.IMWRITE_WEBP_QUALITY, 101)),
    ("image", "image/webp", _webp(cv2.IMWRITE_WEBP_QUALITY, 101)),
    ("image", "image/bmp", _picture_file(".bmp")),
    ("image", "image/x-ms-bmp", _picture_file(".bmp", gray=True)),
    ("image", "image/x-portable-pixmap", _picture_file(".ppm")),
    ("image", "image/x-portable-graymap", b"P5 # gray\n3 2 999\n" + bytes(range(12))),
    ("audio", "audio/wav", _wav()),
    ("audio", "audio/wav", _double_wav()),
    ("audio", "audio/wav", _long_wav(0xFFFFFFFF)),
    ("audio", "audio/wav", _wav()[:40] + b"\xff\xff\xff\xff" + _wav()[44:]),
    ("array", "application/x-npy", _npy(np.ones((3, 4), np.float32))),
    ("array", "application/x-npy", _npy(np.ones((3, 4), np.bool_))),
    ("array", "application/json", b'{"shape": [2, 2], "data": [1, 2.5, -3e2, true]}'),
    ("array", "application/json", b"[[1, 2, 3], [4.5, -6, 7e1]]"),
]
KINDS = st.sampled_from([(kind, media_type) for kind, types in MEDIA_TYPES.items() for media_type in types])


def check(kind: str, media_type: str, body: bytes) -> None:
    """Decode, and hold what comes out against the limits; only LikewiseError may come instead."""
    refusal: LikewiseError | None = None
    value: Input | None = None
    assert decoded_size(kind, media_type, body) >= 0  # type: ignore[arg-type]
    try:
        value = DECODERS[kind](media_type, body)
    except LikewiseError as error:
        refusal = error
    if refusal is not None:
        assert isinstance(refusal, UndecodableInput | InvalidValue | TooLarge | UnsupportedMediaType)
        assert 400 <= refusal.status < 500
        assert refusal.detail
        return
    assert value is not None
    assert len(digest(value)) == 16
    assert bool(signature(value)) == isinstance(value, Array)
    if isinstance(value, Image):
        assert value.pixels.dtype == np.uint8
        assert value.pixels.ndim == 3
        assert 0 < value.pixels.size <= 3 * MAX_PIXELS
    elif isinstance(value, Audio):
        assert value.samples.dtype == np.float32
        assert 0 < len(value.samples) <= MAX_SECONDS * value.sample_rate
        assert np.abs(value.samples).max() <= 1
    else:
        assert isinstance(value, Array)
        assert 0 < value.values.size <= MAX_VALUES
        assert np.isfinite(value.values).all()


def with_checksums(body: bytes) -> bytes:
    """Return a PNG with every checksum made right, so that damage reaches what lies behind them."""
    parts, position = [body[:8]], 8
    while position + 12 <= len(body):
        length = struct.unpack_from(">I", body, position)[0]
        if position + 12 + length > len(body):
            break
        chunk = body[position + 4 : position + 8 + length]
        parts += (body[position : position + 4], chunk, struct.pack(">I", zlib.crc32(chunk)))
        position += 12 + length
    return b"".join(parts) + body[position:]


@FUZZ
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=12),
    repair=st.booleans(),
)
def test_mutated_inputs(
    seed: tuple[str, str, bytes], changes: list[tuple[int, int]], repair: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """Any bytes changed in a good input."""
    kind, media_type, good = seed
    body = bytearray(good)
    for place, byte in changes:
        body[(place // 2 % 64 if place % 2 else place) % len(body)] = byte  # half of them in the header
    check(kind, media_type, with_checksums(bytes(body)) if repair and media_type == "image/png" else bytes(body))
    assert capfd.readouterr() == ("", "")


@FUZZ
@given(seed=st.sampled_from(SEEDS), cut=st.integers(0, 4000), tail=st.binary(max_size=12))
def test_truncated_and_spliced_inputs(
    seed: tuple[str, str, bytes], cut: int, tail: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    """A good input broken off anywhere, and something else behind it."""
    kind, media_type, good = seed
    check(kind, media_type, good[: cut % (len(good) + 1)] + tail)
    assert capfd.readouterr() == ("", "")


@FUZZ
@given(
    where=KINDS,
    start=st.sampled_from(
        [
            *(b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"P6 ", b"P5 9 9 ", b"BM", b"RIFF", b"\x93NUMPY\x01\x00"),
            *(b"RIFF\xff\0\0\0WEBPVP8 ", b"RIFF\xff\0\0\0WEBPVP8X", b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0"),
        ]
    ),
    body=st.binary(max_size=300),
)
def test_random_bytes(where: tuple[str, str], start: bytes, body: bytes) -> None:
    """Noise, with or without a familiar beginning, as every media type."""
    check(*where, start + body)


HEADER_PARTS = (
    *(
        "{",
        "}",
        "(",
        ")",
        ",",
        ":",
        "'",
        '"',
        " ",
        "\n",
        "\x0c",
        "\x0b",
        "\x00",
        "\xe9",
        "-",
        "+",
        "_",
        "[",
        "#",
        "L",
        "0x1",
    ),
    *(
        "'descr'",
        "'fortran_order'",
        "'shape'",
        "'<f4'",
        "'|O'",
        "'?'",
        "True",
        "False",
        "None",
        "3",
        "4",
        "99999999999",
    ),
    *("'descr': '<f4'", "'fortran_order': False", "'shape': (3, 4)", "(3,)", "'shape': (3\x0c4,)"),
)


@FUZZ
@given(parts=st.lists(st.sampled_from(HEADER_PARTS), max_size=14), whole=st.booleans(), version=st.integers(1, 3))
def test_any_npy_header(parts: list[str], whole: bool, version: int) -> None:
    """Pieces of headers in any order, by themselves or inside an otherwise good header."""
    text = "".join(parts)
    if whole:
        text = "{'descr': '<f4', " + text + "'fortran_order': False, 'shape': (3, 4), }"
    raw = text.encode("latin-1")
    length = len(raw).to_bytes(2 if version == 1 else 4, "little")
    check("array", "application/x-npy", b"\x93NUMPY" + bytes((version, 0)) + length + raw + bytes(48))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["shape", "data", "x"]), inner),
    max_leaves=20,
)


@FUZZ
@given(document=JSON)
def test_any_json(document: object) -> None:
    """Any JSON document, NaN and all."""

    check("array", "application/json", json.dumps(document).encode())


def _bombs() -> list[tuple[str, str, bytes]]:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    def png(width: int, height: int, raw: bytes) -> bytes:
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")

    jpeg = bytes(cv2.imencode(".jpg", PICTURE)[1])
    frame = jpeg.index(b"\xff\xc0") + 5
    bmp = _picture_file(".bmp")
    run_lengths = bmp[:18] + struct.pack("<iiHHI", 65_000, 65_000, 1, 8, 1) + bmp[34:]
    lossy, lossless = (_picture_file(".webp", cv2.IMWRITE_WEBP_QUALITY, quality) for quality in (80, 101))
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (900000000,), }\n"
    return [
        ("image", "image/png", png(60_000, 60_000, bytes(1000))),
        ("image", "image/png", png(10, 10, bytes(60_000_000))),
        ("image", "image/jpeg", jpeg[:frame] + struct.pack(">HH", 65_000, 65_000) + jpeg[frame + 4 :]),
        ("image", "image/bmp", bmp[:18] + struct.pack("<ii", 65_000, 65_000) + bmp[26:]),
        ("image", "image/bmp", bmp[:18] + struct.pack("<ii", 65_000, -(2**31)) + bmp[26:]),
        ("image", "image/bmp", run_lengths),
        ("image", "image/webp", lossy[:26] + struct.pack("<HH", 16383, 16383) + lossy[30:]),
        ("image", "image/webp", lossless[:21] + struct.pack("<I", 16382 | 16382 << 14) + lossless[25:]),
        ("image", "image/x-portable-pixmap", b"P6 60000 60000 255\n" + bytes(100)),
        ("array", "application/x-npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header),
        ("array", "application/json", b'["' + b"x" * 200_000 + b'"' + b",1" * 4000 + b"]"),
        ("array", "application/json", b'{"shape": [100000000000], "data": []}'),
        ("audio", "audio/wav", _wav()[:40] + struct.pack("<I", 0x7FFE0000) + bytes(100)),
        ("audio", "audio/wav", _long_wav(0xFFFFFFFF)[:28] + struct.pack("<Q", 2**40) + _long_wav(0xFFFFFFFF)[36:]),
    ]


@pytest.mark.parametrize("bomb", _bombs(), ids=lambda bomb: f"{bomb[1]}-{len(bomb[2])}")
def test_bombs_make_nothing_huge(bomb: tuple[str, str, bytes], measured: Callable[[Callable[[], None]], int]) -> None:
    """Small bodies that promise gigabytes are refused with less than 4 MB made on the way."""

    def refused() -> None:
        with pytest.raises(LikewiseError):
            DECODERS[bomb[0]](bomb[1], bomb[2])

    assert measured(refused) < 4_000_000


def _long_bodies() -> dict[str, tuple[str, str, bytes]]:
    many = 1_000_000
    png_head = SEEDS[0][2][:33]
    empty = b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    webp = b"RIFF" + struct.pack("<I", 8 * many + 4) + b"WEBP"
    numbers = b"(" + b"1," * 4990 + b")"
    return {
        "WAV of empty chunks": ("audio", "audio/wav", b"RIFF\0\0\0\0WAVE" + b"LIST\0\0\0\0" * many),
        "WebP of empty chunks": ("image", "image/webp", webp + b"LIST\0\0\0\0" * many),
        "PNG of empty chunks": ("image", "image/png", png_head + empty * many),
        "JPEG of empty segments": ("image", "image/jpeg", JPEG[:2] + b"\xff\xfe\0\2" * many + JPEG[2:]),
        "JPEG of fill bytes": ("image", "image/jpeg", JPEG[:2] + b"\xff" * 4 * many + JPEG[2:]),
        "JPEG with stuffed zeros": ("image", "image/jpeg", JPEG[:-2] + b"\xff\0" * 2 * many + JPEG[-2:]),
        "JPEG with zeros": ("image", "image/jpeg", JPEG[:-2] + bytes(4 * many) + JPEG[-2:]),
        "PPM of comments": ("image", "image/x-portable-pixmap", b"P6 " + b"#\n" * many),
        "PPM of blanks": ("image", "image/x-portable-pixmap", b"P6" + b" " * many),
        "npy of axes": (
            "array",
            "application/x-npy",
            b"\x93NUMPY\2\0" + struct.pack("<I", len(numbers) + 10) + b"{'shape': " + numbers + bytes(many),
        ),
        "JSON of brackets": ("array", "application/json", b"[" * many),
        "JSON of empty lists": ("array", "application/json", b"[" + b"[]," * 4998 + b"[]]"),
    }


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("name", _long_bodies())
def test_long_bodies_of_tiny_parts_take_no_time(name: str) -> None:
    """Megabytes of nothing are gone through in a small part of a second of this thread's own time."""
    body = _long_bodies()[name]
    begin = time.thread_time()
    check(*body)
    assert time.thread_time() - begin < 1


@pytest.fixture
def measured() -> Callable[[Callable[[], None]], int]:
    """Run something and return the peak of the bytes that Python and NumPy made meanwhile."""

    def peak(run: Callable[[], None]) -> int:
        tracemalloc.start()
        try:
            run()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return peak
