"""A workload's stream as the engine sees it: keys and labels, computed once and played by every policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter_ns

import numpy as np
import orjson

from likewise.decision.ladder import Step
from likewise.decision.opinions import Opinion, opinion
from likewise.errors import InvalidFunction, InvalidValue
from likewise.features.decode import decoder
from likewise.features.make import KINDS
from likewise.function.parts import Parts
from likewise.function.spec import SPEC_FILE, FunctionSpec, KeySpec
from likewise.function.spec_text import read_spec
from likewise.function.variant_spec import VariantSpec
from likewise.ports import Extractor, Projection
from likewise.types import Input, Keys
from likewise.workloads.make import open_workload

TRUTHS = ("label", "model")
_BATCH = 64
_TIMED = 25
"""Inputs that key and model are timed with."""
MAX_PIXELS, MAX_SECONDS, MAX_VALUES = 16_000_000, 60.0, 4_000_000


@dataclass(frozen=True, slots=True)
class Variant:
    """A cheaper model of the stream's function, and what it says of each request."""

    step: Step
    takes: str
    """`key` or `input`."""
    opinions: list[Opinion]


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream, ready to be played."""

    workload: str
    seed: int
    keys: Keys
    """Shape (requests, dimension)."""
    labels: list[int]
    """What each request would be answered if it were computed; ids local to the stream."""
    devices: list[int]
    """Who asks each."""
    neighbors: int
    """k, as the function's spec has it."""
    projected: bool = False
    """Whether the spec lets a projection of these keys be learned from what is computed."""
    digests: Sequence[bytes] = ()
    """What tells equal inputs, as the server has it; empty, as a whole or each: nothing does."""
    signatures: Sequence[str] = ()
    """Only entries of the same signature are neighbors; empty: all are."""
    times: Sequence[float] = ()
    """When each comes, in seconds; empty: each waits for the one before it."""
    costs_s: Sequence[float] = ()
    """How long each takes where it is computed, in seconds; as many as times."""
    anonymous: bool = False
    """Whether nothing says which device asks."""
    prior: Projection | None = None
    """The projection that lookups go by from the start, where the spec names one."""
    key_cost: float = 0.0
    """Time that a key takes, as a share of a full inference."""
    variants: tuple[Variant, ...] = ()
    """In order of cost."""


def load_stream(
    workload: str,
    seed: int,
    *,
    requests: int | None,
    devices: int,
    data: Path | None,
    functions: Path,
    truth: str,
    key_type: str | None = None,
    held_out_only: bool = False,
) -> Stream:
    """Return a workload's stream with the keys of its function.

    truth: "label": what the data set says is computed; "model": what the function's model says.
    key_type: one of the function's, its first where None; or any extractor's name, to see what it would do here.
    held_out_only: whether only inputs are played that nothing was trained on.
    Raises LikewiseError, naming the remedy, where data, function or model are missing.
    """
    if truth not in TRUTHS:
        raise InvalidValue(f"truth is `{truth}`; give one of {', '.join(TRUTHS)}.")
    source = open_workload(workload, data, held_out_only=held_out_only)
    folder = functions / source.function
    if not (folder / SPEC_FILE).is_file():
        raise InvalidFunction(
            f"{folder / SPEC_FILE}: is not there; name the folder that holds `{source.function}/` with --functions DIR"
        )
    spec, version = read_spec(folder)
    parts = Parts(spec, folder, version)
    table = key_spec(spec, key_type, source.function)
    found = parts.key_type(table, source.function)
    extract, prior = found.extractor, parts.projection(table, found.dimension)
    decode = decoder(spec.input.kind, max_pixels=MAX_PIXELS, max_seconds=MAX_SECONDS, max_values=MAX_VALUES)
    samples = source.stream(requests, seed, devices)
    inputs = [decode(sample.media_type, sample.body) for sample in samples]
    keys = np.ascontiguousarray([extract(value) for value in inputs], np.float32)
    names = [sample.truth for sample in samples] if truth == "label" else _computed(parts, inputs)
    ids: dict[str, int] = {}
    labels = [ids.setdefault(name, len(ids)) for name in names]
    askers = [sample.device for sample in samples]
    key_cost, variants = costs_and_variants(parts, table, inputs, keys, extract, ids)
    return Stream(
        workload,
        seed,
        keys,
        labels,
        askers,
        spec.reuse.neighbors,
        table.may_be_projected,
        prior=prior,
        key_cost=key_cost,
        variants=variants,
    )


def costs_and_variants(
    parts: Parts, table: KeySpec, inputs: Sequence[Input], keys: Keys, extract: Extractor, ids: dict[str, int]
) -> tuple[float, tuple[Variant, ...]]:
    """Return what a key takes as a share of a full inference, and what the variants say of each input.

    ids: numbers of the labels, to which variants may add.
    """
    spec = parts.spec
    if spec.model is None or not inputs:
        return 0.0, ()
    cost = _key_cost(parts, inputs, extract)
    # an exit is on the function's own key, not on another that is tried
    asked = [each for each in spec.rungs if each.takes == "input" or table is spec.keys[0]]
    return cost, tuple(_variant(parts, each, inputs, keys, ids) for each in asked)


def _key_cost(parts: Parts, inputs: Sequence[Input], extract: Extractor) -> float:
    assert parts.spec.model is not None
    full = parts.computation(parts.spec.model, threads=1)
    times: list[tuple[int, int]] = []
    for value in inputs[:_TIMED]:
        started = perf_counter_ns()
        extract(value)
        extracted = perf_counter_ns()
        full.model.run(full.feed(value)[None])
        times.append((extracted - started, perf_counter_ns() - extracted))
    return median(key for key, _ in times) / max(1, median(model for _, model in times))


def _variant(parts: Parts, spec: VariantSpec, inputs: Sequence[Input], keys: Keys, ids: dict[str, int]) -> Variant:
    """Return what a variant says of each input; ids: numbers of the labels, to which it may add."""
    found = parts.variant(spec, 1, keys.shape[1])
    opinions: list[Opinion] = []
    size = _BATCH if found.model.dynamic_batch else 1
    for start in range(0, len(inputs), size):
        rows = slice(start, start + size)
        batch = keys[rows] if spec.takes == "key" else np.stack([found.prepare(value) for value in inputs[rows]])
        for scores in found.model.run(batch)[0]:
            name = str(orjson.loads(found.encode([scores]).body)["label"])
            opinions.append(opinion(scores.ravel().tolist(), ids.setdefault(name, len(ids))))
    return Variant(Step(spec.name, spec.cost, spec.agreement), spec.takes, opinions)


def key_spec(spec: FunctionSpec, key_type: str | None, function: str) -> KeySpec:
    """Return a key type's table by its name: the first of a spec's where None, or of any extractor that fits.

    Raises InvalidValue for others, naming those.
    """
    for key in spec.keys:
        if key_type in (None, key.label):
            return key
    fitting = sorted(name for name, kind in KINDS.items() if kind == spec.input.kind and kind != "array")
    if key_type in fitting:
        return KeySpec.model_validate({"extractor": key_type})
    known = ", ".join([*(key.label for key in spec.keys), *fitting])
    raise InvalidValue(f"`{function}` has no key type `{key_type}`; choose one of {known}.")


def _computed(parts: Parts, inputs: Sequence[Input]) -> list[str]:
    """Return the label that the function's model gives to each input."""
    if parts.spec.model is None or parts.spec.result.kind != "label":
        raise InvalidValue("--truth model needs a function whose model gives labels; use --truth label.")
    found = parts.computation(parts.spec.model, threads=1)
    size = _BATCH if found.model.dynamic_batch else 1
    names = []
    for start in range(0, len(inputs), size):
        outputs = found.model.run(np.stack([found.feed(value) for value in inputs[start : start + size]]))
        names += [str(orjson.loads(found.encode([row]).body)["label"]) for row in outputs[0]]
    return names
