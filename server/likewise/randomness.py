"""Numbers from the operating system that nobody can foresee from those before: the coin that promises rest on; ids."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

_BLOCK_BYTES = 4096


def system_coin() -> Callable[[], float]:
    """Return a source of numbers that are uniform in [0, 1) with 53 bits each, drawn from `os.urandom` in blocks.

    As fast as `random.random`, which gives its whole future away to whoever sees enough of its outcomes.
    """
    return _drawn(lambda bits: ((bits >> np.uint64(11)) * 2.0**-53).tolist())


def system_ids() -> Callable[[], int]:
    """Return a source of whole numbers that are uniform in [0, 2**63), drawn as those of `system_coin`."""
    return _drawn(lambda bits: (bits >> np.uint64(1)).tolist())


def _drawn(made_of: Callable[[NDArray[Any]], list[T]]) -> Callable[[], T]:
    """Return a source of what is made of numbers of 64 random bits.

    A forked child draws a block of its own. To be called from one thread at a time.
    """
    block: list[T] = []

    def blocks() -> Iterator[list[T]]:
        while True:
            block[:] = made_of(np.frombuffer(os.urandom(_BLOCK_BYTES), "<u8"))
            yield block

    # an iterator over an emptied list is at its end, so that the chain asks for the next block
    os.register_at_fork(after_in_child=block.clear)
    return chain.from_iterable(blocks()).__next__
