"""What the variants of a function say of inputs, and what its key takes: what playing a ladder needs to know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter_ns

import numpy as np

from likewise.decision.ladder import Step
from likewise.decision.opinions import Opinion, opinion
from likewise.function.parts import Computation, Parts
from likewise.function.spec import KeySpec
from likewise.ports import Extractor
from likewise.types import Input, Keys, Result

_BATCH = 64
TIMED = 25
"""Inputs that the model is timed with."""
KEYS_EACH = 5
"""Keys that are timed for each of them: about every fifth request is computed, and the others find warm caches."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A cheaper model of a function, and what it says of each request."""

    step: Step
    takes: str
    """`key` or `input`."""
    opinions: list[Opinion] = field(default_factory=list)


class Panel:
    """The variants of a function, asked about one part of the inputs after another."""

    def __init__(self, parts: Parts, table: KeySpec, dimension: int, number: Callable[[Result], int]) -> None:
        """Load them. table, dimension: the key that is searched; number: of the label of a result, to compare it by.

        An exit is on the function's own key, and is left out where another key is tried. Raises InvalidFunction.
        """
        spec = parts.spec
        asked = [each for each in spec.rungs if each.takes == "input" or table is spec.keys[0]]
        self._number = number
        self._models: list[Computation] = [parts.variant(each, 1, dimension) for each in asked]
        self.variants = tuple(Variant(Step(each.name, each.cost, each.agreement), each.takes) for each in asked)

    def ask(self, values: Sequence[Input], keys: Keys) -> None:
        """Take down what each says of inputs; keys: theirs, shape (n, dimension). Raises LikewiseError."""
        for variant, found in zip(self.variants, self._models, strict=True):
            size = _BATCH if found.model.dynamic_batch else 1
            for start in range(0, len(keys), size):
                rows = slice(start, start + size)
                of_key = variant.takes == "key"
                batch = keys[rows] if of_key else np.stack([found.prepare(value) for value in values[rows]])
                for scores in found.model.run(batch)[0]:
                    label = self._number(found.encode([scores]))
                    variant.opinions.append(opinion(scores.ravel().tolist(), label))


def key_cost(parts: Parts, inputs: Sequence[Input], extract: Extractor) -> float:
    """Return what a key takes as a share of a full inference, medians of turns of a few keys and one inference.

    0 where there is no model.
    """
    if parts.spec.model is None or not inputs:
        return 0.0
    full = parts.computation(parts.spec.model, threads=1)
    times: list[tuple[float, int]] = []
    for turn, value in enumerate(inputs[:TIMED]):
        around = [inputs[(turn + after) % len(inputs)] for after in range(KEYS_EACH)]
        started = perf_counter_ns()
        for each in around:
            extract(each)
        extracted = perf_counter_ns()
        full.model.run(full.feed(value)[None])
        times.append(((extracted - started) / KEYS_EACH, perf_counter_ns() - extracted))
    return median(key for key, _ in times) / max(1, median(model for _, model in times))
