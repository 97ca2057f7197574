"""What becomes a result, and of which input."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from likewise.inference.batching import Batcher
from likewise.inference.runner import ModelRunner
from likewise.inference.workers import Workers
from likewise.types import Array, Halfway, Input, Result, Tensor

VALUE = Array(np.full(2, 3.0, np.float32))


class Doubling:
    """A model."""

    dynamic_batch = True

    def run(self, batch: Tensor) -> Sequence[Tensor]:
        return [2 * batch]


def feed(value: Input | Halfway) -> Tensor:
    assert not isinstance(value, Array) or value is VALUE
    return value.tensor if isinstance(value, Halfway) else value.values  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(VALUE, b"6.0"), (Halfway(np.full(2, 5.0, np.float32), VALUE), b"10.0")],
    ids=["whole", "halfway"],
)
def test_results_may_refer_to_the_input_itself(value: Input | Halfway, expected: bytes) -> None:
    """Also where the model goes on from its early layer: boxes need the picture's size."""
    seen: list[Input | None] = []

    def encode(outputs: Sequence[Tensor], value: Input | None = None) -> Result:
        seen.append(value)
        return Result(str(outputs[0][0]).encode())

    async def run() -> Result:
        with ThreadPoolExecutor(1) as executor:
            runner = ModelRunner(Batcher(Doubling(), feed, Workers(executor, 1)), encode)
            return (await runner.run(value, probe=False))[0]

    assert asyncio.run(run()).body == expected
    assert seen == [VALUE]
