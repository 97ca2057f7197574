"""The coin that promises rest on: numbers from the operating system, which nobody can foresee from those before."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import chain

import numpy as np

_BLOCK_BYTES = 4096


def system_coin() -> Callable[[], float]:
    """Return a source of numbers that are uniform in [0, 1) with 53 bits each, drawn from `os.urandom` in blocks.

    As fast as `random.random`, which gives its whole future away to whoever sees enough of its outcomes. A forked
    child draws a block of its own. To be called from one thread at a time.
    """
    block: list[float] = []

    def blocks() -> Iterator[list[float]]:
        while True:
            drawn = np.frombuffer(os.urandom(_BLOCK_BYTES), "<u8")
            block[:] = ((drawn >> np.uint64(11)) * 2.0**-53).tolist()
            yield block

    # an iterator over an emptied list is at its end, so that the chain asks for the next block
    os.register_at_fork(after_in_child=block.clear)
    return chain.from_iterable(blocks()).__next__
