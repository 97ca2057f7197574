"""Model outputs turned into results: labels and tensors, and what all kinds of results share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import exp, isfinite
from typing import Literal, Protocol

import numpy as np
import orjson

from likewise.errors import ModelFailed
from likewise.types import Input, Result, Tensor

Scores = Literal["auto", "logits", "probabilities"]


class Encode(Protocol):
    """Turns one input's outputs, without batch axis, into its result."""

    def __call__(self, outputs: Sequence[Tensor], value: Input | None = None) -> Result:
        """Return the result. value: the input, where the result refers to it. Raises ModelFailed."""


def label_encoder(labels: Sequence[str], *, top: int = 1, scores: Scores = "auto") -> Encode:
    """Return an encoder to `{"label": ..., "confidence": ...}` from the first output, shape (classes,) or with ones.

    labels: names by class; empty: classes are named by their numbers. top: with more than 1, `top` lists so many of the
    best, each with label and confidence. scores: what the output is; `auto`: a distribution where it is one, else
    logits, whose softmax the confidence is.
    """
    names = tuple(labels)

    def encode(outputs: Sequence[Tensor], value: Input | None = None) -> Result:
        found = _scores(outputs[0])
        if names and len(names) != found.size:
            raise ModelFailed(f"The model's first output has {found.size} classes, the labels name {len(names)}.")
        if top == 1:
            best, confidence = (_top if found.size <= FEW else _top_of_many)(found, scores)
            return Result(
                orjson.dumps({"label": names[best] if names else str(best), "confidence": round(confidence, 6)}),
            )
        shares = _shares(found, scores)
        order = np.argsort(-shares, kind="stable")[:top].tolist()
        ranked = [{"label": names[at] if names else str(at), "confidence": round(float(shares[at]), 6)} for at in order]
        return Result(orjson.dumps({**ranked[0], "top": ranked}))

    return encode


def multi_label_encoder(labels: Sequence[str], *, threshold: float = 0.5, scores: Scores = "auto") -> Encode:
    """Return an encoder to `{"labels": [...], "scores": {label: ...}}`: of each class, whether its score is enough.

    From the first output, shape (classes,) or with ones. labels: as for `label_encoder`, in the order of the classes.
    threshold: the least probability of a label that is listed. scores: what the output is; `auto`: probabilities where
    all are from 0 to 1, else logits, whose sigmoid counts.
    """
    names = tuple(labels)

    def encode(outputs: Sequence[Tensor], value: Input | None = None) -> Result:
        found = _scores(outputs[0]).astype(np.float64)
        if names and len(names) != found.size:
            raise ModelFailed(f"The model's first output has {found.size} scores, the labels name {len(names)}.")
        if scores == "logits" or (scores == "auto" and not (found.min() >= 0.0 and found.max() <= 1.0)):
            found = 1.0 / (1.0 + np.exp(-np.clip(found, -500.0, 500.0)))
        shown = names or tuple(map(str, range(found.size)))
        enough = [name for name, score in zip(shown, found.tolist(), strict=True) if score >= threshold]
        by_name = {name: round(score, 6) for name, score in zip(shown, found.tolist(), strict=True)}
        return Result(orjson.dumps({"labels": enough, "scores": by_name}))

    return encode


FEW = 256
"""Classes up to which plain numbers are faster than arrays: an array's operation costs what thirty numbers do."""


def _scores(output: Tensor) -> Tensor:
    """Return an output as a flat list of finite scores. Raises ModelFailed."""
    found = output.ravel()
    if found.size != max(output.shape, default=1):
        raise ModelFailed(
            f"The model's first output has shape {list(output.shape)} for one input; labels need one score for each "
            "class."
        )
    if found.size == 0 or not isfinite(sum(found.tolist()) if found.size <= FEW else found.sum(dtype=np.float64)):
        raise ModelFailed("The model's first output holds NaN, infinity or nothing; check the input and the model.")
    return found


def _top(scores: Tensor, kind: Scores) -> tuple[int, float]:
    """Return the best class and its confidence, from the logits or the distribution of few classes."""
    plain: list[float] = scores.tolist()
    top = max(plain)
    if kind == "probabilities" or (kind == "auto" and min(plain) >= 0.0 and abs(sum(plain) - 1.0) < 1e-3):
        return plain.index(top), top
    return plain.index(top), 1.0 / sum([exp(score - top) for score in plain])


def _top_of_many(scores: Tensor, kind: Scores) -> tuple[int, float]:
    """Return what `_top` does."""
    shares = _shares(scores, kind)
    best = int(scores.argmax())
    return best, float(shares[best])


def _shares(scores: Tensor, kind: Scores) -> Tensor:
    """Return the confidence of each class, float64."""
    scores = scores.astype(np.float64)
    if kind == "probabilities" or (kind == "auto" and scores.min() >= 0.0 and abs(scores.sum() - 1.0) < 1e-3):
        return scores
    powers: Tensor = np.exp(scores - scores.max())
    powers /= powers.sum()
    return powers


def tensor_encoder(names: Sequence[str], *, decimals: int | None = None) -> Encode:
    """Return an encoder to `{"outputs": {name: {"shape", "data"}}}`, the data flat in C order.

    decimals: floats are rounded to so many; None: as they are.
    """

    def encode(outputs: Sequence[Tensor], value: Input | None = None) -> Result:
        document = {}
        for name, output in zip(names, outputs, strict=True):
            check_finite(name, output)
            flat = np.ascontiguousarray(output).ravel()
            document[name] = {"shape": list(output.shape), "data": rounded(flat, decimals)}
        return Result(orjson.dumps({"outputs": document}, option=orjson.OPT_SERIALIZE_NUMPY))

    return encode


def rounded(values: Tensor, decimals: int | None) -> Tensor:
    """Return values as JSON is made of them: floats rounded to so many decimals, where that is asked for."""
    if values.dtype == np.float16:
        values = values.astype(np.float32)
    return values if decimals is None or values.dtype.kind != "f" else np.round(values, decimals)


def check_finite(name: str, output: Tensor) -> None:
    """Raise ModelFailed where an output holds NaN or infinity."""
    if output.dtype.kind == "f" and not np.isfinite(output).all():
        raise ModelFailed(f"The model's output `{name}` holds NaN or infinity; check the input and the model.")


def read_labels(text: str) -> tuple[str, ...]:
    """Return the names in the text of a labels file, one per line; blank lines at the end do not count."""
    names = [line.strip() for line in re.split(r"\r\n|\n|\r", text)]
    while names and not names[-1]:
        names.pop()
    return tuple(names)
