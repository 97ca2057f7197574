"""Advice to the kernel on the memory of faiss's vectors: what to take back, and where large pages pay."""

from __future__ import annotations

import ctypes
import mmap
from collections import Counter
from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

_ITEM_BYTES = {"UInt64Vector": 8, "Int64Vector": 8, "Int32Vector": 4}
_HUGE = 16 * 1024 * 1024
"""Vectors from this size on are worth large pages."""
_HUGE_PAGE = 2 * 1024 * 1024
_MADV_COLLAPSE = 25  # linux/mman.h; not in Python's mmap yet


def release(vector: Any, length: int, keep: int) -> None:
    """Give the reserved pages of a vector back until they are written; it stays where it is.

    Growing a vector writes zeros to it, which would commit memory for keys that may never come. Large ones are asked
    to come back as huge pages: a search touches keys all over, and fewer misses of the address cache save it a tenth.
    """
    if hasattr(mmap, "MADV_DONTNEED"):
        advise(vector, keep, length, mmap.MADV_DONTNEED)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        advise(vector, keep, length, mmap.MADV_HUGEPAGE, _HUGE)


def enlarge_pages(vector: Any, length: int) -> None:
    """Put what a vector holds already on huge pages: now, from Linux 6.1 on, else whenever the kernel comes to it."""
    if hasattr(mmap, "MADV_HUGEPAGE"):
        advise(vector, 0, length, mmap.MADV_HUGEPAGE, _HUGE)
        advise(vector, 0, vector.size(), _MADV_COLLAPSE, _HUGE)


def join_pages(pieces: Iterable[tuple[int, int]]) -> None:
    """Put memory that pieces of (address, bytes) lie in on huge pages now, from Linux 6.1 on, where they fill half.

    What else lies there goes with it. Takes about a second for a gigabyte, for threads in the background.
    """
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return
    filled: Counter[int] = Counter()
    for address, length in pieces:
        end = address + length
        for page in range(address // _HUGE_PAGE, -(-end // _HUGE_PAGE)):
            filled[page] += min(end, (page + 1) * _HUGE_PAGE) - max(address, page * _HUGE_PAGE)
    start = end = 0
    for page in sorted(page for page, count in filled.items() if 2 * count >= _HUGE_PAGE):
        if page != end:
            _join(start, end)
            start = page
        end = page + 1
    _join(start, end)


def _join(start: int, end: int) -> None:
    for advice in (mmap.MADV_HUGEPAGE, _MADV_COLLAPSE):  # what was to stay on small pages cannot be joined
        _advise(start * _HUGE_PAGE, end * _HUGE_PAGE, advice, _HUGE_PAGE)


def advise(vector: Any, start: int, end: int, advice: int, at_least: int = 1) -> None:
    """Advise the kernel on the whole pages among a vector's items from start to before end, where they are enough."""
    bytes_each = _ITEM_BYTES.get(type(vector).__name__) or max(1, vector.byte_size() // max(1, vector.size()))
    if vector.data() is not None:
        address = int(vector.data())
        _advise(address + start * bytes_each, address + end * bytes_each, advice, at_least)


def keep_small(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array after asking for no huge pages beneath it: each is cleared at once, which a loop would feel."""
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        _advise(array.ctypes.data, array.ctypes.data + array.nbytes, mmap.MADV_NOHUGEPAGE, _HUGE)
    return array


def give_back(address: int, length: int) -> None:
    """Give the whole pages among so many bytes back, which nobody will read any more."""
    if hasattr(mmap, "MADV_DONTNEED"):
        _advise(address, address + length, mmap.MADV_DONTNEED, 1)


def _advise(start: int, end: int, advice: int, at_least: int) -> None:
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    last = end // mmap.PAGESIZE * mmap.PAGESIZE
    if last - first >= at_least:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), advice)
