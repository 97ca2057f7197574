"""A workload's stream as the engine sees it: keys and labels, computed once and played by every policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from likewise.errors import InvalidFunction, InvalidValue
from likewise.evaluation.panel import Panel, Variant, key_cost
from likewise.features.decode import decoder
from likewise.features.make import KINDS
from likewise.function.parts import Parts
from likewise.function.spec import SPEC_FILE, FunctionSpec, KeySpec
from likewise.function.spec_text import read_spec
from likewise.ports import Projection
from likewise.types import Input, Keys
from likewise.workloads.make import open_workload

TRUTHS = ("label", "model")
_BATCH = 64
MAX_PIXELS, MAX_SECONDS, MAX_VALUES = 16_000_000, 60.0, 4_000_000


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
    """Time that a key takes, as a share of a full inference; 0 where that was not measured."""
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
    ladders: bool = False,
) -> Stream:
    """Return a workload's stream with the keys of its function.

    truth: "label": what the data set says is computed; "model": what the function's model says.
    key_type: one of the function's, its first where None; or any extractor's name, to see what it would do here.
    held_out_only: whether only inputs are played that nothing was trained on.
    ladders: whether the variants of the model are asked about each input.
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
    panel = None
    if ladders:
        panel = Panel(
            parts,
            table,
            found.dimension,
            lambda result: ids.setdefault(str(orjson.loads(result.body)["label"]), len(ids)),
        )
        panel.ask(inputs, keys)
    return Stream(
        workload,
        seed,
        keys,
        labels,
        askers,
        spec.reuse.neighbors,
        table.may_be_projected,
        prior=prior,
        key_cost=key_cost(parts, inputs, extract) if ladders or truth == "model" else 0.0,
        variants=panel.variants if panel else (),
    )


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
