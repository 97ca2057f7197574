"""Text from scores of characters (CTC), and embeddings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
import orjson

from likewise.errors import ModelFailed
from likewise.results.encode import Encode, Scores, check_finite, rounded
from likewise.types import Input, Result, Tensor

Blank = Literal["first", "last"]


def text_encoder(alphabet: Sequence[str], *, blank: Blank = "first", scores: Scores = "auto") -> Encode:
    """Return an encoder to `{"text": ..., "confidence": ...}` from the first output: scores of characters by step.

    Greedy decoding of connectionist temporal classification: the best of each step, repeats once, blanks never. The
    output has shape (steps, characters), or with ones; alphabet: the characters in order, without the blank, which is
    the `first` or the `last` of the output's. A character more than that is a space behind the alphabet. The confidence
    is the mean probability of the characters that are left, 0 where there are none. scores: as for `label_encoder`.
    Source: Graves et al., Connectionist Temporal Classification (ICML 2006), best path decoding.
    """
    characters = tuple(alphabet)

    def encode(outputs: Sequence[Tensor], value: Input | None = None) -> Result:
        steps = _steps(outputs[0])
        check_finite("scores", steps)
        known = characters_of(characters, steps.shape[1])
        best = steps.argmax(axis=1)
        none = 0 if blank == "first" else steps.shape[1] - 1
        kept = best != none
        kept[1:] &= best[1:] != best[:-1]
        text = "".join(known[at - (blank == "first")] for at in best[kept].tolist())
        sure = _confidence(steps[kept].astype(np.float64), scores)
        return Result(orjson.dumps({"text": text, "confidence": round(sure, 6)}))

    return encode


def characters_of(alphabet: Sequence[str], width: int) -> tuple[str, ...]:
    """Return the characters that `width` scores stand for, beside the blank. Raises ModelFailed where they differ."""
    if width == len(alphabet) + 1:
        return tuple(alphabet)
    if width == len(alphabet) + 2:
        return (*alphabet, " ")
    raise ModelFailed(
        f"The model's output has {width} scores for each step, and the alphabet {len(alphabet)} characters; it needs "
        f"{width - 1} without the blank, or {width - 2} without a space at the end either."
    )


def _steps(output: Tensor) -> Tensor:
    axes = [axis for axis in output.shape if axis != 1]
    if output.dtype.kind != "f" or output.ndim < 2 or len(axes) > 2:
        raise ModelFailed(f"The model's first output has shape {list(output.shape)}; text needs scores by step.")
    return output.reshape(-1, output.shape[-1])


def _confidence(rows: Tensor, scores: Scores) -> float:
    if not len(rows):
        return 0.0
    like_shares = rows.min() >= 0.0 and bool((np.abs(rows.sum(axis=1) - 1.0) < 1e-2).all())
    if scores == "probabilities" or (scores == "auto" and like_shares):
        return float(rows.max(axis=1).mean())
    return float((1.0 / np.exp(rows - rows.max(axis=1, keepdims=True)).sum(axis=1)).mean())


def read_alphabet(text: str) -> tuple[str, ...]:
    """Return the characters in the text of an alphabet file, one per line as it stands: a space is one, too."""
    lines = re.split(r"\r\n|\n|\r", text)
    while lines and not lines[-1]:
        lines.pop()
    return tuple(lines)


def embedding_encoder(*, normalize: bool = True, decimals: int | None = None) -> Encode:
    """Return an encoder to `{"embedding": [...]}` from the first output, flat; normalize: at Euclidean norm 1.

    decimals: as for `tensor_encoder`.
    """

    def encode(outputs: Sequence[Tensor], value: Input | None = None) -> Result:
        flat = np.ascontiguousarray(outputs[0], np.float32).ravel()
        check_finite("embedding", flat)
        norm = float(np.linalg.norm(flat.astype(np.float64)))
        if normalize and norm > 1e-12:
            flat = flat / np.float32(norm)
        return Result(orjson.dumps({"embedding": rounded(flat, decimals)}, option=orjson.OPT_SERIALIZE_NUMPY))

    return encode
