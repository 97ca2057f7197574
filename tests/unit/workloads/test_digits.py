from __future__ import annotations

import sys
from collections import Counter

import cv2
import numpy as np
import pytest

from likewise.errors import InvalidValue
from likewise.workloads.digits import Digits, load_digits, photograph


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits()


def pixels(body: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    return picture


def test_the_stream_plays_every_digit_once(digits: Digits) -> None:
    """1,797 requests, with the labels of the set, half of them held out."""
    stream = digits.stream(None, 0, 8)
    assert Counter(s.truth for s in stream) == Counter(str(label) for label in load_digits()[1])
    assert len(stream) == 1797
    assert sum(s.held_out for s in stream) == 898
    assert {s.device for s in stream} == set(range(8))


def test_bodies_are_gray_pngs_of_64_by_64(digits: Digits) -> None:
    """What a phone sends decodes to one channel at the promised size."""
    sample = digits.stream(1, 0, 1)[0]
    assert sample.media_type == "image/png"
    assert pixels(sample.body).shape == (64, 64)


def test_one_seed_gives_one_stream(digits: Digits) -> None:
    """Equal arguments, equal bytes; another seed, another order."""
    assert digits.stream(50, 3, 4) == digits.stream(50, 3, 4)
    assert [s.body for s in digits.stream(50, 3, 4)] != [s.body for s in digits.stream(50, 4, 4)]


def test_longer_streams_replay_without_repeating(digits: Digits) -> None:
    """Past the last digit they come again, never pixel for pixel."""
    stream = digits.stream(2500, 0, 8)
    assert len(stream) == 2500
    assert len({s.body for s in stream}) == 2500


def test_held_out_only_plays_the_other_half() -> None:
    """Nothing that the model was trained on is in the stream."""
    stream = Digits(held_out_only=True).stream(None, 0, 8)
    assert len(stream) == 898
    assert all(s.held_out for s in stream)


def test_a_still_photograph_is_the_digit_enlarged() -> None:
    """Without shift and light it is what a cubic resize gives, to a gray level or two."""
    digit = load_digits()[0][0]
    plain = cv2.resize(digit, (64, 64), interpolation=cv2.INTER_CUBIC)
    difference = photograph(digit).astype(int) - np.clip(np.rint(255 * plain), 0, 255)
    assert np.abs(difference).max() <= 3


def test_shift_moves_and_light_dims() -> None:
    """A whole-pixel shift moves the picture; gain and lift set its range."""
    digit = load_digits()[0][0]
    still, moved = photograph(digit).astype(int), photograph(digit, shift=(2, 0)).astype(int)
    assert np.abs(moved[:, 10:50] - still[:, 8:48]).max() <= 3
    dim = photograph(np.ones((8, 8), np.float32), gain=0.5, lift=0.1)
    assert np.unique(dim).tolist() == [153]


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare server installation is told about the extra."""
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(InvalidValue, match=r"likewise\[demo\]"):
        Digits()
