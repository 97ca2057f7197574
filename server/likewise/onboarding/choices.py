"""What is chosen for a spec: the input, the preparation, the result and the key, each from what is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from likewise.errors import InvalidFunction, InvalidValue
from likewise.features.decode import MEDIA_TYPES, Kind
from likewise.function.preparation_spec import FIELDS_OF, OF_ALL
from likewise.function.spec_text import decode_text
from likewise.inference.onnx_graph import Graph, Value
from likewise.onboarding import outcomes, preparations, shapes
from likewise.onboarding.draft import Draft, Origin
from likewise.results.sequences import read_alphabet
from likewise.workloads.folder import InputFile, main_kind

CLOSE = 0.97
"""Share of the most told from which on the likelier of two preparations is taken."""
LITTLE = 0.1
"""Nats, or share of right answers, below which the inputs say nothing about preparations."""
LABELS_FILE, ALPHABET_FILE = "labels.txt", "alphabet.txt"
MAX_NAMES_BYTES = 16 << 20
"""The largest file of labels that is read."""
KEYS: Mapping[Kind, str] = {"image": "hog", "audio": "mfcc", "array": "vector", "bytes": "bytes"}
"""The extractor that is taken for each kind of input until something better is measured."""
MAX_VECTOR = 4096
"""Numbers of an array up to which it is its own key."""


def choose_input(draft: Draft, graph: Graph, files: Sequence[InputFile], path: str) -> tuple[Kind, Value]:
    """Choose what the input is and how it is prepared; return its kind, and the graph's input.

    Raises InvalidFunction or InvalidValue, naming the remedy, where that cannot be.
    """
    main = shapes.main_input(graph.inputs, draft.get("model", "input"), path)
    others = [each for each in graph.inputs if each.name != main.name]
    if not shapes.has_batch(main):
        draft.choose("model", "batch", "none", "its input has no batch axis")
    draft.choose("input", "kind", *shapes.kind_of(main, others, main_kind(files) if files else None))
    kind: Kind = draft.get("input", "kind")
    if kind not in MEDIA_TYPES:
        raise InvalidValue(f"input.kind is {kind!r}; give one of {', '.join(MEDIA_TYPES)}")
    of_others = {each for fields in FIELDS_OF.values() for each in fields} - FIELDS_OF[kind] - OF_ALL
    strange = [each for each in draft.choices["model"] if each in of_others]
    if strange:
        raise InvalidValue(f"--set model.{strange[0]}: is of no use to inputs of kind `{kind}`; leave it out")
    sounds = [each for each in files if each.kind == "audio"] if kind == "audio" else []
    preparations.prepare(draft, kind, main, path, _sample_rate(sounds))
    shapes.fix_others(draft, graph.inputs, main, int(draft.get("model", "sample_rate", preparations.USUAL_RATE)))
    return kind, main


def _sample_rate(files: Sequence[InputFile]) -> int | None:
    """Return the sample rate of the sounds, where the first of them agree."""
    rates = set()
    for each in files[:16]:
        with each.path.open("rb") as file:
            head = file.read(64)
        at = head.find(b"fmt ")
        if at >= 0:
            rates.add(int.from_bytes(head[at + 12 : at + 16], "little"))
    return rates.pop() if len(rates) == 1 and 4000 <= min(rates) <= 192_000 else None


def known_names(draft: Draft, graph: Graph, labels: Path | None) -> tuple[tuple[str, ...], bool]:
    """Return the names of classes, or the characters of an alphabet, and whether they go into a file.

    Raises InvalidValue for a file of labels that cannot be read.
    """
    if labels is not None:
        if labels.exists() and not labels.is_file():
            raise InvalidValue(f"{labels}: is no file; check --labels")
        try:
            with labels.open("rb") as file:
                content = file.read(MAX_NAMES_BYTES + 1)
        except OSError as error:
            raise InvalidValue(f"{labels}: cannot be read ({error.strerror}); check --labels") from error
        if len(content) > MAX_NAMES_BYTES:
            raise InvalidValue(f"{labels}: has over {MAX_NAMES_BYTES} bytes, too many for names; check --labels")
        text = decode_text(content, str(labels))
        names = read_alphabet(text) if draft.get("result", "kind") == "text" else outcomes.read_names(text)
        if not names:
            raise InvalidValue(f"{labels}: holds no name; write one per line")
        return names, True
    listed = draft.get("result", "labels")
    if isinstance(listed, list) and all(isinstance(each, str) for each in listed):
        return tuple(listed), False
    names = outcomes.names_in(graph)
    return names, bool(names)


def choose_preparation(
    draft: Draft, probe: Mapping[str, Any], inputs: Sequence[InputFile], names: Sequence[str]
) -> list[str]:
    """Take one of the preparations: the likeliest, or the one by which the model tells the most of the inputs.

    Returns what there is to say about it.
    """
    if probe["batch"] != "both":
        draft.choose("model", "batch", probe["batch"], "its outputs have no batch axis", Origin.TRIED)
    for field in ("multiple", "max_side") if probe["sized"] else ():
        draft.drop("model", field)
    for field, value in probe["sized"].items():
        draft.choose("model", field, value, "the first size that it computes", Origin.TRIED)
    found, told = probe["candidates"], probe["told"]
    if not found:
        return []
    if not told:
        preparations.adopt(draft, found[0], "usual", Origin.ASSUMED)
        return []
    right = [] if probe["count_refused"] else _accuracy(probe["by_input"], inputs, names)
    score, by = (right, "right by sub-folder") if right else (told, "nats told")
    if max(score) < LITTLE:
        preparations.adopt(draft, found[0], "usual; the inputs do not tell", Origin.ASSUMED)
        return [f"the model tells too little of {probe['read']} inputs to say how pixels are scaled; give others"]
    at = next(place for place, each in enumerate(score) if each >= CLOSE * max(score))
    preparations.adopt(draft, found[at], f"{score[at]:.2f} {by}, of {len(found)} tried", Origin.INPUTS)
    ranked = sorted(zip(score, [name for name, _ in found], strict=True), reverse=True)[:3]
    listed = ", ".join(f"{name} {each:.2f}" for each, name in ranked)
    return [f"pixels {found[at][0]}: by what the model tells of {probe['read']} inputs ({by}: {listed})"]


def _accuracy(by_input: Sequence[Sequence[int]], inputs: Sequence[InputFile], names: Sequence[str]) -> list[float]:
    """Return the share of right classes by preparation, where all inputs lie in sub-folders called like labels."""
    places = {name: at for at, name in enumerate(names)}
    truth = [places.get(PurePath(each.folder).name, -1) for each in inputs]
    if not names or -1 in truth or len(set(truth)) < 2 or any(len(row) != len(truth) for row in by_input):
        return []
    return [sum(a == b for a, b in zip(row, truth, strict=True)) / len(truth) for row in by_input]


def choose_result(
    draft: Draft, graph: Graph, probe: Mapping[str, Any], names: Sequence[str], to_file: bool, path: str
) -> None:
    """Choose the result. Raises InvalidFunction where outputs are not finite, or do not fit the names."""
    found = [
        outcomes.Output(each["name"], tuple(each["shape"]), each["dtype"], each["shares"], each["unit"])
        for each in probe["outputs"]
    ]
    strange = [each["name"] for each in probe["outputs"] if not each["finite"]]
    if strange and not probe["on_zeros"]:
        raise InvalidFunction(
            f"{path}: its output `{strange[0]}` holds NaN or infinity for inputs that are fine; check its weights and "
            "how inputs are prepared (--set model.scale=…, mean, std)"
        )
    outcomes.choose_result(draft, graph, found, names, path)
    kind = draft.get("result", "kind")
    kept, everything = [each.name for each in found], [each.name for each in graph.outputs]
    if kind in ("tensors", "boxes") and kept != everything:
        draft.choose("result", "outputs", kept, "the others are new states")
    elif kind not in ("tensors", "boxes") and kept[0] != everything[0]:
        draft.choose("result", "outputs", kept[:1], "the others are new states")
    free = draft.get("model", "resize") == "free" and not draft.is_given("model", "resize")
    if free and kind in ("label", "multi-label", "embedding"):
        for field in ("resize", "multiple", "max_side"):
            draft.drop("model", field)
        draft.choose("model", "size", [224, 224], "width, height; it takes any", Origin.ASSUMED)
    if not to_file:
        return
    if kind == "text":
        draft.choose("result", "alphabet", ALPHABET_FILE, f"{len(names)} characters")
    elif kind in ("label", "multi-label") or (kind == "boxes" and draft.get("result", "rows") != "map"):
        draft.choose("result", "labels", LABELS_FILE, f"{len(names)} names")


def choose_key(draft: Draft, kind: Kind, main: Value) -> None:
    """Choose a key that is general."""
    size = 1
    for axis in shapes.axes_of(main):
        size *= axis or MAX_VECTOR + 1
    why = "general; measure others with `likewise tune`"
    extractor = "pool" if kind == "array" and size > MAX_VECTOR else KEYS[kind]
    draft.choose("keys", "extractor", extractor, why, Origin.ASSUMED)
    if draft.get("keys", "extractor") == "vector":
        draft.choose("keys", "dimension", size, "all its numbers")
