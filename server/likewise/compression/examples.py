"""The inputs that networks are fitted to, chosen by and judged on, with what the full model says of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from likewise.captures import Recorded
from likewise.compression.network import Network
from likewise.errors import InvalidFunction, InvalidValue, LikewiseError
from likewise.evaluation.own import Subject
from likewise.function.parts import Computation
from likewise.inference.model import OnnxModel
from likewise.tuning.split import BLOCK, split
from likewise.types import Tensor
from likewise.workloads.inputs import Inputs, Order
from likewise.workloads.make import open_workload

BATCH = 32
MOST_BYTES = 1 << 31
"""Of all inputs together, as the model takes them."""
FEWEST = 20
"""Inputs below which nothing can be said."""
SHARE = 5
"""Of the fitted inputs, one block in so many is for choosing alone."""

Advance = Callable[[int], None]
Label = Callable[[Recorded], int]


@dataclass(frozen=True, slots=True)
class Examples:
    """Some inputs. All arrays are of one length."""

    tensors: Tensor
    """As the model takes them, shape (n, ...)."""
    outputs: tuple[Tensor, ...]
    """What the full model says, each of shape (n, ...)."""
    labels: NDArray[np.int64]
    """The true class of each; -1: not known."""

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.tensors)

    def some(self, places: NDArray[np.int64]) -> Examples:
        """Return those at some places."""
        return Examples(self.tensors[places], tuple(each[places] for each in self.outputs), self.labels[places])

    def spread(self, count: int) -> Examples:
        """Return at most so many, evenly spread."""
        return self.some(np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).astype(np.int64)))


@dataclass(frozen=True, slots=True)
class Task:
    """A function's model and its inputs, apart: none is in two of the three."""

    path: Path
    """The full model."""
    fitted: Examples
    """What ranges, closed forms and training see."""
    chosen: Examples
    """What settings are chosen by."""
    judged: Examples
    """What the figures are from."""
    same: Callable[[Sequence[Tensor], Sequence[Tensor]], NDArray[np.bool_]]
    """Of two lists of outputs, which rows mean the same result."""
    labelled: bool
    """Whether results are classes, so that the first output has scores."""
    second_derivatives: Callable[[Network], Mapping[str, NDArray[np.float32]]] | None = None
    """Returns by weight what the loss gains where it is zero, to the second order; None: that needs PyTorch."""


class Reader:
    """Reads inputs for one function's model."""

    def __init__(self, subject: Subject) -> None:
        """Set up. Raises InvalidFunction for a model that cannot be compressed."""
        spec = subject.spec.model
        if subject.computation is None or spec is None:
            raise InvalidFunction(f"`{subject.name}` has no model: devices compute it; nothing to compress.")
        self.path = subject.folder / str(subject.version) / spec.file
        self.subject = subject
        self.computation: Computation = subject.computation
        # the whole model, also where an early layer of it is the key
        self.model = OnnxModel(
            self.path, subject.threads, input=spec.input, fixed=spec.fixed_inputs,
            outputs=self._outputs(), batch=spec.batch,
        )  # fmt: skip
        if not self.model.plain:
            raise InvalidFunction(
                f"{self.path}: takes fixed inputs, or no batch; only a model of one input is compressed"
            )
        self.notes: list[str] = []

    def own(self, path: Path, order: Order, most: int, labels: str, advance: Advance) -> tuple[Examples, list[int]]:
        """Return the first inputs of a folder or a capture, and who sent each. labels: `none` or `folders`."""
        subject = self.subject
        with Inputs(path, subject.name, subject.spec.input.kind, order) as inputs:
            label = self._by_folder if labels == "folders" else _unknown
            found = self._read(islice(inputs, most), label, str(path), advance)
            self.notes += inputs.notes
            return found

    def workload(self, name: str, data: Path | None, most: int, advance: Advance) -> tuple[Examples, list[int]]:
        """Return the requests of a workload, with their true labels, and who sent each."""
        workload = open_workload(name, data, held_out_only=True)
        if workload.function != self.subject.name:
            raise InvalidValue(f"The workload {name} is for `{workload.function}`, not `{self.subject.name}`.")
        names = {each: at for at, each in enumerate(self.subject.parts.labels)}
        samples = workload.stream(most, 0, 1)
        truths = [names.get(sample.truth, -1) for sample in samples]
        records = (
            Recorded(0.0, 0.0, self.subject.name, str(at), "miss", media_type=sample.media_type, body=sample.body)
            for at, sample in enumerate(samples)
        )
        examples, _ = self._read(records, lambda record: truths[int(record.device)], name, advance)
        return examples, [0] * len(examples)

    def _outputs(self) -> tuple[str, ...]:
        """Return the outputs that results are made of; none: all."""
        named = self.subject.spec.result.outputs
        return tuple(named) if named else ()

    def _by_folder(self, record: Recorded) -> int:
        name = record.device.rpartition("/")[2]
        names = self.subject.parts.labels
        if name in names:
            return names.index(name)
        if name.isdecimal() and (not names or int(name) < len(names)):
            return int(name)
        raise InvalidValue(
            f"--labels folders: the folder `{record.device}` is named neither as a label of `{self.subject.name}` nor "
            "with a class's number; rename it, or leave --labels out."
        )

    def _read(
        self, records: Iterable[Recorded], label: Label, origin: str, advance: Advance
    ) -> tuple[Examples, list[int]]:
        tensors: list[Tensor] = []
        labels: list[int] = []
        devices: list[int] = []
        numbers: dict[str, int] = {}
        skipped: Counter[str] = Counter()
        size = 0
        for record in records:
            advance(1)
            if not record.body:
                skipped["have no input"] += 1
                continue
            try:
                tensor = self.computation.prepare(self.subject.read(record)[0])
            except LikewiseError as error:
                skipped[f"could not be read (the first: {error.detail})" if not tensors else "could not be read"] += 1
                continue
            if tensors and tensor.shape != tensors[0].shape:
                raise InvalidValue(f"{origin} has inputs of several shapes; compress takes those of one.")
            tensors.append(np.asarray(tensor, self.model.dtype))
            labels.append(label(record))
            devices.append(numbers.setdefault(record.device, len(numbers)))
            size += tensors[-1].nbytes
            if size > MOST_BYTES:
                raise InvalidValue(f"{origin} has over {MOST_BYTES >> 30} GB of inputs; take fewer with --requests.")
        self.notes += [f"{count} inputs {why} and are left out." for why, count in skipped.items()]
        if len(tensors) < FEWEST:
            raise InvalidValue(f"{origin} has {len(tensors)} inputs that can be read; {FEWEST} is the least.")
        stacked = np.stack(tensors)
        return Examples(stacked, outputs_of(self.model, stacked), np.array(labels, np.int64)), devices

    def task(self, seen: tuple[Examples, list[int]], unseen: Examples | None) -> Task:
        """Return inputs apart: seen is fitted to and chosen by; a third of it is judged on where none are unseen."""
        examples, devices = seen
        if unseen is None:
            parts = split(devices)
            unseen, examples = examples.some(parts.played), examples.some(parts.fitted)
            devices = [devices[at] for at in parts.fitted]
        choosing = _every_fifth(devices)
        kind = self.subject.spec.result.kind
        return Task(
            self.path, examples.some(np.flatnonzero(~choosing)), examples.some(np.flatnonzero(choosing)), unseen,
            _same_class if kind == "label" else self._same_result, kind == "label",
        )  # fmt: skip

    def _same_result(self, one: Sequence[Tensor], other: Sequence[Tensor]) -> NDArray[np.bool_]:
        """Say of each row whether both outputs are one result, by the function's own equality."""
        found = []
        for at in range(len(one[0])):
            labels = self.subject.labels()
            try:
                first, second = (
                    labels.label(self.computation.encode([output[at] for output in each])) for each in (one, other)
                )
            except LikewiseError:
                found.append(False)
                continue
            found.append(first == second)
        return np.array(found, bool)


def _every_fifth(devices: Sequence[int]) -> NDArray[np.bool_]:
    """Return every fifth block of what each device sent; devices take turns in whose first block it is."""
    block = min(BLOCK, max(1, len(devices) // (2 * SHARE)))
    sent: Counter[int] = Counter()
    found = np.zeros(len(devices), bool)
    for at, device in enumerate(devices):
        found[at] = (sent[device] // block + device) % SHARE == SHARE - 1
        sent[device] += 1
    if found.all() or not found.any():
        found[:] = np.arange(len(devices)) % SHARE == SHARE - 1
    return found


def outputs_of(model: OnnxModel, tensors: Tensor) -> tuple[Tensor, ...]:
    """Return a model's outputs for many inputs, each of shape (n, ...). Raises ModelFailed."""
    step = BATCH if model.dynamic_batch else 1
    parts = [model.run(tensors[at : at + step]) for at in range(0, len(tensors), step)]
    return tuple(np.concatenate(each) for each in zip(*parts, strict=True))


def _unknown(_: Recorded) -> int:
    return -1


def _same_class(one: Sequence[Tensor], other: Sequence[Tensor]) -> NDArray[np.bool_]:
    first, second = (each[0].reshape(len(each[0]), -1) for each in (one, other))
    same: NDArray[np.bool_] = first.argmax(1) == second.argmax(1)
    return same


def scores(outputs: Tensor) -> NDArray[np.float32]:
    """Return logits of a model's outputs, shape (n, classes): logarithms where they are shares."""
    flat = outputs.reshape(len(outputs), -1).astype(np.float32)
    if flat.min() >= 0 and np.allclose(flat.sum(1), 1, atol=1e-3):
        flat = np.log(np.maximum(flat, 1e-6))
    centered: NDArray[np.float32] = flat - flat.mean(1, keepdims=True)
    return centered
