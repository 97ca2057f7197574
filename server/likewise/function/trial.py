"""A model tried once when its function is put together, so that what does not fit shows then, not at a request."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from time import thread_time
from typing import Any

import numpy as np

from likewise.errors import InvalidFunction, LikewiseError
from likewise.inference.graphs import ending_after
from likewise.inference.model import OnnxModel
from likewise.inference.onnx_graph import describe
from likewise.results.encode import Encode
from likewise.types import Tensor

GUESSES = (8, 32, 64, 128, 224, 16_000, 1)
"""Lengths tried for the axes of a model's input that may have any; 1 last, since an axis of one hides in an output."""
TRIAL_S = 60.0
"""Time that a trial may take."""
QUICK_S = 0.001
"""Processor time of a key model that is run on the event loop at most."""
REPEATED = frozenset({"Loop", "Scan", "SequenceMap"})
"""Operators that take as long as an input says."""
MIXED = 0.25
"""How far, of the largest number in a batch, an output for one input may move by what else is in the batch. Numbers
that are quantized by the range of a batch move by hundredths."""
RANGES = {"f": (1.0, 2.0, -1.0, 255.0, 10_000.0), "u": (2.0, 255.0), "i": (2.0, 127.0), "b": (2.0,)}
"""Largest numbers of the noise that a model is given, by the kind of its input, where zeros alone tell nothing."""
MAX_DIMENSION = 4096
"""Numbers of a key."""


def outputs_of(
    model: OnnxModel, shape: Sequence[int] | None, max_elements: int, origin: str, limit: str, *, batched: bool
) -> Sequence[Tensor] | None:
    """Return the outputs for one input of zeros, without the batch axis; None where no length suits a free axis.

    shape: what the spec prepares, without the batch axis; None: what the model itself says.
    max_elements, limit: the most numbers of an input, and what to raise for more.
    batched: inputs of several requests are going to be computed together.
    Raises InvalidFunction where the model cannot compute, says no more for two inputs than for one, or something else
    for an input that has company, or gives NaN or infinity for whatever it is given.
    """
    shapes = [tuple(shape)] if shape is not None else _guesses(model.shape)
    if math.prod(shapes[0]) > max_elements:
        raise InvalidFunction(
            f"{origin}: {model.path.name} takes an input of {math.prod(shapes[0])} numbers, the limit is "
            f"{max_elements}; {limit}, or export it for a smaller input"
        )
    failed: LikewiseError | None = None
    for each in shapes:
        if math.prod(each) > max_elements:
            continue
        try:
            with ending_after(TRIAL_S) as options:
                if model.dynamic_batch:
                    model.run(np.zeros((2, *each), model.dtype), options)
                outputs = model.run(np.zeros((1, *each), model.dtype), options)
                if batched and model.dynamic_batch and _mixes(model, each, outputs, options):
                    raise InvalidFunction(
                        f"{origin}: what {model.path.name} says of an input depends on what else is in its batch; "
                        "export it in inference mode, or with a batch axis of 1"
                    )
                if not _finite(outputs) and _never_finite(model, each, options):
                    raise InvalidFunction(
                        f"{origin}: {model.path.name} gives NaN or infinity for zeros and for noise of every range "
                        "that was tried; check its weights, or export it as float32 where it is float16"
                    )
                return [output[0] for output in outputs]
        except InvalidFunction:
            raise
        except LikewiseError as error:
            failed = error
            if options.terminate:
                raise InvalidFunction(
                    f"{origin}: {model.path.name} does not end within {TRIAL_S:g} s for an input of zeros; export one "
                    "that is quicker, without loops that go on for ever"
                ) from error
    if failed is not None and len(shapes) == 1:
        raise InvalidFunction(f"{origin}: the model cannot compute: {failed.detail}") from failed
    return None


def _finite(outputs: Sequence[Tensor]) -> bool:
    return all(output.dtype.kind != "f" or bool(np.isfinite(output).all()) for output in outputs)


def _never_finite(model: OnnxModel, shape: Sequence[int], options: Any) -> bool:
    """Say whether no noise has finite outputs either: zeros alone may be what a model divides by."""
    noise = np.random.default_rng(0).random((1, *shape), np.float32)
    try:
        return not any(
            _finite(model.run((noise * by).astype(model.dtype), options)) for by in RANGES.get(model.dtype.kind, ())
        )
    except LikewiseError:  # it takes no such numbers, or took all of the time
        return False


def _mixes(model: OnnxModel, shape: Sequence[int], alone: Sequence[Tensor], options: Any) -> bool:
    """Say whether an input of zeros has other outputs beside one of ones than alone, and does not differ by itself."""
    zeros = np.zeros((1, *shape), model.dtype)
    try:
        beside = model.run(np.concatenate([zeros, np.ones_like(zeros)]), options)
        return _moves(alone, beside) and not _moves(alone, model.run(zeros, options))
    except LikewiseError:  # it takes no ones, or took all of the time
        return False


def _moves(alone: Sequence[Tensor], beside: Sequence[Tensor]) -> bool:
    """Say whether the outputs for the first of a batch are others than those of that input alone."""
    for one, each in zip(alone, beside, strict=True):
        if one.shape[1:] != each.shape[1:]:
            return True
        if one.dtype.kind == "f" and one.size:
            largest = np.abs(np.where(np.isfinite(each), each, 0)).max()
            with np.errstate(invalid="ignore"):
                if (np.abs(one[0] - each[0]) > MIXED * largest).any():  # never where one is not a number
                    return True
    return False


def is_quick(model: OnnxModel, run: Callable[[Tensor], Tensor], shape: Sequence[int] | None) -> bool:
    """Say whether a key model takes so little, for any input, that others may wait for it.

    run: the model for one input; shape: of that, None where it may be any.
    """
    if REPEATED & {name.rpartition("::")[2] for name in describe(model.path).operators}:
        return False
    zeros = np.zeros(shape if shape is not None else [axis or GUESSES[1] for axis in model.shape], model.dtype)
    least = math.inf
    try:
        for _ in range(5):
            started = thread_time()
            run(zeros)
            least = min(least, thread_time() - started)
    except LikewiseError:  # no length that suits it is known
        return False
    return least <= QUICK_S


def _guesses(shape: Sequence[int | None]) -> list[tuple[int, ...]]:
    if None not in shape:
        return [tuple(axis or 0 for axis in shape)]
    return [tuple(guess if axis is None else axis for axis in shape) for guess in GUESSES]


def check_scores(model: OnnxModel, output: Tensor, labels: Sequence[str], origin: str) -> None:
    """Raise InvalidFunction unless an output, without the batch axis, has one score for each class."""
    name = f"the first output of {model.path.name}, `{model.outputs[0]}`,"
    instead = 'or take kind = "tensors"'
    if output.dtype.kind != "f":
        raise InvalidFunction(
            f"{origin}: result kind `label` takes scores, and {name} is {output.dtype.name}, perhaps the number of the "
            f'class already; export the scores themselves, as float, {instead} with equality = "bytes"'
        )
    shape = "×".join(map(str, output.shape)) or "one number"
    if output.size != max(output.shape, default=1):
        raise InvalidFunction(
            f"{origin}: result kind `label` takes one score for each class, and {name} has shape {shape} for one "
            f"input; export one list of scores, {instead}"
        )
    if output.size < 2:
        raise InvalidFunction(
            f"{origin}: result kind `label` takes a score for each of two classes or more, and {name} has {shape} for "
            f"one input; for a sigmoid p export both, 1 - p and p, {instead}"
        )
    if labels and output.size != len(labels):
        raise InvalidFunction(
            f"{origin}: result.labels names {len(labels)} classes, but {name} has {output.size}; correct the labels"
        )


def check_outputs(
    model: OnnxModel, kind: str, outputs: Sequence[Tensor], labels: Sequence[str], encode: Encode, origin: str
) -> None:
    """Raise InvalidFunction unless the outputs for one input, without the batch axis, make a result of a kind.

    Numbers that are not finite are no reason: the input was zeros.
    """
    if kind == "label":
        check_scores(model, outputs[0], labels, origin)
        return
    tame = [np.zeros_like(each) if each.dtype.kind == "f" else each for each in outputs]
    try:
        encode(tame)
    except LikewiseError as error:
        raise InvalidFunction(
            f"{origin}: the outputs of {model.path.name} make no result of kind `{kind}`: {error.detail}"
        ) from error


def check_key(model: OnnxModel, output: Tensor, origin: str) -> int:
    """Return the dimension of the key that an output is. Raises InvalidFunction for what is no list of numbers."""
    if output.dtype.kind != "f" or not 1 <= output.size <= MAX_DIMENSION or output.size != max(output.shape, default=1):
        shape = "×".join(map(str, output.shape)) or "one number"
        raise InvalidFunction(
            f"{origin}: the first output of {model.path.name}, `{model.outputs[0]}`, has shape {shape} and type "
            f"{output.dtype.name} for one input; a key is one list of 1 to {MAX_DIMENSION} float numbers: export it so"
        )
    return output.size
