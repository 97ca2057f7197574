"""A model run on windows of an input: each is one of its batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from likewise.errors import ModelFailed
from likewise.ports import Model
from likewise.types import Tensor

AT_ONCE = 64
"""Windows in one run of a model at most."""


class WindowedModel:
    """Takes inputs of shape (windows, ...), and gives outputs that have windows as the axis behind the batch.

    A `likewise.ports.Model`.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.dynamic_batch = model.dynamic_batch

    def run(self, batch: Tensor) -> Sequence[Tensor]:
        """Return the outputs for a batch of shape (n, windows, ...). Raises ModelFailed."""
        count, windows = batch.shape[:2]
        flat = batch.reshape(-1, *batch.shape[2:])
        step = AT_ONCE if self.dynamic_batch else 1
        parts = [self._model.run(flat[at : at + step]) for at in range(0, len(flat), step)]
        try:
            joined = [np.concatenate(part) for part in zip(*parts, strict=True)]
        except ValueError as error:
            raise ModelFailed(f"The model's outputs differ in shape from window to window: {error}") from error
        return [output.reshape(count, windows, *output.shape[1:]) for output in joined]
