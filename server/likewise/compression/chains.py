"""Ways combined, one behind another, as text: `channels:0.5+training+int8`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from likewise.compression.methods import Method
from likewise.errors import InvalidValue

TRAINING = "training"
MOST_STEPS = 8


@dataclass(frozen=True, slots=True)
class Step:
    """One way, or training."""

    method: Method | None
    """None: training."""
    strength: float | None = None
    """None: to be found, the strongest within a limit."""

    def __str__(self) -> str:
        """Return it as text."""
        if self.method is None:
            return TRAINING
        return self.method.name + (f":{self.strength:g}" if self.strength is not None else "")


Chain = Sequence[Step]


def named(chain: Chain) -> str:
    """Return a chain as text, without strengths."""
    return "+".join(step.method.name if step.method else TRAINING for step in chain)


def parse_chain(text: str, known: Mapping[str, Method]) -> Chain:
    """Return a chain. Raises InvalidValue, naming what is not known."""
    steps = []
    for word in text.split("+"):
        name, _, strength = word.strip().partition(":")
        if name == TRAINING and not strength:
            steps.append(Step(None))
            continue
        if name not in known:
            raise InvalidValue(f"--methods names `{name}`; choose of {', '.join([*known, TRAINING])}, joined by `+`.")
        try:
            number = float(strength) if strength else None
        except ValueError:
            raise InvalidValue(
                f"--methods `{word}`: `{strength}` is no number; give a strength, such as 0.5."
            ) from None
        if number is not None and not _fits(known[name], number):
            least, most = min(known[name].strengths), max(known[name].strengths)
            raise InvalidValue(f"--methods `{word}`: its strength is from {least:g} to {most:g}.")
        steps.append(Step(known[name], number))
    if len(steps) > MOST_STEPS or steps[0].method is None:
        raise InvalidValue(f"--methods `{text}`: begin with a way, and take {MOST_STEPS} steps at most.")
    return steps


def _fits(method: Method, strength: float) -> bool:
    return min(method.strengths) <= strength <= max(method.strengths)
