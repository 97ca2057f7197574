"""Where two ONNX graphs are the same from their input on, and a graph cut in two there; without the onnx package.

Each tensor has a digest of all that it is computed by: the input's type, operators, attributes, weights, in order;
names take no part. Two tensors of one digest hold the same for the same input. A tensor is a cut where everything
that is computed of the input passes through it.

Source: onnx.proto (IR version 10).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from likewise.inference.protobuf import BYTES, VARINT, Span, fields

MAX_BYTES = 1 << 30
"""The largest file that is looked at."""
LEAST_DEPTH = 0.2
"""Share of the nodes that has to come before a cut, for it to be worth anything."""
_NO_FLOATS = frozenset({"QuantizeLinear", "DynamicQuantizeLinear", "Cast", "ArgMax", "Shape"})
"""Operators that are no places to cut: what they give may be no float32."""
_SUBGRAPHS = frozenset({6, 11})
_EXTERNAL = 1


@dataclass(slots=True)
class _Node:
    span: Span
    operator: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Cut:
    """A place where a graph may be cut."""

    tensor: str
    digest: bytes
    """Of all that it is computed by."""
    depth: float
    """Share of the nodes that come before it."""


class Prefixes:
    """A graph of one input that may be cut. Raises ValueError for one that this does not understand."""

    def __init__(self, path: Path) -> None:
        """Read the file."""
        if path.stat().st_size > MAX_BYTES:
            raise ValueError("the file is too large to be cut")
        self._bytes = path.read_bytes()
        self._view = view = memoryview(self._bytes)
        self._head: list[bytes] = []  # of the model: all but the graph
        self._nodes: list[_Node] = []
        self._weights: dict[str, Span] = {}
        self._digests: dict[str, bytes] = {}
        self._inputs: dict[str, Span] = {}
        self._outputs: dict[str, Span] = {}
        opsets = []
        for number, kind, span in fields(view, (0, len(view))):
            if number == 7 and kind == BYTES:
                self._graph(span)
            elif number == 25:
                raise ValueError("it defines operators of its own")
            elif number in (1, 8):
                self._head.append(_field(number, kind, view, span))
                opsets += [self._head[-1]] if number == 8 else []
        given = [name for name in self._inputs if name not in self._weights]
        if len(given) != 1:
            raise ValueError(f"it takes {len(given)} inputs")
        self.input = given[0]
        about = [bytes(view[slice(*value)]) for number, kind, value in fields(view, self._inputs[self.input])
                 if number == 2 and kind == BYTES]  # fmt: skip
        self._digests[self.input] = sha256(b"".join([b"input", *sorted(opsets), *about])).digest()
        self.cuts = self._found()
        """In the order of computing."""

    def _graph(self, span: Span) -> None:
        view = self._view
        for number, kind, value in fields(view, span):
            if kind != BYTES:
                continue
            if number == 1:
                self._nodes.append(self._node(value))
            elif number == 5:
                name, digest = self._weight(value)
                self._weights[name], self._digests[name] = value, digest
            elif number in (11, 12):
                (self._inputs if number == 11 else self._outputs)[_name(view, value)] = value
            elif number == 15:
                raise ValueError("it has sparse weights")

    def _node(self, span: Span) -> _Node:
        view, found = self._view, _Node(span)
        for number, kind, value in fields(view, span):
            if kind != BYTES:
                continue
            text = bytes(view[slice(*value)])
            if number == 5:
                if any(at in _SUBGRAPHS for at, _, _ in fields(view, value)):
                    raise ValueError("it has graphs within its graph")
                found.attributes.append(text)
            elif number == 1:
                found.inputs.append(text.decode())
            elif number == 2:
                found.outputs.append(text.decode())
            elif number == 4:
                found.operator = text.decode()
            elif number == 7:
                found.domain = text.decode()
        return found

    def _weight(self, span: Span) -> tuple[str, bytes]:
        """Return a tensor's name, and a digest of all else."""
        view, name, seen = self._view, "", sha256(b"weight")
        for number, kind, value in fields(view, span):
            if number == 8 and kind == BYTES:
                name = bytes(view[slice(*value)]).decode()
            elif number == 14 and kind == VARINT and value[0] == _EXTERNAL:
                raise ValueError("its weights are in other files")
            elif number != 12:
                seen.update(_field(number, kind, view, value))
        return name, seen.digest()

    def _found(self) -> list[Cut]:
        """Return all cuts, and set the digest of each tensor that is computed of the input or of nothing."""
        digests, last_read = self._digests, dict[str, int]()
        of_input = {self.input}
        for at, node in enumerate(self._nodes):
            if any(name in of_input for name in node.inputs):
                of_input.update(node.outputs)
                last_read.update((name, at) for name in node.inputs if name in of_input)
            own = sha256(b"\0".join([node.operator.encode(), node.domain.encode(), *sorted(node.attributes)]))
            for name in node.inputs:
                own.update(digests[name] if name else bytes(32))  # KeyError: not in topological order
            for place, name in enumerate(node.outputs):
                digests[name] = sha256(own.digest() + place.to_bytes(4, "little")).digest()
        last_read.update((name, len(self._nodes)) for name in self._outputs)
        found, alive = list[Cut](), {self.input}
        for at, node in enumerate(self._nodes):
            alive |= {name for name in node.outputs if name in of_input}
            alive = {name for name in alive if last_read.get(name, -1) > at}
            if node.operator in _NO_FLOATS or len(alive) != 1:
                continue
            if (name := next(iter(alive))) in node.outputs and name not in self._outputs:
                found.append(Cut(name, digests[name], (at + 1) / len(self._nodes)))
        return found

    def before(self, cut: Cut) -> bytes:
        """Return the model up to a cut, with the tensor there as its output."""
        return self._part(self._needed([cut.tensor], ""), [self._inputs[self.input]], [_field_of(1, cut.tensor)])

    def after(self, cut: Cut, rank: int) -> bytes:
        """Return the model from a cut on, from a float32 tensor of that many axes to its own outputs."""
        axes = b"".join(_message(1, _field_of(2, f"likewise_axis{axis}")) for axis in range(rank))
        tensor = _message(1, _varint_field(1, 1) + _message(2, axes))
        return self._part(
            self._needed(list(self._outputs), cut.tensor),
            [_field_of(1, cut.tensor) + _message(2, tensor)],
            list(self._outputs.values()),
        )

    def _needed(self, tensors: Sequence[str], given: str) -> list[_Node]:
        """Return the nodes that compute tensors, from the input or from one that is given."""
        made_by = {name: at for at, node in enumerate(self._nodes) for name in node.outputs}
        todo, kept = list(tensors), set[int]()
        while todo:
            name = todo.pop()
            at = made_by.get(name)
            if name != given and at is not None and at not in kept:
                kept.add(at)
                todo += self._nodes[at].inputs
        return [self._nodes[at] for at in sorted(kept)]

    def _part(self, nodes: Sequence[_Node], inputs: Sequence[Span | bytes], outputs: Sequence[Span | bytes]) -> bytes:
        view = self._view

        def content(value: Span | bytes) -> bytes:
            return value if isinstance(value, bytes) else bytes(view[slice(*value)])

        read = {name for node in nodes for name in node.inputs}
        graph = b"".join(
            [
                *(_message(1, content(node.span)) for node in nodes),
                _field_of(2, "part"),
                *(_message(5, content(span)) for name, span in self._weights.items() if name in read),
                *(_message(11, content(each)) for each in inputs),
                *(_message(12, content(each)) for each in outputs),
            ]
        )
        return b"".join([*self._head, _message(7, graph)])


def deepest(first: Sequence[Cut], second: Sequence[Cut]) -> tuple[Cut, Cut] | None:
    """Return the last place up to which two graphs are the same, in each of them; None: there is none worth it."""
    others = {cut.digest: cut for cut in second}
    for cut in reversed(first):
        other = others.get(cut.digest)
        if other is not None and min(cut.depth, other.depth) >= LEAST_DEPTH:
            return cut, other
    return None


def _name(view: memoryview, span: Span) -> str:
    for number, kind, value in fields(view, span):
        if number == 1 and kind == BYTES:
            return bytes(view[slice(*value)]).decode()
    return ""


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _varint_field(number: int, value: int) -> bytes:
    return _varint(number << 3 | VARINT) + _varint(value)


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | BYTES) + _varint(len(content)) + content


def _field_of(number: int, text: str) -> bytes:
    return _message(number, text.encode())


def _field(number: int, kind: int, view: memoryview, span: Span) -> bytes:
    """Return a field as it stands in a file."""
    if kind == VARINT:
        return _varint_field(number, span[0])
    content = bytes(view[slice(*span)])
    return _message(number, content) if kind == BYTES else _varint(number << 3 | kind) + content
