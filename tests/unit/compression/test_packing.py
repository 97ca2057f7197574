"""A packed file unpacks to the very same ONNX file, and broken ones are refused within bounds."""

from __future__ import annotations

import json
import struct
import tracemalloc
import zlib

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from likewise.compression.network import Network
from likewise.compression.precision import float16
from likewise.compression.pruning import magnitude, pruned
from likewise.compression.sharing import coded, shared
from likewise.packing import huffman, packing
from likewise.packing.packing import HEAD, MAGIC, pack
from likewise_client._device import huffman as decoding
from likewise_client._device import unpacking
from likewise_client._device.unpacking import unpack


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_unpacked_is_the_very_same_file(network: Network, bits: int) -> None:
    """Whatever its weights: shared, sparse, halves, or as they were."""
    for made in (
        network, shared(network, bits), coded(network, 0.1), float16(network),
        shared(pruned(network, 0.95, magnitude(network)), bits),
    ):  # fmt: skip
        content = made.to_bytes()
        assert unpack(pack(content)) == content


def test_shared_weights_take_the_bits_that_their_codes_do(network: Network) -> None:
    """Less than the bits of an index each, and a little for the graph."""
    made = shared(network, 3)
    numbers = sum(made.weights[layer.weight].size for layer in made.layers())
    others = sum(value.nbytes for name, value in made.weights.items()) - 4 * numbers
    assert len(pack(made.to_bytes())) < 3 * numbers / 8 + others + 3000


def test_zeros_cost_less_than_a_bit(network: Network) -> None:
    """Gaps between the others are told, not each zero."""
    made = network.copy()
    for layer in made.layers():
        weight = np.zeros_like(made.weights[layer.weight])
        weight.reshape(-1)[::400] = 1.0
        made.weights[layer.weight] = weight
    numbers = sum(made.weights[layer.weight].size for layer in made.layers())
    content = made.to_bytes()
    packed = pack(content)
    assert unpack(packed) == content
    assert len(packed) < numbers / 32 + 4000


@given(st.lists(st.integers(0, 255), min_size=1, max_size=5000), st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_codes_decode_to_what_was_encoded(symbols: list[int], most: int) -> None:
    """Of any lengths and counts, lanes included."""
    given_symbols = np.array(symbols, np.uint8) % most
    lengths = huffman.code_lengths(np.bincount(given_symbols, minlength=256))
    lanes, sizes = huffman.encode(given_symbols, lengths)
    coded = decoding.Coded(lanes, sizes, lengths, len(symbols))
    for found in decoding.decode([coded] * 3):
        assert np.array_equal(found, given_symbols)


def test_codes_are_as_short_as_the_entropy_says() -> None:
    """Within a bit of it, and none beyond 15 bits however rare."""
    counts = np.array([2**at for at in range(40)], np.int64)
    lengths = huffman.code_lengths(counts)
    assert lengths.max() <= huffman.MAX_BITS
    shares = counts / counts.sum()
    assert (shares * lengths).sum() <= -(shares * np.log2(shares)).sum() + 1
    assert sum(0.5 ** lengths.astype(float)) == 1  # a whole code


@pytest.mark.parametrize("lengths", [[], [0, 0], [1, 1, 1], [2, 2, 2], [16, 16], [1, 2]])
def test_lengths_that_are_no_code_are_refused(lengths: list[int]) -> None:
    """Too many symbols, too few, or too long ones."""
    with pytest.raises(ValueError, match="code"):
        decoding.decode([decoding.Coded(b"\0", np.ones(1, np.uint16), np.array(lengths, np.uint8), 1)])


def test_every_cut_and_every_changed_byte_is_refused(network: Network) -> None:
    """By the checksum."""
    packed = pack(shared(network, 4).to_bytes())
    for at in range(0, len(packed), max(1, len(packed) // 97)):
        with pytest.raises(ValueError, match="it"):
            unpack(packed[:at])
        with pytest.raises(ValueError, match=r"checksum|packed"):
            unpack(packed[:at] + bytes([packed[at] ^ 1]) + packed[at + 1 :])


def forged(packed: bytes, change: dict[str, object], tensor: dict[str, object] | None = None) -> bytes:
    """Return a file with another header, and a checksum that fits."""
    length = HEAD.unpack(packed[: HEAD.size])[1]
    header = json.loads(packed[HEAD.size : HEAD.size + length])
    header.update(change)
    header["tensors"][0].update(tensor or {})
    text = json.dumps(header).encode()
    content = HEAD.pack(MAGIC, len(text)) + text + packed[HEAD.size + length : -4]
    return content + struct.pack("<I", zlib.crc32(content))


@pytest.mark.parametrize(
    ("change", "tensor"),
    [
        ({"size": 1 << 40}, {}), ({"size": -1}, {}), ({"size": 1.5}, {}), ({"size": True}, {}), ({"skeleton": 3}, {}),
        ({"sha256": "0"}, {}), ({}, {"count": 1 << 40}), ({}, {"at": 1 << 40}), ({}, {"width": 3}), ({}, {"width": 0}),
        ({}, {"coding": "pickle"}), ({}, {"coding": "deflate"}), ({}, {"parts": []}), ({}, {"parts": "abcd"}),
        ({}, {"at": 0}), ({}, {"gaps": 1 << 40}), ({"tensors": [{}]}, {}),
    ],
)  # fmt: skip
def test_headers_that_lie_are_refused(network: Network, change: dict[str, object], tensor: dict[str, object]) -> None:
    """Also with a checksum that fits, and without taking the memory that they claim."""
    packed = pack(shared(network, 4).to_bytes())
    if (change, tensor) == ({}, {"gaps": 1 << 40}):
        packed = pack(pruned(shared(network, 4), 0.97, magnitude(network)).to_bytes())
    try:
        found = unpack(forged(packed, change, tensor))
    except ValueError:
        return
    assert tensor == {"gaps": 1 << 40}  # of a tensor without gaps, which looks at none
    assert found == unpack(packed)


def test_more_than_the_caller_allows_is_refused(network: Network) -> None:
    """Before anything is unpacked."""
    content = network.to_bytes()
    with pytest.raises(ValueError, match="over"):
        unpack(pack(content), len(content) - 1)
    assert unpack(pack(content), len(content)) == content


def test_lanes_without_content_are_refused_before_they_take_memory() -> None:
    """Two bytes for each 1,024 symbols would else be enough to fill it."""
    lanes = 1 << 14
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="cut off"):
            decoding.decode(
                [decoding.Coded(b"", np.zeros(lanes, np.uint16), np.array([1], np.uint8), lanes * decoding.LANE)]
            )
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 255), st.integers(0, 2**32 - 1)), max_size=12),
    st.integers(1, 5),
)
@settings(max_examples=30, deadline=None)
def test_codes_decoded_together_do_not_mix(parts: list[tuple[int, int, int]], together: int) -> None:
    """However many lanes each has, and however many codes go together."""
    coded, wanted = [], []
    for count, most, seed in parts:
        symbols = np.random.default_rng(seed).integers(0, most, count, np.uint8)
        lengths = huffman.code_lengths(np.bincount(symbols, minlength=most))
        lanes, sizes = huffman.encode(symbols, lengths) if count else (b"", np.zeros(0, np.uint16))
        coded.append(decoding.Coded(lanes, sizes, lengths, count))
        wanted.append(symbols)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "TOGETHER", together)
        found = decoding.decode(coded)
    assert len(found) == len(wanted)
    assert all(np.array_equal(one, other) for one, other in zip(found, wanted, strict=True))


def test_many_small_tensors_take_no_step_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand of two lanes each are decoded in four rounds; more than a file may have are refused unread."""
    rounds = []
    decoded = decoding._decoded
    monkeypatch.setattr(decoding, "_decoded", lambda coded: rounds.append(len(coded)) or decoded(coded))
    rng = np.random.default_rng(0)
    values = np.sort(rng.integers(0, 2**32, 100).astype("<u4"))
    weights = [helper.make_tensor(f"w{at}", 1, [1100], rng.choice(values, 1100).tobytes(), raw=True)
               for at in range(1000)]  # fmt: skip
    content = helper.make_model(helper.make_graph([], "g", [], [], weights)).SerializeToString()
    packed = pack(content)
    assert unpack(packed) == content
    assert rounds == [256, 256, 256, 232]
    monkeypatch.setattr(unpacking, "MOST_TENSORS", 999)
    with pytest.raises(ValueError, match="too many"):
        unpack(packed)


def test_tensors_beyond_the_limit_stay_as_they_are(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest ones, and what comes out is the very same file."""
    content = shared(network, 4).to_bytes()
    monkeypatch.setattr(packing, "MOST_TENSORS", 2)
    packed = pack(content)
    length = HEAD.unpack(packed[: HEAD.size])[1]
    tensors = json.loads(packed[HEAD.size : HEAD.size + length])["tensors"]
    sizes = sorted(layer_size for layer_size in _sizes(content))
    assert sorted(each["count"] * each["width"] for each in tensors) == sizes[-2:]
    assert unpack(packed) == content


def _sizes(content: bytes) -> list[int]:
    return [len(each.raw_data) for each in onnx.load_from_string(content).graph.initializer]
