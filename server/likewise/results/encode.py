"""Model outputs turned into results: the bytes that a client gets."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import exp, isfinite

import numpy as np
import orjson

from likewise.errors import ModelFailed
from likewise.types import Result, Tensor

Encode = Callable[[Sequence[Tensor]], Result]
"""Turns one input's outputs, without batch axis, into its result. Raises ModelFailed."""


def label_encoder(labels: Sequence[str]) -> Encode:
    """Return an encoder to `{"label": ..., "confidence": ...}` from the first output, shape (classes,) or with ones.

    labels: names by class; empty: classes are named by their numbers. The confidence is the softmax of the logits,
    or the output itself where it is a distribution already.
    """
    names = tuple(labels)

    def encode(outputs: Sequence[Tensor]) -> Result:
        scores = outputs[0].ravel()
        if scores.size != max(outputs[0].shape, default=1):
            raise ModelFailed(
                f"The model's first output has shape {list(outputs[0].shape)} for one input; a label needs one score "
                "for each class."
            )
        few = scores.size <= FEW
        plain: list[float] = scores.tolist() if few else []
        if scores.size == 0 or not isfinite(sum(plain) if few else scores.sum(dtype=np.float64)):
            raise ModelFailed("The model's first output holds NaN, infinity or nothing; check the input and the model.")
        if names and len(names) != scores.size:
            raise ModelFailed(f"The model's first output has {scores.size} classes, the labels name {len(names)}.")
        best, confidence = _top(plain) if few else _top_of_many(scores)
        return Result(
            orjson.dumps({"label": names[best] if names else str(best), "confidence": round(confidence, 6)}),
        )

    return encode


FEW = 256
"""Classes up to which plain numbers are faster than arrays: an array's operation costs what thirty numbers do."""


def _top(plain: list[float]) -> tuple[int, float]:
    """Return the best class and its confidence, from the logits or the distribution of few classes."""
    top = max(plain)
    if min(plain) >= 0.0 and abs(sum(plain) - 1.0) < 1e-3:
        return plain.index(top), top
    return plain.index(top), 1.0 / sum([exp(score - top) for score in plain])


def _top_of_many(scores: Tensor) -> tuple[int, float]:
    """Return what `_top` does."""
    scores = scores.astype(np.float64)
    best = int(scores.argmax())
    if scores.min() >= 0.0 and abs(scores.sum() - 1.0) < 1e-3:
        return best, float(scores[best])
    return best, float(1.0 / np.exp(scores - scores[best]).sum())


def tensor_encoder(names: Sequence[str]) -> Encode:
    """Return an encoder to `{"outputs": {name: {"shape", "data"}}}`, the data flat in C order."""

    def encode(outputs: Sequence[Tensor]) -> Result:
        document = {}
        for name, output in zip(names, outputs, strict=True):
            if output.dtype.kind == "f" and not np.isfinite(output).all():
                raise ModelFailed(f"The model's output `{name}` holds NaN or infinity; check the input and the model.")
            flat = np.ascontiguousarray(output).ravel()
            document[name] = {
                "shape": list(output.shape),
                "data": flat.astype(np.float32) if flat.dtype == np.float16 else flat,
            }
        return Result(orjson.dumps({"outputs": document}, option=orjson.OPT_SERIALIZE_NUMPY))

    return encode


def read_labels(text: str) -> tuple[str, ...]:
    """Return the names in the text of a labels file, one per line; blank lines at the end do not count."""
    names = [line.strip() for line in re.split(r"\r\n|\n|\r", text)]
    while names and not names[-1]:
        names.pop()
    return tuple(names)
