"""Single numbers in and out of NumPy arrays, at a third of the price of indexing the array."""

from __future__ import annotations

from typing import Any, cast

from numpy.typing import NDArray


def ints(array: NDArray[Any]) -> memoryview[int]:
    """Return a view of the same memory whose items are Python integers."""
    return cast("memoryview[int]", memoryview(cast("Any", array)))


def floats(array: NDArray[Any]) -> memoryview[float]:
    """Return a view of the same memory whose items are Python floats."""
    return cast("memoryview[float]", memoryview(cast("Any", array)))
