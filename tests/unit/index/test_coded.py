"""Lists of very many keys: which are found, and the pages beneath."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

import faiss
import numpy as np
import pytest

from likewise.index.coded import CodedLists
from likewise.index.pages import join_pages, keep_small

DIMENSION, GROUPS = 64, 2000


def grouped(count: int, seed: int) -> np.ndarray:
    """Return keys around common middles, so that there are several lists for each: shape (count, DIMENSION)."""
    middles = np.random.default_rng(7).normal(size=(GROUPS, DIMENSION))
    rng = np.random.default_rng(seed)
    keys = middles[rng.integers(0, GROUPS, count)] + 0.1 * rng.normal(size=(count, DIMENSION))
    return keys.astype(np.float32)


def test_the_lists_that_hold_the_nearest_are_found_though_they_stand_in_groups_far_from_each_other() -> None:
    keys, asked = grouped(20_000, 1), grouped(256, 2)
    lists = CodedLists(DIMENSION, len(keys), 1000, training=keys)
    lists.append(keys)
    lists.look_at(4 / 1000, 1)
    nearest = faiss.knn(asked, keys, 1)[0][:, 0]
    found = np.array([lists.search_one(key, 1).l2_sq[0] for key in asked])
    assert (found <= nearest * (1 + 1e-5)).mean() > 0.95


@pytest.mark.skipif(
    not hasattr(faiss, "ClusteringInitMethod_KMEANS_PLUS_PLUS"), reason="this faiss draws first centroids at random"
)
def test_twice_as_many_lists_as_groups_leave_hardly_a_group_without_a_list_of_its_own() -> None:
    groups = 100
    middles = np.random.default_rng(7).normal(size=(groups, DIMENSION))
    rng = np.random.default_rng(1)
    group_of = rng.integers(0, groups, 20_000)
    keys = (middles[group_of] + 0.1 * rng.normal(size=(len(group_of), DIMENSION))).astype(np.float32)
    lists = CodedLists(DIMENSION, len(keys), 2 * groups, training=keys)
    lists.append(keys)
    numbers = lists.numbers(0, len(keys))
    mixed = sum(len(set(group_of[numbers == number].tolist())) > 1 for number in range(lists.lists))
    assert mixed <= 1


@pytest.mark.parametrize("k", [1, 3, 10])
def test_few_candidates_are_enough_to_find_the_nearest_by_their_codes(k: int) -> None:
    keys, asked = grouped(20_000, 1), grouped(256, 2)
    lists = CodedLists(DIMENSION, len(keys), 100, training=keys)
    lists.append(keys)
    nearest = faiss.knn(asked, keys, k)[0]
    found = np.stack([lists.search_one(key, k).l2_sq.copy() for key in asked])
    assert (found <= nearest[:, -1:] * (1 + 1e-5)).mean() > 0.99
    together, _ = lists.search(asked, k)
    np.testing.assert_allclose(together, found, rtol=1e-5)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells what pages there are")
def test_pieces_that_fill_half_a_huge_page_are_put_on_one_and_keep_what_they_hold() -> None:
    size = 24 << 20
    held = keep_small(np.empty(size, np.uint8))
    held[...] = np.arange(size, dtype=np.uint8)
    join_pages([(held.ctypes.data, size)])
    assert (held == np.arange(size, dtype=np.uint8)).all()
    if not huge_bytes(held.ctypes.data):
        pytest.skip("this kernel makes no huge pages now")
    if huge_bytes(held.ctypes.data) < size - (4 << 20) and not gives_huge_pages(size):
        pytest.skip("this kernel has too few huge pages left")
    assert huge_bytes(held.ctypes.data) >= size - (4 << 20)


def gives_huge_pages(size: int) -> bool:
    """Say whether the kernel puts memory of that size on huge pages where it is asked to as plainly as can be."""
    held = mmap.mmap(-1, size)  # given back with the array
    held.madvise(mmap.MADV_HUGEPAGE)
    array = np.frombuffer(held, np.uint8)
    array[...] = 1
    return huge_bytes(array.ctypes.data) >= size - (4 << 20)


def huge_bytes(address: int) -> int:
    """Return how much of the mapping at an address is on huge pages."""
    here = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if found := re.match("([0-9a-f]+)-([0-9a-f]+) ", line):
            here = int(found[1], 16) <= address + (4 << 20) < int(found[2], 16)
        elif here and line.startswith("AnonHugePages:"):
            return int(line.split()[1]) * 1024
    return 0
