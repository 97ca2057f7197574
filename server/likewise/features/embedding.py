"""A small network as the feature extractor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from likewise.errors import ModelFailed
from likewise.features.prepare import Prepare
from likewise.features.vector import unit
from likewise.types import Input, Key, Tensor


class OnnxExtractor:
    """A key computed by a network, such as the embedding layer of a tiny CNN trained for the function.

    run: takes a batch of one, shape (1, ...), returns shape (1, dimension); may block.
    prepare: input to that batch's only element.
    """

    def __init__(
        self, run: Callable[[Tensor], Tensor], prepare: Prepare, dimension: int, metric: str = "cosine"
    ) -> None:
        self._run = run
        self._prepare = prepare
        self._dimension = dimension
        self._unit = metric == "cosine"

    @property
    def dimension(self) -> int:
        """Length of the key."""
        return self._dimension

    def __call__(self, value: Input) -> Key:
        """Return the network's output as a key. Raises ModelFailed where it has the wrong size or is not finite."""
        out = np.ascontiguousarray(self._run(self._prepare(value)[None]), np.float32).reshape(-1)
        if out.size != self._dimension:
            raise ModelFailed(f"The key model returned {out.size} numbers where {self._dimension} were promised.")
        if not np.isfinite(np.dot(out, out)):
            raise ModelFailed("The key model returned NaN or infinity; check its weights and this input.")
        return unit(out) if self._unit else out
