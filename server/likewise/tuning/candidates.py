"""What might be the key: each candidate with its keys on a stream, what it costs, and how it is written down."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from likewise.captures import Recorded
from likewise.evaluation.own import Subject, keys_of
from likewise.evaluation.read import Read
from likewise.features.make import KINDS
from likewise.files import PUBLIC, write_atomic
from likewise.function.spec import KeySpec
from likewise.learning.lda import Projection as Linear
from likewise.ports import Projection
from likewise.tuning.fits import Fitted, Source, best_fit
from likewise.tuning.play import Judge
from likewise.tuning.split import Split
from likewise.tuning.timing import Ratio, measured
from likewise.types import Input, Keys
from likewise.workloads.inputs import Inputs


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to make the key."""

    name: str
    keys: Sequence[Keys]
    """Of the requests that are played in each round, shape (n, d)."""
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
    priors: Sequence[Projection | None] = ()
    """By what lookups go in each round, where the spec is to name a projection."""


@dataclass(frozen=True, slots=True)
class Material:
    """What candidates are made of, and measured on."""

    judge: Judge
    inputs: Inputs
    rounds: Sequence[Split]
    sample: Sequence[Input]
    """Some of the inputs, as the model sees them."""
    model_s: float
    """What the model alone takes, in seconds of one core."""

    @property
    def subject(self) -> Subject:
        """The function."""
        return self.judge.subject

    @property
    def read(self) -> Read:
        """What its model said of the inputs."""
        return self.judge.read

    @property
    def labels(self) -> NDArray[np.int64]:
        """The results, shape (n,)."""
        return np.array(self.read.labels)

    def best_fit(self, features: Sequence[Mapping[Source, Keys]]) -> Fitted[Source] | None:
        """Return the projection of some numbers that serves best; see there."""
        return best_fit(features, self.labels, self.rounds, self.judge.budgets)

    def best_fit_of(self, numbers: Mapping[Source, Keys]) -> Fitted[Source] | None:
        """Return the same of numbers that are not fitted to anything: they are those of every round."""
        return self.best_fit([numbers] * (len(self.rounds) + 1))

    def values(self) -> Iterator[Input]:
        """Yield the inputs that were read, in order."""
        wanted = set(self.read.places)
        for place, record in enumerate(self.inputs):
            if place in wanted:
                yield self.subject.read(record)[0]


def sample_inputs(subject: Subject, inputs: Inputs, read: Read, count: int = 40) -> list[Input]:
    """Return some of the inputs, spread over the stream, as the model sees them."""
    wanted = set(read.places[:: max(1, len(read.places) // count)][:count])
    found: list[Input] = []
    for place, record in enumerate(inputs):
        if place in wanted and isinstance(record, Recorded) and record.body:
            found.append(subject.read(record)[0])
    return found


def extractors(material: Material) -> list[Candidate]:
    """Return the extractors that come with likewise and take such inputs, and the key types that the spec has.

    Each that may be projected comes twice: as it is, and with a projection fitted to the model's results.
    """
    subject, rounds, sample = material.subject, material.rounds, material.sample
    tables = [key for key in subject.spec.keys if key.extractor != "layer"]
    known = {(key.extractor, key.file) for key in tables}
    for name, kind in KINDS.items():
        if kind == subject.spec.input.kind and name != "vector" and (name, None) not in known:
            tables.append(KeySpec.model_validate({"extractor": name}))
    types = [subject.parts.key_type(table, subject.name) for table in tables]
    costs = measured([each.extract for each in types], sample)
    found = []
    for table, key_type, cost in zip(tables, types, costs, strict=True):
        every = keys_of(subject, material.inputs, material.read, table.label, key_type.extract)
        keys, own = [every[each.played] for each in rounds], subject.parts.projection(table, every.shape[1])
        write, projected, priors = partial(_as_it_is, table), table.may_be_projected, [own] * len(rounds)
        found.append(Candidate(_called(table), keys, cost, material.model_s, projected, write, priors=priors))
        if not projected or not subject.spec.reuse.policy.startswith("calibrated"):
            continue  # no other policy searches by a projection
        if (fitted := material.best_fit_of({table.label: every})) is not None:
            name = f"{_called(table)}, projected"
            (more,) = measured([fitted.whole.one], list(every[: len(sample)]))
            beside = partial(_with_projection, table, fitted.whole)
            found.append(Candidate(name, keys, cost + more, material.model_s, False, beside, priors=fitted.tried))
    return found


def _as_it_is(table: KeySpec, _: Path) -> Mapping[str, Any]:
    return table.model_dump(exclude_unset=True)


def _with_projection(table: KeySpec, projection: Linear, folder: Path) -> Mapping[str, Any]:
    rounded = {name: np.round(np.array(value), 6).tolist() for name, value in projection.state().items()}
    content = orjson.dumps(rounded)
    name = f"projection-{hashlib.sha256(content).hexdigest()[:12]}.json"
    write_atomic(folder / name, content, PUBLIC)
    return {**table.model_dump(exclude_unset=True), "projection": name}


def _called(table: KeySpec) -> str:
    return table.extractor if table.extractor != "onnx" else f"{table.label} ({table.file})"
