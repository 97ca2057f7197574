"""A small network as the feature extractor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

import numpy as np

from likewise.errors import ModelFailed
from likewise.features.prepare import Prepare
from likewise.features.vector import scaled
from likewise.types import Halfway, Input, Key, Tensor


class OnnxExtractor:
    """A key computed by a network, such as the embedding layer of a tiny CNN trained for the function.

    run: takes one prepared input, without a batch axis, and returns the output for it; may block.
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
        return self._key(self._run(self._prepare(value)))

    def _key(self, output: Tensor) -> Key:
        plain = output.ndim == 1 and output.dtype == np.float32 and output.flags.c_contiguous
        out = output if plain else np.ascontiguousarray(output, np.float32).reshape(-1)
        if out.size != self._dimension:
            raise ModelFailed(f"The key model returned {out.size} numbers where {self._dimension} were promised.")
        norm_sq = float(out.dot(out))
        if not norm_sq < inf:
            raise ModelFailed("The key model returned NaN or infinity; check its weights and this input.")
        return scaled(out, norm_sq) if self._unit else out


class LayerExtractor(OnnxExtractor):
    """A key from an early layer of the function's own model: what was computed for it, the model goes on from.

    run: takes one prepared input, without a batch axis, and returns the key and the tensor at the cut; may block.
    """

    def __init__(
        self, run: Callable[[Tensor], Sequence[Tensor]], prepare: Prepare, dimension: int, metric: str = "cosine"
    ) -> None:
        super().__init__(lambda tensor: run(tensor)[0], prepare, dimension, metric)
        self._run_both = run

    def begin(self, value: Input) -> tuple[Key, Halfway]:
        """Return the key, and where the model stands. Raises as a call does."""
        key, tensor = self._run_both(self._prepare(value))
        return self._key(key), Halfway(tensor, value)
