"""What comes back: the kind of result that a graph's outputs make, from shapes, operators, names and metadata."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from likewise.errors import InvalidFunction
from likewise.inference.onnx_graph import Graph, Value
from likewise.onboarding.draft import Draft, Origin
from likewise.results.boxes import MAX_BOXES
from likewise.results.encode import read_labels

_PASSES = frozenset({"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose"})
"""Operators that leave numbers as they are."""
_EMBEDDING = re.compile(r"embed|feature|vector|repr", re.I)
_BOXES = re.compile(r"box", re.I)
_SCORES = re.compile(r"score|conf|prob", re.I)
_CLASSES = re.compile(r"class|label|categor", re.I)
_NEW_STATE = ("{}", "{}n", "{}_n", "n{}", "{}out", "{}_out", "out_{}", "new_{}", "next_{}", "{}_new", "{}_next", "{}_1")
"""What the new value of a state is called, by the name of the old one."""
MAX_NAMES = 100_000


@dataclass(frozen=True, slots=True)
class Output:
    """One output, as it came out for one input."""

    name: str
    shape: tuple[int, ...]
    """Without the batch axis."""
    dtype: str
    shares: bool = False
    """Whether it was a distribution each time."""
    unit: bool = False
    """Whether all its numbers were from 0 to 1."""


def names_in(graph: Graph) -> tuple[str, ...]:
    """Return the names of classes, or characters, that a file has in its metadata."""
    for key in ("names", "labels", "classes", "class_names", "character"):
        text = graph.metadata.get(key, "").strip("\0")
        found = _parsed(text) if text else ()
        if found and len(found) <= MAX_NAMES:
            return found
    return ()


def _parsed(text: str) -> tuple[str, ...]:
    """Return the names in a text: a Python or JSON list or table by number, one per line, or with commas."""
    if text.lstrip()[:1] in ("[", "{", "(") and len(text) < 1 << 20:
        try:
            value: Any = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            value = None
        if isinstance(value, dict) and [str(key) for key in value] == [str(at) for at in range(len(value))]:
            value = list(value.values())
        if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
            return tuple(value)
    if "\n" in text:
        return tuple(text.splitlines())
    return tuple(each.strip() for each in text.split(",")) if "," in text else ()


def last_operator(graph: Graph, output: str) -> str:
    """Return what makes an output, looking through what leaves numbers as they are; "" where it is not known."""
    for _ in range(16):
        made = graph.made_by.get(output, "")
        if made not in _PASSES:
            return made
        output = graph.fed_by.get(output, "")
    return ""


def without_states(outputs: Sequence[Value], fixed: Sequence[str]) -> list[Value]:
    """Return the outputs that are no new state: those that are not called like a fixed input."""
    called = {form.format(name).lower() for name in fixed for form in _NEW_STATE}
    kept = [each for each in outputs if each.name.lower() not in called]
    return kept or list(outputs)


def choose_result(draft: Draft, graph: Graph, found: Sequence[Output], names: Sequence[str], path: str) -> None:
    """Choose the kind of result and its fields. names: of classes, or characters, where they are known.

    Raises InvalidFunction where names and outputs do not fit.
    """
    if draft.get("result", "kind") is None:
        kind, why, origin = _kind(graph, found, names)
        draft.choose("result", "kind", kind, why, origin)
    kind = draft.get("result", "kind")
    first = found[0]
    many = [axis for axis in first.shape if axis != 1]
    count = many[0] if many else 1
    if kind in ("label", "multi-label"):
        if names and len(names) != count and not (kind == "label" and len(many) > 1):
            raise InvalidFunction(
                f"{path}: gives {count} scores, and there are {len(names)} labels; name a file with {count} lines: "
                "--labels FILE"
            )
        _scores(draft, graph, first, kind)
    elif kind == "text" and not names and draft.get("result", "alphabet") is None:
        raise InvalidFunction(
            f"{path}: has no alphabet in its metadata; name a file with its characters: --labels FILE"
        )
    elif kind == "boxes":
        _boxes(draft, found, names)


def _kind(graph: Graph, found: Sequence[Output], names: Sequence[str]) -> tuple[str, str, Origin]:
    first = found[0]
    many = [axis for axis in first.shape if axis != 1]
    last = last_operator(graph, first.name)
    if [each for each in found if _BOXES.search(each.name) and each.shape[-1:] == (4,)] and len(found) > 1:
        return "boxes", "an output of boxes", Origin.FILE
    if not first.dtype.startswith("float") or len(found) > 1:
        single = "one output of whole numbers" if len(found) == 1 else f"{len(found)} outputs"
        if len(found) == 1 or not (len(many) == 1 and names and len(names) == many[0]):
            return "tensors", single, Origin.FILE
    if not many:
        if last == "Sigmoid" or first.unit:
            return "multi-label", "one score from 0 to 1", Origin.FILE if last == "Sigmoid" else Origin.TRIED
        return "tensors", "one number", Origin.FILE
    if len(many) == 1:
        if _EMBEDDING.search(first.name) or last in ("LpNormalization",):
            return "embedding", f"its output is called `{first.name[:40]}`", Origin.ASSUMED
        if last == "Sigmoid":
            return "multi-label", "a score from 0 to 1 for each class", Origin.FILE
        sure = last in ("Softmax", "LogSoftmax") or bool(names)
        return "label", "one score for each class", Origin.FILE if sure else Origin.ASSUMED
    if len(many) == 2:
        if names and many[1] in (len(names) + 1, len(names) + 2):
            return "text", "scores of characters by step", Origin.FILE
        if many[1] in (6, 7) and many[0] <= MAX_BOXES:
            return "boxes", "rows of box, score and class", Origin.ASSUMED
        if names and len(names) + 4 in many:
            return "boxes", "rows of box and a score for each class", Origin.FILE
        if names and len(names) + 5 in many:
            return "boxes", "rows of box, objectness and a score for each class", Origin.FILE
    return "tensors", "outputs of no other known form", Origin.FILE


def _scores(draft: Draft, graph: Graph, first: Output, kind: str) -> None:
    last = last_operator(graph, first.name)
    if last in ("Softmax", "Sigmoid"):
        draft.choose("result", "scores", "probabilities", f"a {last} makes them")
    elif first.shares if kind == "label" else first.unit:
        draft.choose("result", "scores", "probabilities", "they were each time", Origin.TRIED)
    else:
        draft.choose("result", "scores", "logits", "they are no probabilities", Origin.TRIED)


def _boxes(draft: Draft, found: Sequence[Output], names: Sequence[str]) -> None:
    first = found[0]
    many = [axis for axis in first.shape if axis != 1]
    if len(found) > 1 and not draft.is_given("result", "rows", "outputs"):
        ordered = [
            next((each.name for each in found if pattern.search(each.name)), None)
            for pattern in (_BOXES, _SCORES, _CLASSES)
        ]
        draft.choose("result", "rows", "apart", "boxes, scores and classes are outputs of their own")
        draft.choose("result", "outputs", [name for name in ordered if name], "boxes, scores, classes", Origin.ASSUMED)
        return
    if len(many) < 2 or (many[1] in (6, 7) and many[0] <= MAX_BOXES):
        rows, corners = "score-class", "xyxy"
    elif names and len(names) + 4 in many:
        rows, corners = "classes", "cxcywh"
    elif names and len(names) + 5 in many:
        rows, corners = "objectness", "cxcywh"
    elif min(many) >= 16 and not names:
        rows, corners = "map", ""
    else:
        rows, corners = "classes", "cxcywh"
    draft.choose("result", "rows", rows, "the form of its output", Origin.ASSUMED)
    rows = draft.get("result", "rows")
    if corners and rows != "map":
        draft.choose("result", "corners", corners, "usual with such rows", Origin.ASSUMED)
    if rows in ("classes", "objectness"):
        draft.choose("result", "nms", 0.45, "usual; such rows overlap", Origin.ASSUMED)


def read_names(text: str) -> tuple[str, ...]:
    """Return the names in a labels file: one per line, or a JSON list."""
    stripped = text.strip()
    if stripped[:1] == "[":
        found = _parsed(stripped)
        if found:
            return found
    return read_labels(text)
