"""A long entry: its JSON without what stands in strings, and its long texts, in steps that take little."""

from __future__ import annotations

import base64
import json
import random
from time import thread_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.errors import BadRequest, InvalidValue, TooLarge
from likewise.http.apart import PIECE_BYTES, bytes_of, taken_apart
from likewise.http.pace import Pace

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def bare(value: Any) -> Any:
    """Return a document as it reads where each string is empty; objects as the pairs that they hold."""
    if isinstance(value, dict):
        return [("", bare(each)) for each in value.values()]
    if isinstance(value, list):
        return [bare(each) for each in value]
    return "" if isinstance(value, str) else value


async def outline(text: bytes, limit: int) -> bytes:
    return (await taken_apart(memoryview(text), limit, 1 << 30, Pace())).outline


@given(VALUES, st.booleans())
async def test_it_has_every_bracket_and_number_and_no_string(value: Any, plain: bool) -> None:
    text = json.dumps(value, ensure_ascii=plain).encode("utf-8", "surrogatepass")
    assert json.loads(await outline(text, 1 << 20), object_pairs_hook=list) == bare(value)


async def test_strings_count_for_nothing_and_the_rest_has_a_limit() -> None:
    assert await outline(b'{"a": "%b"}' % (b"9" * 1_000_000), 20) == b'{"": ""}'
    with pytest.raises(TooLarge, match="over 20 bytes"):
        await outline(b"[%b1]" % (b"1," * 100), 20)


def steps(work: Any) -> tuple[Any, float]:
    """Return what a coroutine returns that waits for nothing, and the longest step that it took, in processor time."""
    longest = 0.0
    while True:
        started = thread_time()
        try:
            work.send(None)
        except StopIteration as end:
            return end.value, max(longest, thread_time() - started)
        longest = max(longest, thread_time() - started)


def escaped(text: str, letters: str) -> str:
    return "".join(f"\\u{ord(each):04X}" if each in letters else each for each in text)


@pytest.mark.parametrize("size", [0, 1, 2, 3, PIECE_BYTES, 3 * PIECE_BYTES + 1, 3 * PIECE_BYTES + 2])
@pytest.mark.parametrize("letters", ["", "/+", "Q"])
async def test_base64_is_decoded_in_pieces(size: int, letters: str) -> None:
    """Also where some of its letters are escaped, wherever the pieces end."""
    content = random.Random(size).randbytes(size)
    text = escaped(base64.b64encode(content).decode(), letters).encode()
    assert await bytes_of(memoryview(text), "f", Pace()) == content
    assert await bytes_of(memoryview(text.replace(b"/", b"\\/")), "f", Pace()) == content


@pytest.mark.parametrize("at", [0, 1000, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, -2, -1])
@pytest.mark.parametrize("wrong", [b"=", b"!", b"\xff", b"\n", b"\\", b'\\"', b"=" * 4, b" "])
async def test_what_is_no_base64_is_refused_wherever_it_stands(at: int, wrong: bytes) -> None:
    """As base64 in one piece is."""
    text = bytearray(base64.b64encode(bytes(3 * PIECE_BYTES)))
    text[at:at] = wrong
    with pytest.raises((InvalidValue, BadRequest), match=r"base64|JSON"):
        await bytes_of(memoryview(bytes(text)), "f", Pace())


@settings(max_examples=50, deadline=None)
@given(VALUES, st.lists(st.sampled_from([10, 1 << 15, 100_000]), min_size=1, max_size=4), st.booleans())
async def test_long_texts_are_cut_out_and_nothing_else(value: Any, lengths: list[int], plain: bool) -> None:
    """What is left has a mark in the place of each, whatever stands around."""
    texts = {f"m{i}": 'ab\u00fc\\"/'[i % 6 :] * length for i, length in enumerate(lengths)}
    document = {"result": value, **texts, "last": [1, "x" * 40_000]}
    text = json.dumps(document, ensure_ascii=plain).encode("utf-8", "surrogatepass")
    found = await taken_apart(memoryview(text), 1 << 20, 1 << 30, Pace())
    left = json.loads(found.text)
    for name, mark in left.items():
        if isinstance(mark, str) and mark in found.cut:
            left[name] = json.loads(b'"%b"' % bytes(found.cut[mark]))
    assert left == json.loads(text)
    assert all(len(each) < 70_000 for name, each in json.loads(found.text).items() if name in texts)


def test_no_step_takes_long() -> None:
    """Of an input of 6 MB: neither finding it, nor what is left, nor its bytes."""
    content = bytes(6 << 20)
    text = b'{"input_media_type":"x/y","input_base64":"%b","result":1}' % base64.b64encode(content)
    found, longest = steps(taken_apart(memoryview(text), 1000, 1000, Pace()))
    assert len(found.text) < 200
    (cut,) = found.cut.values()
    decoded, longer = steps(bytes_of(cut, "f", Pace()))
    assert decoded == content
    assert max(longest, longer) < 0.008
