"""The trace that all ways play: made once, kept in a file that every process reads."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from likewise.errors import InvalidValue
from likewise.files import write_out
from likewise_fleet.catalog import Catalog
from likewise_fleet.demand import Demand, Look, Town, looks, per_phone

_COLUMNS = ("phone", "think_s", "place", "workload", "thing", "first", "kind", "offset", "length")
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Request(Look):
    """One request with its input."""

    body: bytes
    media_type: str
    truth: str


@dataclass(frozen=True, slots=True)
class Trace:
    """The requests of all phones, those of each in order."""

    phones: int
    functions: tuple[str, ...]
    """By workload: the function that is asked."""
    requests: list[Request]

    def by_phone(self) -> list[list[int]]:
        """Return for each phone the positions of its requests, in order."""
        positions: list[list[int]] = [[] for _ in range(self.phones)]
        for at, request in enumerate(self.requests):
            positions[request.phone].append(at)
        return positions

    def save(self, path: Path) -> None:
        """Write it to a file: a ZIP of plain columns and the inputs."""
        kinds = sorted({(each.media_type, each.truth) for each in self.requests})
        numbers = {kind: at for at, kind in enumerate(kinds)}
        lengths = [len(each.body) for each in self.requests]
        rows = [
            (r.phone, r.think_s, r.place, r.workload, r.thing, r.first, numbers[r.media_type, r.truth], offset, length)
            for r, offset, length in zip(self.requests, np.cumsum([0, *lengths[:-1]]).tolist(), lengths, strict=True)
        ]
        head = {"version": _VERSION, "phones": self.phones, "functions": self.functions, "kinds": kinds}
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("head.json", json.dumps(head))
            archive.writestr("columns.json", json.dumps(dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True))))
            archive.writestr("inputs", b"".join(each.body for each in self.requests))
        write_out(path, file.getvalue())


def load_trace(path: Path) -> Trace:
    """Return a trace from a file that `Trace.save` wrote. Raises InvalidValue for anything else."""
    try:
        with zipfile.ZipFile(path) as archive:
            head: dict[str, Any] = json.loads(archive.read("head.json"))
            columns: dict[str, list[Any]] = json.loads(archive.read("columns.json"))
            inputs = archive.read("inputs")
        kinds = [(str(media_type), str(truth)) for media_type, truth in head["kinds"]]
        requests = []
        for row in zip(*(columns[name] for name in _COLUMNS), strict=True):
            *what, kind, offset, length = row
            body = inputs[int(offset) : int(offset) + int(length)]
            requests.append(Request(*_look(what), body, *kinds[int(kind)]))
        trace = Trace(int(head["phones"]), tuple(str(each) for each in head["functions"]), requests)
        if head["version"] != _VERSION or not requests or not trace.functions:
            raise ValueError("no requests, or of another version")
        if any(not (0 <= r.phone < trace.phones and 0 <= r.workload < len(trace.functions)) for r in requests):
            raise ValueError("a phone or function out of range")
    except (OSError, ValueError, KeyError, IndexError, TypeError, zipfile.BadZipFile) as error:
        raise InvalidValue(f"{path} is no trace of a fleet ({error}); make one with --save-trace FILE.") from error
    return trace


def make_trace(demand: Demand, catalogs: list[Catalog], advance: Callable[[int], None] = lambda done: None) -> Trace:
    """Return a new trace. advance: told how many requests there are so far."""
    town = Town(demand)
    requests: list[Request] = []
    for phone, count in enumerate(per_phone(demand)):
        rng = np.random.default_rng([demand.seed, 107, phone])
        shots = None
        for _, look in zip(range(count), looks(demand, town, phone), strict=False):
            if look.first or shots is None:
                shots = catalogs[look.workload].turn(phone, look.thing, rng)
            shot = next(shots)
            requests.append(
                Request(
                    look.phone, look.think_s, look.place, look.workload, look.thing, look.first,
                    shot.body, shot.media_type, shot.truth,
                )
            )  # fmt: skip
        advance(len(requests))
    return Trace(demand.phones, tuple(each.function for each in catalogs), requests)


def _look(row: list[Any]) -> tuple[int, float, int, int, int, bool]:
    phone, think_s, place, workload, thing, first = row
    return int(phone), float(think_s), int(place), int(workload), int(thing), bool(first)
