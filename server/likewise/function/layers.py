"""A key that is an early layer of the function's own model: the model in two files, cut at one tensor.

The first takes what the model takes, and gives the key and the tensor; the second takes the tensor, and gives what the
model gives. So a miss goes on from where the key left off, and nothing is computed twice. `likewise tune` writes both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from likewise.errors import InvalidFunction, ModelFailed
from likewise.function.fingerprint import file_digest
from likewise.function.preparing import Prepared
from likewise.function.trial import check_key
from likewise.inference.model import OnnxModel
from likewise.types import Tensor

SOURCE = "likewise.source"
"""Where a part's metadata say which model it was cut from: the SHA-256 of its file, in hex."""


@dataclass(frozen=True, slots=True)
class Trunk:
    """A model up to its early layer."""

    model: OnnxModel
    made: Prepared
    """How inputs become what it takes."""
    run: Callable[[Tensor], list[Tensor]]
    """From a prepared input to the key and the tensor at the cut."""
    outputs: Sequence[Tensor]
    """The two, for an input of zeros."""


def check_source(part: OnnxModel, model: Path, origin: str) -> None:
    """Raise InvalidFunction unless a part was cut from this very model."""
    if part.metadata.get(SOURCE) != file_digest(model):
        raise InvalidFunction(
            f"{origin}: {part.path.name} was not cut from {model.name} as it is now, so it would give other results; "
            "run `likewise tune` again, or take another key"
        )


def checked_layer(model: OnnxModel, outputs: Sequence[Tensor] | None, origin: str) -> Sequence[Tensor]:
    """Return the outputs of a model's first part for zeros. Raises InvalidFunction unless they are key and tensor."""
    if outputs is None or len(outputs) != 2:
        raise InvalidFunction(
            f"{origin}: {model.path.name} has to give two outputs, the key and the tensor at the cut, for inputs of "
            "one shape; run `likewise tune` again"
        )
    check_key(model, outputs[0], origin)
    return outputs


def outputs_after(trunk: Trunk, rest: OnnxModel, origin: str) -> Sequence[Tensor]:
    """Return what the rest of a model makes of an input of zeros. Raises InvalidFunction where it does not fit."""
    try:
        return [output[0] for output in rest.run(trunk.outputs[1][None])]
    except ModelFailed as error:
        raise InvalidFunction(
            f"{origin}: {rest.path.name} does not take what {trunk.model.path.name} gives: {error.detail}; "
            "run `likewise tune` again"
        ) from error
