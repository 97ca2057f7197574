"""Outputs for the windows of one input brought together into those of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from likewise.errors import ModelFailed
from likewise.results.encode import Encode
from likewise.types import Input, Result, Tensor

Merge = Literal["mean", "join", "each"]


def over_windows(encode: Encode, how: Merge, overlap: float) -> Encode:
    """Return an encoder of outputs that have windows as their first axis.

    how: `mean`: of all windows, as for scores; `join`: one behind the other along the next axis, less half of what
    overlaps at both ends of each, as for frames; `each`: as they are. overlap: the share of a window, in [0, 1).
    """

    def merged(outputs: Sequence[Tensor], value: Input | None = None) -> Result:
        return encode([_merge(output, how, overlap) for output in outputs], value)

    return merged


def _merge(output: Tensor, how: Merge, overlap: float) -> Tensor:
    if how == "each":
        return output
    if how == "mean":
        if output.dtype.kind != "f":
            raise ModelFailed(f"The windows' outputs are {output.dtype.name}; a mean is for floats alone.")
        mean: Tensor = output.mean(axis=0, dtype=np.float64).astype(output.dtype)
        return mean
    if output.ndim < 2:
        raise ModelFailed("The windows' outputs are single numbers; take windows `mean` or `each`.")
    cut = round(output.shape[1] * overlap / 2)
    kept = output[:, cut : output.shape[1] - cut]
    return kept.reshape(-1, *output.shape[2:])
