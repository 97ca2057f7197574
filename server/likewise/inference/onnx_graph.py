"""What an ONNX file says of its graph: inputs and outputs, operators, sizes, metadata; read without loading it.

Source: onnx.proto (IR version 10).
"""

from __future__ import annotations

import math
import mmap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from likewise.errors import InvalidFunction
from likewise.inference.protobuf import BYTES, VARINT, Span, add_axes, fields, numbers

ELEMENT_TYPES: Mapping[int, str] = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
}
"""Names of TensorProto.DataType."""
FLOATS = frozenset({1, 10, 11, 16})
"""Those of them that weights have, also where a node Constant holds them."""

_KNOWN_DOMAINS = frozenset(
    {"", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "com.microsoft"}
)
"""Domains whose operators ONNX Runtime has by itself."""
MAX_METADATA = 1 << 20
"""Bytes of metadata that are read."""
MAX_DEPTH = 32
"""Graphs within each other."""
SMALL = 64
"""Numbers of a constant up to which it is kept for looking at shapes."""


@dataclass(frozen=True, slots=True)
class Value:
    """An input or output of a graph."""

    name: str
    dtype: str
    """A NumPy name, `string`, or what it is instead of a tensor: `sequence`, `map`, `optional`."""
    shape: tuple[int | str | None, ...] | None
    """By axis: its length, the name of one of any length, or None; None: not said at all."""


@dataclass(slots=True)
class Graph:
    """What a file says of itself."""

    inputs: list[Value] = field(default_factory=list)
    """Without those that have an initializer, which are weights."""
    outputs: list[Value] = field(default_factory=list)
    opsets: dict[str, int] = field(default_factory=dict)
    """Version by domain; "" is the standard one."""
    producer: str = ""
    operators: Counter[str] = field(default_factory=Counter)
    """How often each occurs, in subgraphs and functions too; `domain::name` outside of the standard domain."""
    functions: set[str] = field(default_factory=set)
    """Operators that the file itself defines, as `domain::name`."""
    made_by: dict[str, str] = field(default_factory=dict)
    """By output of a node of the main graph: the node's operator."""
    fed_by: dict[str, str] = field(default_factory=dict)
    """By output of a node of the main graph: the node's first input."""
    parameters: int = 0
    """Numbers in initializers and float constants of all graphs."""
    metadata: dict[str, str] = field(default_factory=dict)
    constants: dict[str, list[int]] = field(default_factory=dict)
    """Small constants of whole numbers, by name."""
    filled: list[tuple[str, str]] = field(default_factory=list)
    """Operators that make a tensor of a shape that is given as numbers, and the name of those."""


def describe(path: Path) -> Graph:
    """Return what a file says of its graph. Raises InvalidFunction for what is no whole ONNX file.

    Check the file with `external_paths` first, which finds what it claims and cannot hold.
    """
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
            memoryview(content) as view,
        ):
            return parse(view)
    except (ValueError, IndexError, OverflowError) as error:
        raise InvalidFunction(f"{path}: is no whole ONNX file ({error}); export or copy it again") from None
    except OSError as error:
        raise InvalidFunction(f"{path}: cannot be read ({error.strerror}); check file and permissions") from error


def parse(view: memoryview) -> Graph:
    """Return what the bytes of a model say of its graph. Raises ValueError or IndexError."""
    graph = Graph()
    size = 0
    for number, kind, span in fields(view, (0, len(view))):
        if kind != BYTES:
            continue
        if number == 2:
            graph.producer = _text(view, span)[:80]
        elif number == 7:
            _graph(view, span, graph, 0)
        elif number == 8:
            domain, version = "", 0
            for at, wire, value in fields(view, span):
                if at == 1 and wire == BYTES:
                    domain = _text(view, value)
                elif at == 2 and wire == VARINT:
                    version = value[0]
            graph.opsets["" if domain == "ai.onnx" else domain] = version
        elif number == 14 and (size := size + span[1] - span[0]) <= MAX_METADATA:
            pair = {at: _text(view, value) for at, wire, value in fields(view, span) if wire == BYTES}
            graph.metadata[pair.get(1, "")] = pair.get(2, "")
        elif number == 25:
            _function(view, span, graph)
    return graph


def foreign_operators(graph: Graph) -> list[str]:
    """Return the operators that neither ONNX Runtime nor the file itself defines, as `domain::name`."""
    return [
        name
        for name in graph.operators
        if "::" in name and name.partition("::")[0] not in _KNOWN_DOMAINS and name not in graph.functions
    ]


def largest_claim(graph: Graph) -> tuple[str, int]:
    """Return the operator that makes the largest tensor of a constant shape, and that tensor's numbers."""
    claims = [
        (operator, math.prod(max(0, axis) for axis in graph.constants[name]))
        for operator, name in graph.filled
        if name in graph.constants
    ]
    return max(claims, key=lambda each: each[1], default=("", 0))


def _text(view: memoryview, span: Span) -> str:
    return bytes(view[slice(*span)]).decode("utf-8", "replace")


def _graph(view: memoryview, span: Span, graph: Graph, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError("its graphs are nested too deep")
    inputs: list[Value] = []
    weights: set[str] = set()
    for number, kind, value in fields(view, span):
        if kind != BYTES:
            continue
        if number == 1:
            _node(view, value, graph, depth)
        elif number == 5:
            weights.add(_initializer(view, value, graph))
        elif number == 11 and not depth:
            inputs.append(_value(view, value))
        elif number == 12 and not depth:
            graph.outputs.append(_value(view, value))
    if not depth:
        graph.inputs = [each for each in inputs if each.name not in weights]


def _function(view: memoryview, span: Span, graph: Graph) -> None:
    name = domain = ""
    for number, kind, value in fields(view, span):
        if kind != BYTES:
            continue
        if number == 1:
            name = _text(view, value)
        elif number == 10:
            domain = _text(view, value)
        elif number == 7:
            _node(view, value, graph, 1)
    graph.functions.add(f"{domain}::{name}")


def _node(view: memoryview, span: Span, graph: Graph, depth: int) -> None:
    inputs: list[str] = []
    outputs: list[str] = []
    name = domain = ""
    attributes: list[Span] = []
    for number, kind, value in fields(view, span):
        if kind != BYTES:
            continue
        if number == 1:
            inputs.append(_text(view, value))
        elif number == 2:
            outputs.append(_text(view, value))
        elif number == 4:
            name = _text(view, value)
        elif number == 5:
            attributes.append(value)
        elif number == 7:
            domain = _text(view, value)
    standard = domain in ("", "ai.onnx")
    graph.operators[name if standard else f"{domain}::{name}"] += 1
    if not depth:
        for each in outputs:
            graph.made_by[each] = name
            graph.fed_by[each] = inputs[0] if inputs else ""
    if standard and name == "ConstantOfShape" and inputs:
        graph.filled.append((name, inputs[0]))
    elif standard and name == "Expand" and len(inputs) > 1:
        graph.filled.append((name, inputs[1]))
    for attribute in attributes:
        _attribute(view, attribute, graph, depth, outputs[0] if standard and name == "Constant" and outputs else "")


def _attribute(view: memoryview, span: Span, graph: Graph, depth: int, constant: str) -> None:
    """Follow the graphs of an attribute, and keep a constant; constant: the name of what it makes."""
    name, ints = "", list[int]()
    for number, kind, value in fields(view, span):
        if number == 1 and kind == BYTES:
            name = _text(view, value)
        elif number in (6, 11) and kind == BYTES:
            _graph(view, value, graph, depth + 1)
        elif number == 5 and kind == BYTES and constant:
            _initializer(view, value, graph, constant)
        elif number == 8 and constant:
            ints += _few(numbers(view, kind, value))
    if constant and name == "value_ints" and ints:
        graph.constants[constant] = ints


def _few(found: Iterator[int]) -> list[int]:
    return [number for number, _ in zip(found, range(SMALL), strict=False)]


def _initializer(view: memoryview, span: Span, graph: Graph, constant: str = "") -> str:
    """Count a tensor's numbers, keep it where it is small and whole; return its name."""
    dims: list[int] = []
    kind_of = 0
    name, content = constant, list[int]()
    for number, kind, value in fields(view, span):
        if number == 1:
            add_axes(dims, numbers(view, kind, value))
        elif number == 2 and kind == VARINT:
            kind_of = value[0]
        elif number == 8 and kind == BYTES and not constant:
            name = _text(view, value)
        elif number == 7:
            content += _few(numbers(view, kind, value))
        elif number == 9 and kind == BYTES and value[1] - value[0] <= 8 * SMALL and kind_of == 7:
            content = np.frombuffer(view[slice(*value)], "<i8", (value[1] - value[0]) // 8).tolist()
    if not constant or kind_of in FLOATS:
        graph.parameters += math.prod(dims)
    if kind_of == 7 and len(dims) <= 1 and content:
        graph.constants[name] = content
    return name


def _value(view: memoryview, span: Span) -> Value:
    name, dtype = "", "unknown"
    shape: tuple[int | str | None, ...] | None = None
    for number, kind, value in fields(view, span):
        if kind != BYTES:
            continue
        if number == 1:
            name = _text(view, value)
        elif number == 2:
            dtype, shape = _type(view, value)
    return Value(name, dtype, shape)


_OTHER_TYPES: Mapping[int, str] = {4: "sequence", 5: "map", 8: "sparse", 9: "optional"}


def _type(view: memoryview, span: Span) -> tuple[str, tuple[int | str | None, ...] | None]:
    for number, kind, value in fields(view, span):
        if kind != BYTES:
            continue
        if number != 1:
            return _OTHER_TYPES.get(number, "unknown"), None
        dtype = "unknown"
        shape: tuple[int | str | None, ...] | None = None
        for at, wire, inner in fields(view, value):
            if at == 1 and wire == VARINT:
                dtype = ELEMENT_TYPES.get(inner[0], "unknown")
            elif at == 2 and wire == BYTES:
                shape = tuple(
                    _axis(view, axis) for place, form, axis in fields(view, inner) if place == 1 and form == BYTES
                )
        return dtype, shape
    return "unknown", None


def _axis(view: memoryview, span: Span) -> int | str | None:
    for number, kind, value in fields(view, span):
        if number == 1 and kind == VARINT:
            return value[0] if 0 < value[0] < 2**63 else None
        if number == 2 and kind == BYTES:
            return _text(view, value) or None
    return None
