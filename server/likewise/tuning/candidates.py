"""What might be the key: each candidate with its keys on a stream, what it costs, and how it is written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.captures import Recorded
from likewise.evaluation.own import Read, Subject, keys_of
from likewise.features.make import KINDS
from likewise.function.spec import KeySpec
from likewise.tuning.timing import Ratio, measured
from likewise.types import Input, Keys
from likewise.workloads.inputs import Inputs

BLOCK = 30
"""Requests of one device in a row that are all fitted on, or all played: neighbors in time are alike."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to make the key."""

    name: str
    keys: Keys
    """Of the requests that are played, shape (n, d)."""
    key_s: float
    """What making one takes, in seconds of one core, the input being decoded."""
    compute_s: float
    """What a miss takes beside, in the same."""
    projected: bool
    """Whether a projection is learned from what is computed while it plays."""
    write: Callable[[Path], Mapping[str, Any]]
    """Writes its files into a version's folder, and returns its table in [[keys]]."""
    whole: Ratio | None = None
    """Of a layer: key and rest of the model together, by the model alone."""


@dataclass(frozen=True, slots=True)
class Split:
    """Which requests are fitted on, and which are played; both in order."""

    fitted: NDArray[np.int64]
    played: NDArray[np.int64]


def split(devices: Sequence[int]) -> Split:
    """Return two blocks in three of each device for fitting, the others for playing."""
    sent: dict[int, int] = {}
    fitted: list[int] = []
    played: list[int] = []
    for at, device in enumerate(devices):
        count = sent[device] = sent.get(device, -1) + 1
        # devices take turns in whose first block is played, so that short streams are in both parts
        (played if (count // BLOCK + device) % 3 == 0 else fitted).append(at)
    if not fitted or not played:
        most = 2 * len(devices) // 3
        return Split(np.arange(most), np.arange(most, len(devices)))
    return Split(np.array(fitted), np.array(played))


def sample_inputs(subject: Subject, inputs: Inputs, read: Read, count: int = 40) -> list[Input]:
    """Return some of the inputs, spread over the stream, as the model sees them."""
    wanted = set(read.places[:: max(1, len(read.places) // count)][:count])
    found: list[Input] = []
    for place, record in enumerate(inputs):
        if place in wanted and isinstance(record, Recorded) and record.body:
            found.append(subject.read(record)[0])
    return found


def extractors(
    subject: Subject, inputs: Inputs, read: Read, parts: Split, sample: Sequence[Input], model_s: float
) -> list[Candidate]:
    """Return the extractors that come with likewise and take such inputs, and the key types that the spec has."""
    tables = [key for key in subject.spec.keys if key.extractor != "layer"]
    known = {(key.extractor, key.file) for key in tables}
    for name, kind in KINDS.items():
        if kind == subject.spec.input.kind and name != "vector" and (name, None) not in known:
            tables.append(KeySpec.model_validate({"extractor": name}))
    types = [subject.parts.key_type(table, subject.name) for table in tables]
    costs = measured([each.extract for each in types], sample)
    found = []
    for table, key_type, cost in zip(tables, types, costs, strict=True):
        keys = keys_of(subject, inputs, read, table.label, key_type.extract)[parts.played]
        found.append(Candidate(_called(table), keys, cost, model_s, table.may_be_projected, partial(_as_it_is, table)))
    return found


def _as_it_is(table: KeySpec, _: Path) -> Mapping[str, Any]:
    return table.model_dump(exclude_unset=True)


def _called(table: KeySpec) -> str:
    return table.extractor if table.extractor != "onnx" else f"{table.label} ({table.file})"
