"""What stands for everything that makes a function's results and keys: functions with one fingerprint may share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson

from likewise.errors import InvalidFunction
from likewise.function.preparation_spec import Preparation
from likewise.function.spec import FunctionSpec

REVISION = 1
"""Goes up whenever the same spec and files come to make other results or keys: what was kept is then left out."""
_ALWAYS = ("size", "sample_rate", "seconds")
_TOLD_APART = {"kind", "labels", "alphabet", "equality", "tolerance"}
"""Fields of results that are described by themselves: what the names' file holds, and the tolerance where it counts."""
SHORT = 16
"""Hex digits of a fingerprint in the id under which records of a function are journaled."""


def fingerprint(spec: FunctionSpec, labels: Sequence[str], files: Mapping[str, Sequence[Path]]) -> str:
    """Return 64 hex digits over the input's kind, the model, its labels, what makes results equal, and the keys.

    labels: names of the classes. files: by the name of an ONNX file in the spec: that file, and its external data.
    Variants that may answer count, since their answers are kept. Target, policy, capacity, description, names of files
    and how keys are searched take no part: with any of them changed, what was computed stays right.
    Raises InvalidFunction for a file that cannot be read.
    """
    read: dict[Path, str] = {}

    def content(name: str | None) -> list[list[str]]:
        found = []
        for at, path in enumerate(files[name] if name else ()):
            if path not in read:
                read[path] = file_digest(path)
            found.append(["" if at == 0 else path.name, read[path]])  # a model calls its data by their names
        return found

    def prepared(table: Preparation) -> dict[str, object]:
        # a field that is as if it were not there takes no part: a spec keeps its fingerprint as fields come to be
        given = table.model_dump(include=set(Preparation.model_fields), exclude_defaults=True)
        fields = {**dict.fromkeys(_ALWAYS), "channels": 3, "mean": (), "std": (), **given}
        for field, neutral in (("mean", 0.0), ("std", 1.0)):
            values = fields[field] or (neutral,)
            fields[field] = list(values * table.channels if len(values) == 1 else values)
        return fields

    result = spec.result
    common, single = result.tolerances
    close = [list(common), sorted([name, *each] for name, each in single.items())]
    own = result.model_dump(exclude_defaults=True, exclude=_TOLD_APART)
    described: dict[str, object] = {
        "revision": REVISION,
        "input": spec.input.kind,
        "model": spec.model and [prepared(spec.model), content(spec.model.file)],
        "result": [result.kind, list(labels), result.equality, *([own] if own else [])],
        "tolerance": close if result.equality == "close" else None,
        "keys": sorted(
            [key.label, key.extractor, key.metric, key.dimension, prepared(key), content(key.file)]
            + ([content(key.rest)] if key.rest else [])
            for key in spec.keys
        ),
    }
    if spec.rungs:
        described["variants"] = [
            [each.name, each.takes, prepared(spec.prepared(each)), content(each.file)] for each in spec.rungs
        ]
    return hashlib.sha256(orjson.dumps(described, option=orjson.OPT_SORT_KEYS)).hexdigest()


def journal_id(name: str, version: int, fingerprint: str, generation: str = "") -> str:
    """Return the id that records of a function carry.

    generation: tells a function registered anew from one of the same files that was removed before.
    """
    return f"{name}@{version}#{fingerprint[:SHORT]}" + (f".{generation}" if generation else "")


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in hex. Raises InvalidFunction where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidFunction(f"{path}: cannot be read ({error.strerror}); check file and permissions") from error
