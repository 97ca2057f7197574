"""A stream from inputs of one's own: read as the server reads them, with what the model says of each as its label."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np

from likewise.captures import Recorded
from likewise.errors import InvalidFunction, InvalidValue, LikewiseError
from likewise.evaluation.panel import Panel, Variant, key_cost
from likewise.evaluation.read import COMPUTED, Read, given_away, timed
from likewise.evaluation.streams import MAX_PIXELS, MAX_SECONDS, MAX_VALUES, Stream, key_spec
from likewise.features.decode import decoder
from likewise.features.identity import digest
from likewise.function.assembly import normalizer
from likewise.function.key_type import KeyType
from likewise.function.parts import Computation, Parts
from likewise.function.spec import SPEC_FILE, KeySpec
from likewise.function.spec_text import read_spec
from likewise.results.labels import Labels
from likewise.types import Input, Key, Keys, Tensor
from likewise.workloads.inputs import Inputs

BATCH = 32
_MOST_BYTES = 1 << 28

Advance = Callable[[int], None]


class Subject:
    """A function in a folder, and how it reads and computes; nothing of it is cached."""

    def __init__(self, functions: Path, name: str, threads: int = 1) -> None:
        """Load spec and model. Raises InvalidFunction, naming the remedy."""
        self.folder = functions / name
        if not (self.folder / SPEC_FILE).is_file():
            raise InvalidFunction(
                f"{self.folder / SPEC_FILE}: is not there; name the folder that holds `{name}/` with --functions DIR"
            )
        self.name = name
        self.threads = threads
        self.spec, self.version = read_spec(self.folder)
        self.parts = Parts(self.spec, self.folder, self.version)
        model = self.spec.model
        self.computation: Computation | None = self.parts.computation(model, threads) if model else None
        self._decode = decoder(
            self.spec.input.kind, max_pixels=MAX_PIXELS, max_seconds=MAX_SECONDS, max_values=MAX_VALUES
        )
        self._normalize = normalizer(self.spec.input.kind, self.computation)

    def labels(self) -> Labels:
        """Return what tells results apart, as the server has it."""
        common, single = self.spec.result.tolerances
        return Labels(self.spec.result.equality, common, tolerances=single, least=self.spec.result.least)

    def read(self, record: Recorded) -> tuple[Input, str]:
        """Return an input as the model sees it, and its signature. Raises LikewiseError for what cannot be read."""
        return self._normalize(self._decode(record.media_type, record.body))

    def results(self, inputs: Inputs, requests: int | None, advance: Advance = lambda _: None) -> Read:
        """Return what each request would be answered if it were computed.

        requests: the first so many. Results that were recorded stand for themselves where there is no input to compute
        or no model. Raises InvalidValue where there is nothing to play.
        """
        labels = self.labels()
        found = Read(known=labels)
        numbers: dict[str, int] = {}
        skipped: Counter[str] = Counter()
        first = ""
        waiting: list[tuple[int, Recorded, Input, str]] = []

        def flush() -> None:
            for (place, record, value, signature), label in zip(
                waiting, self._computed([each[2] for each in waiting], labels), strict=True
            ):
                if isinstance(label, str):
                    skipped[label] += 1
                    continue
                known = digest(value) if self.spec.model and self.spec.model.deterministic else b""
                add(place, record, label, known, signature)
            waiting.clear()

        def add(place: int, record: Recorded, label: int, known: bytes, signature: str) -> None:
            found.places.append(place)
            found.labels.append(label)
            found.devices.append(numbers.setdefault(record.device, len(numbers)))
            found.digests.append(known)
            found.signatures.append(signature)
            found.times.append(record.at)
            found.took_s.append(record.took_s)
            found.outcomes.append(record.outcome)
            found.served.append(-1 if record.result is None else labels.label(record.result))
            found.computed_s.append(record.took_s if record.outcome in COMPUTED and record.took_s else math.nan)

        size = 0
        recorded = 0
        for place, record in enumerate(islice(inputs, requests)):
            advance(1)
            if record.body and self.computation is not None:
                try:
                    value, signature = self.read(record)
                except LikewiseError as error:
                    skipped["could not be read"] += 1
                    first = first or f"{inputs.name(place)}: {error.detail.rstrip('.')}"
                    continue
                waiting.append((place, record, value, signature))
                size += value.size_bytes
                if len(waiting) >= BATCH or size > _MOST_BYTES:
                    flush()
                    size = 0
                continue
            flush()
            if record.result is None or (record.key is None and not record.body):
                skipped["have no result" if record.result is None else "have neither input nor key"] += 1
                continue
            if record.key is not None:
                found.keys[place] = record.key
            recorded += 1
            add(place, record, labels.label(record.result), b"", "")
        flush()
        for why, count in skipped.items():
            found.notes.append(f"{count} requests {why} and are left out{'; the first: ' + first if first else ''}.")
        if recorded:
            found.notes.append(f"{recorded} requests are taken to be right as they were answered: nothing is computed.")
        if len(found.labels) < 2:
            said = " ".join([*inputs.notes, *found.notes])
            raise InvalidValue(f"{inputs.path} has too few requests to play; two are the least. {said}".rstrip())
        if inputs.by_folder and given_away(found):
            found.anonymous = True
            found.notes.append("The sub-folders tell the results, so they are not taken for devices.")
        return found

    def _computed(self, values: Sequence[Input], labels: Labels) -> Iterator[int | str]:
        """Yield the label of each result, or in words why there is none."""
        if not values:
            return
        assert self.computation is not None
        computation = self.computation
        tensors: dict[int, Tensor] = {}
        for at, value in enumerate(values):
            with suppress(LikewiseError):
                tensors[at] = computation.feed(value)
        groups: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for at, tensor in tensors.items():
            groups[tensor.shape].append(at)
        rows: dict[int, list[Tensor]] = {}
        for places in groups.values():
            step = BATCH if computation.model.dynamic_batch else 1
            for begin in range(0, len(places), step):
                part = places[begin : begin + step]
                try:
                    outputs = computation.model.run(np.stack([tensors[at] for at in part]))
                except LikewiseError:
                    continue
                rows.update({at: [output[row] for output in outputs] for row, at in enumerate(part)})
        for at in range(len(values)):
            if at not in rows:
                yield "could not be computed"
                continue
            try:
                yield labels.label(computation.encode(rows[at], values[at]))
            except LikewiseError:
                yield "could not be computed"


def own_stream(
    subject: Subject,
    inputs: Inputs,
    *,
    requests: int | None = None,
    key_type: str | None = None,
    advance: Advance = lambda _: None,
    ladders: bool = False,
) -> tuple[Stream, Read, list[str]]:
    """Return the stream of some inputs, what is known of its requests, and what there is to say about it.

    key_type, requests, ladders: as for `load_stream`. Raises LikewiseError, naming the remedy.
    """
    read = subject.results(inputs, requests, advance)
    table = key_spec(subject.spec, key_type, subject.name)
    found = subject.parts.key_type(table, subject.name)
    keys = keys_of(subject, inputs, read, table.label, found.extract)
    cost, variants = _asked(subject, inputs, read, table, found, keys) if ladders else (0.0, ())
    stream = Stream(
        f"{subject.name}, {inputs.path.name or inputs.path}",
        0,
        keys,
        read.labels,
        [0] * len(read.labels) if read.anonymous else read.devices,
        subject.spec.reuse.neighbors,
        table.may_be_projected,
        read.digests,
        read.signatures,
        *timed(read),
        anonymous=read.anonymous,
        prior=subject.parts.projection(table, keys.shape[1]),
        key_cost=cost,
        variants=variants,
    )
    return stream, read, [*inputs.notes, *read.notes]


def _asked(
    subject: Subject, inputs: Inputs, read: Read, table: KeySpec, found: KeyType, keys: Keys
) -> tuple[float, tuple[Variant, ...]]:
    """Return what a key takes as a share of a full inference, and what the variants say of each request."""
    if read.keys or read.known is None or subject.computation is None:
        raise InvalidValue(f"{inputs.path} has keys instead of inputs, or the function no model; leave out --ladder.")
    panel = Panel(subject.parts, table, keys.shape[1], read.known.label)
    places, values, done, cost = set(read.places), list[Input](), 0, 0.0
    for at, record in enumerate(inputs):
        if at in places:
            values.append(subject.read(record)[0])
        if len(values) == BATCH or (values and done + len(values) == len(keys)):
            cost = cost or key_cost(subject.parts, values, found.extractor)
            panel.ask(values, keys[done : done + len(values)])
            done += len(values)
            values.clear()
    return cost, panel.variants


def keys_of(subject: Subject, inputs: Inputs, read: Read, key_type: str, extract: Callable[[Input], Key]) -> Keys:
    """Return the key of each request that was read, shape (n, dimension): computed, or as it was recorded."""
    wanted = iter(read.places)
    place = next(wanted, None)
    keys: list[Key] = []
    for at, record in enumerate(inputs):
        if at != place:
            continue
        if at in read.keys:
            if record.key_type != key_type:
                raise InvalidValue(
                    f"{inputs.path} has keys of key type `{record.key_type}`, not `{key_type}`; name it with "
                    "--key-type, or capture inputs."
                )
            keys.append(read.keys[at])
        elif record.body:
            keys.append(extract(subject.read(record)[0]))
        else:
            raise InvalidValue(f"{inputs.path} has requests without input or key; capture inputs.")
        place = next(wanted, None)
    sizes = {key.shape for key in keys}
    if len(sizes) != 1:
        raise InvalidValue(f"{inputs.path} has keys of several lengths for key type `{key_type}`; capture inputs.")
    return np.ascontiguousarray(keys, np.float32)
