"""The private coin, and ids."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from likewise.randomness import system_coin, system_ids


def test_it_is_uniform_and_never_one() -> None:
    """Mean, variance and range of many numbers, over the ends of many blocks."""
    coin = system_coin()
    drawn = [coin() for _ in range(20_000)]
    mean = sum(drawn) / len(drawn)
    assert 0.0 <= min(drawn) < 0.001
    assert 0.999 < max(drawn) < 1.0
    assert mean == pytest.approx(0.5, abs=0.015)
    assert sum((each - mean) ** 2 for each in drawn) / len(drawn) == pytest.approx(1 / 12, abs=0.005)
    assert len(set(drawn)) == len(drawn)


def test_no_seed_repeats_it() -> None:
    """Neither the generator of the standard library nor another coin has anything to do with it."""
    random.seed(1)
    one, other = system_coin(), system_coin()
    first = [one() for _ in range(10)]
    random.seed(1)
    assert first != [other() for _ in range(10)]


def test_ids_use_all_their_bits_and_do_not_repeat() -> None:
    """63 bits, over the ends of many blocks."""
    draw = system_ids()
    drawn = [draw() for _ in range(5_000)]
    assert all(type(each) is int and 0 <= each < 2**63 for each in drawn)
    assert len(set(drawn)) == len(drawn)
    for bit in range(63):
        assert 0.45 < sum(each >> bit & 1 for each in drawn) / len(drawn) < 0.55


@pytest.mark.parametrize("source", [system_coin, system_ids])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_draws_numbers_of_its_own(source: Callable[[], Callable[[], float]]) -> None:
    """In the middle of a block, too."""
    coin = source()
    coin()
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writes, repr([coin() for _ in range(5)]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reads, 4096).decode() != repr([coin() for _ in range(5)])
    os.close(reads)
    os.close(writes)
