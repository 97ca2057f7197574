"""Which combination of ways meets demands: chains grown way by way, judged on more and more inputs, the worse half out.

First what is computed is made smaller, then which weights are zero, then how they are written; after each the best few
go on. Those that are left are halved again and again, on twice as many inputs each time and, where there is PyTorch,
trained longer. Sources: Liu et al., On-Demand Deep Model Compression (AdaDeep), MobiSys 2018, which chooses
combinations for a demand; Jamieson, Talwalkar, Non-stochastic Best Arm Identification, AISTATS 2016 (successive
halving).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from likewise.compression.chains import Chain, Step, named
from likewise.compression.counts import count
from likewise.compression.making import Train, Trains, Workshop
from likewise.compression.measures import latencies
from likewise.compression.methods import Method
from likewise.compression.network import Network
from likewise.errors import InvalidValue, LikewiseError
from likewise.files import PUBLIC, write_atomic
from likewise.packing.packing import pack

UNITS: Mapping[str, Mapping[str, float]] = {
    "memory": {"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9},
    "storage": {"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9},
    "latency": {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1},
    "energy": {"uj": 1e-6, "µj": 1e-6, "mj": 1e-3, "j": 1},
    "loss": {"": 1},
}
HOPE: Mapping[str, float] = {"memory": 3.5, "storage": 8.0, "latency": 2.0, "energy": 5.0}
"""How many times less may still come of fewer bits; what is further from a demand than that is given up."""
BEAM = 4
FIRST_INPUTS = 60
HOPE_WEIGHT = 0.1
"""What missing a demand now weighs, against missing it for good."""
LOSS_WEIGHT = 0.02
"""What a point lost weighs, against a share by which a demand is missed, as long as chains grow."""


@dataclass(slots=True)
class Tried:
    """One chain and what is known of it so far."""

    chain: Chain
    network: Network
    figures: dict[str, float] = field(default_factory=dict)
    """By demand."""

    def missed(self, demands: Mapping[str, float], hope: Mapping[str, float] = {}) -> float:
        """Return by how much demands are missed: the sum of the logarithms; 0: none is."""
        return sum(
            max(0.0, math.log(max(self.figures[name], 1e-12) / hope.get(name, 1.0) / most))
            for name, most in demands.items()
            if name != "loss"
        )


def parse_demands(text: str, loss: float) -> dict[str, float]:
    """Return demands in base units, as in `memory=4MB,latency=2ms`; loss: points, where they name none."""
    found = {"loss": loss}
    for word in filter(None, (each.strip() for each in text.split(","))):
        name, _, value = word.partition("=")
        units = UNITS.get(name.strip())
        if units is None:
            raise InvalidValue(f"--for `{word}`: demands are {', '.join(UNITS)}, as in memory=4MB,latency=2ms.")
        value = value.strip().lower()
        unit = value.lstrip("0123456789.")
        try:
            number = float(value.removesuffix(unit)) * units[unit.strip()]
        except (ValueError, KeyError):
            raise InvalidValue(
                f"--for `{word}`: give a number with one of the units {', '.join(filter(None, units)) or 'none'}."
            ) from None
        if not 0 < number < math.inf and not (name == "loss" and number == 0):
            raise InvalidValue(f"--for `{word}`: is above 0.")
        found[name.strip()] = number
    if len(found) == 1:
        raise InvalidValue(f"--for `{text}`: name a demand beside loss: {', '.join(list(UNITS)[:4])}.")
    return found


def search(
    shop: Workshop,
    methods: Mapping[str, Method],
    demands: Mapping[str, float],
    trainer: Trains | None,
    note: Callable[[str], None],
    advance: Callable[[int], None] = lambda _: None,
) -> Chain | None:
    """Return the chain that meets the demands at the least loss, or misses them by the least; None: none applies.

    note: says what was tried and given up.
    """
    beam = [Tried([], shop.network)]
    _measure(shop, beam[0], FIRST_INPUTS, demands)
    tried = 0
    stages = _stages(methods)
    for options in stages:
        grown = list(beam)
        for before in beam:
            for step in options:
                made = _made(shop, before, step)
                advance(1)
                if made is not None:
                    _measure(shop, made, FIRST_INPUTS, demands)
                    grown.append(made)
                    tried += 1
        hope = HOPE if options is not stages[-1] else {}
        beam = sorted(grown, key=lambda each: _score(each, demands, hope))[: 2 * BEAM]
        if options[0].method is not None and options[0].method.stage != "precision":
            beam = beam[:BEAM]
        note(f"After {options[0].method.stage if options[0].method else ''}: {_listed(beam, demands)}.")
    left = [each for each in beam if each.chain]
    share, inputs = 0.25, 2 * FIRST_INPUTS
    while left:
        if trainer is not None:
            left = [_trained(shop, each, partial(trainer.train, share=share)) for each in left]
        for each in left:
            _measure(shop, each, inputs, demands)
            advance(1)
        left.sort(key=lambda each: (each.missed(demands) > 0, max(0.0, each.figures["loss"] - demands["loss"]) > 0,
                                    each.missed(demands) + LOSS_WEIGHT * max(0.0, each.figures["loss"])))  # fmt: skip
        if len(left) == 1 or (share >= 1 and inputs >= len(shop.task.chosen)):
            break
        note(f"On {inputs} inputs: {_listed(left, demands)}; the worse half is given up.")
        left = left[: max(1, len(left) // 2)]
        share, inputs = min(1.0, 2 * share), 2 * inputs
    if not left:
        return None
    best = left[0]
    reached = ", ".join(
        f"{name} {_shown(name, best.figures[name])} of {_shown(name, most)}" for name, most in demands.items()
    )
    met = best.missed(demands) == 0 and best.figures["loss"] <= demands["loss"]
    verdict = "meets all demands at the least loss" if met else "misses the demands by the least"
    note(f"Of {tried} combinations `{'+'.join(map(str, best.chain))}` {verdict}, on inputs to choose by: {reached}.")
    return best.chain


def _stages(methods: Mapping[str, Method]) -> list[list[Step]]:
    """Return what is tried at each stage: each way at mild, medium and strong settings."""
    found = []
    for stage in ("structure", "sparsity", "precision"):
        steps = []
        for method in methods.values():
            if method.stage == stage and method.usual and not method.fresh and method.name != "int8-dynamic":
                count_of = len(method.strengths)
                places = sorted({count_of // 4, count_of // 2, 3 * count_of // 4})
                steps += [Step(method, method.strengths[min(at, count_of - 1)]) for at in places]
        if steps:
            found.append(steps)
    return found


def _made(shop: Workshop, before: Tried, step: Step) -> Tried | None:
    assert step.method is not None
    assert step.strength is not None
    try:
        network = step.method.make(before.network, shop.task, step.strength)
    except LikewiseError:
        return None
    return Tried([*before.chain, step], network)


def _trained(shop: Workshop, tried: Tried, train: Train) -> Tried:
    """Return a chain with training before its numbers get fewer bits, and what it makes so."""
    steps = [step for step in tried.chain if step.method is not None]
    lossy = [step for step in steps if step.method is not None and step.method.stage != "precision"]
    if not lossy:
        return tried
    chain = [*lossy, Step(None), *steps[len(lossy) :]]
    try:
        return Tried(chain, shop.make(chain, train).network)
    except LikewiseError:
        return tried


def _measure(shop: Workshop, tried: Tried, inputs: int, demands: Mapping[str, float]) -> None:
    content = tried.network.to_bytes()
    counts = count(tried.network)
    found = {"memory": float(counts.memory_bytes), "energy": counts.energy_j}
    if "storage" in demands:
        found["storage"] = float(len(pack(content)))
    if "latency" in demands:
        path = shop.folder / ".timed.onnx"
        try:
            write_atomic(path, content, PUBLIC)
            (found["latency"],) = latencies([path], shop.task.chosen.tensors, 3)
        finally:
            path.unlink(missing_ok=True)
    found["loss"] = shop.loss(tried.network, shop.task.chosen.spread(inputs))
    tried.figures = found


def _score(tried: Tried, demands: Mapping[str, float], hope: Mapping[str, float]) -> float:
    ahead = HOPE_WEIGHT * tried.missed(demands) if hope else 0.0
    return tried.missed(demands, hope) + ahead + LOSS_WEIGHT * max(0.0, tried.figures["loss"])


def _listed(tried: Sequence[Tried], demands: Mapping[str, float]) -> str:
    parts = []
    for each in tried[:BEAM]:
        figures = ", ".join(_shown(name, each.figures[name]) for name in demands)
        parts.append(f"{named(each.chain) or 'the full model'} ({figures})")
    return "; ".join(parts)


def _shown(name: str, value: float) -> str:
    match name:
        case "memory" | "storage":
            return f"{value / 1e6:.3g} MB"
        case "latency":
            return f"{1e3 * value:.3g} ms"
        case "energy":
            return f"{1e6 * value:.3g} µJ"
    return f"{value:.2f} points"
