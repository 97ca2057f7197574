"""A function's own models on the device: which one fits, checked by digest, and run as the server does."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise_client._device import onnx
from likewise_client._device.keys import READERS
from likewise_client._device.unpacking import unpack

Encode = Callable[[Sequence[NDArray[Any]]], Any]


@dataclass(frozen=True)
class Listed:
    """A model that a server offers."""

    name: str
    """`model` for the full one."""
    file: str
    packed_bytes: int
    sha256: str
    size_bytes: int
    memory_bytes: int
    agreement: float
    cost: float
    prepare: Mapping[str, Any]


@dataclass(frozen=True)
class Model:
    """A model that is loaded."""

    function: str
    """`name@version`: what its results are results of."""
    variant: str
    """Empty for the full one."""
    run: Callable[[Any, bytes, str], Any]
    """From an input, its bytes as they are sent and their media type, to the result. Raises ValueError for what it
    cannot read."""


def fitting(listing: Mapping[str, Any], most_bytes: int, least_agreement: float) -> list[Listed]:
    """Return the models that take inputs and fit, the one that agrees most first. Raises ValueError and the like."""
    found = []
    for each in listing["variants"]:
        size = int(each["bytes"])
        memory = int(each["memory_bytes"]) if each["memory_bytes"] is not None else size
        one = Listed(
            str(each["name"]), str(each["file"]), int(each["packed_bytes"]), str(each["sha256"]), size, memory,
            float(each["agreement"]), float(each["cost"]), dict(each["prepare"]),
        )  # fmt: skip
        fits = 0 < max(one.size_bytes, one.memory_bytes, one.packed_bytes) <= most_bytes
        if each["takes"] == "input" and fits and one.agreement >= least_agreement:
            found.append(one)
    return sorted(found, key=lambda one: (-one.agreement, one.cost))


def unpacked(content: bytes, listed: Listed) -> bytes:
    """Return the ONNX file. Raises ValueError for any other than the one that was listed."""
    model = unpack(content, listed.size_bytes)
    if hashlib.sha256(model).hexdigest() != listed.sha256:
        raise ValueError("the model is not the one that was named")
    return model


def load(content: bytes, listing: Mapping[str, Any], listed: Listed) -> Model | None:
    """Return a model, loaded; None: it cannot be run as the server does. Raises what ONNX Runtime raises."""
    kind, result = str(listing["input"]), listing["result"]
    read, made = READERS.get(kind), onnx.runner(content, kind, listed.prepare)
    if read is None or made is None:
        return None
    outputs, run = made
    encode = _encoder(result, outputs)
    if encode is None:
        return None
    wanted, to_result = encode

    def compute(value: Any, body: bytes, media_type: str) -> Any:
        what = read(value, body, media_type)
        if what is None:
            raise ValueError("an input that cannot be read here")
        return to_result(run(what, wanted))

    variant = "" if listed.name == "model" else listed.name
    return Model(str(listing["function"]), variant, compute)


def _encoder(result: Mapping[str, Any], outputs: Sequence[str]) -> tuple[list[str], Encode] | None:
    """Return which outputs are wanted and what makes the result of them; None for results that are not known here."""
    kind, named = result["kind"], [str(each) for each in result.get("outputs", ())]
    if kind == "label" and result.keys() <= {"kind", "labels", "outputs", "scores", "top"}:
        return (named or list(outputs))[:1], _label(
            [str(each) for each in result.get("labels", ())],
            str(result.get("scores", "auto")),
            int(result.get("top", 1)),
        )
    if kind == "tensors" and result.keys() <= {"kind", "labels", "outputs", "decimals"}:
        wanted = named or list(outputs)
        return wanted, _tensors(wanted, result.get("decimals"))
    return None


def _label(labels: Sequence[str], kind: str, top: int) -> Encode:
    def encode(outputs: Sequence[NDArray[Any]]) -> Any:
        scores = np.asarray(outputs[0], np.float64).ravel()
        if not scores.size or not np.isfinite(scores).all() or (labels and len(labels) != scores.size):
            raise ValueError("scores that are none")
        shares = scores
        if kind == "logits" or (kind == "auto" and not (scores.min() >= 0.0 and abs(scores.sum() - 1.0) < 1e-3)):
            shares = np.exp(scores - scores.max())
            shares /= shares.sum()
        ranked = [
            {"label": labels[at] if labels else str(at), "confidence": round(float(shares[at]), 6)}
            for at in np.argsort(-shares, kind="stable")[:top].tolist()
        ]
        return ranked[0] if top == 1 else {**ranked[0], "top": ranked}

    return encode


def _tensors(names: Sequence[str], decimals: int | None) -> Encode:
    def encode(outputs: Sequence[NDArray[Any]]) -> Any:
        document = {}
        for name, output in zip(names, outputs):
            values = np.ascontiguousarray(output)
            if values.dtype.kind == "f" and not math.isfinite(float(values.sum(dtype=np.float64))):
                raise ValueError("numbers that are none")
            if decimals is not None and values.dtype.kind == "f":
                values = np.round(values, decimals)
            document[name] = {"shape": list(values.shape), "data": values.ravel().tolist()}
        return {"outputs": document}

    return encode
