"""What an ONNX file says about itself, read without loading it: the files beside it that it wants, and its claims.

ONNX Runtime opens whatever file a model's external data name, and allocates what a tensor's shape claims. So both are
read first, from the protobuf encoding alone; nothing but numbers and names is taken out of it.
Source: onnx.proto (IR version 10).
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from likewise.errors import InvalidFunction
from likewise.inference.onnx_graph import largest_claim, parse
from likewise.inference.protobuf import BYTES, Span, add_axes, fields, numbers

_MODEL, _GRAPH, _NODE, _ATTRIBUTE, _TENSOR, _SPARSE, _FUNCTION, _TRAINING = range(8)
_PAIR, _VALUE, _TYPE, _TENSOR_TYPE, _SHAPE, _AXIS = range(8, 14)

_CHILDREN: Final = {
    _MODEL: {7: _GRAPH, 8: _PAIR, 14: _PAIR, 20: _TRAINING, 25: _FUNCTION},
    _GRAPH: {1: _NODE, 5: _TENSOR, 11: _VALUE, 12: _VALUE, 15: _SPARSE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
    _FUNCTION: {7: _NODE, 11: _ATTRIBUTE},
    _TRAINING: {1: _GRAPH, 2: _GRAPH},
    _PAIR: {},
    _VALUE: {2: _TYPE},
    _TYPE: {1: _TENSOR_TYPE},
    _TENSOR_TYPE: {2: _SHAPE},
    _SHAPE: {1: _AXIS},
    _AXIS: {},
}
"""By message: the fields that lead to tensors, or that `parse` reads, and what message each holds."""

_DIMS, _EXTERNAL_DATA, _SPARSE_DIMS = 1, 13, 3
_ELEMENTS_PER_BYTE = 2
"""The smallest elements of a tensor have 4 bits."""
MAX_FIELDS = 1 << 21
"""Fields of all messages that are looked at: each takes about two microseconds, and most of a file is in few."""
MAX_DENSE = 1 << 28
"""Elements that a sparse tensor may have, written out, or a tensor that a node fills."""


def external_files(content: bytes | memoryview | mmap.mmap, name: str) -> dict[str, int]:
    """Return the names of the files that hold external data of an ONNX file, as it writes them, and their least size.

    content: the file's bytes; name: how errors call it. Raises InvalidFunction for what is no ONNX file, is cut off,
    or claims more elements than its bytes can hold.
    """
    found: dict[str, int] = {}
    with memoryview(content) as view:
        try:
            graphs, walk = 0, _Walk(view)
            todo: list[tuple[int, Span]] = [(_MODEL, (0, len(view)))]
            while todo:
                message, span = todo.pop()
                if message == _TENSOR:
                    for location, end in _tensor(walk, span):
                        found[location] = max(end, found.get(location, 0))
                    continue
                graphs += message == _GRAPH
                children = _CHILDREN[message]
                dense: list[int] = []
                for field, kind, value in walk.fields(span):
                    if message == _SPARSE and field == _SPARSE_DIMS:
                        add_axes(dense, numbers(view, kind, value))
                    elif field in children:
                        if kind != BYTES:
                            raise ValueError(f"field {field} is no message")
                        todo.append((children[field], value))
                if dense and not 0 <= math.prod(dense) <= MAX_DENSE:
                    raise ValueError("a sparse tensor claims too many elements")
            if not graphs:
                raise ValueError("it holds no graph")
            operator, claimed = largest_claim(parse(view))
            if claimed > MAX_DENSE:
                raise ValueError(f"a {operator} claims a shape of {claimed} numbers")
        except (ValueError, IndexError) as error:
            reason = str(error) if isinstance(error, ValueError) else "it is cut off"
            raise InvalidFunction(f"{name}: is no whole ONNX file ({reason}); export or copy it again") from None
    return found


class _Walk:
    """Reads fields, and counts them. Raises ValueError for more than `MAX_FIELDS`."""

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self._left = MAX_FIELDS

    def fields(self, span: Span) -> Iterator[tuple[int, int, Span]]:
        for each in fields(self.view, span):
            self._left -= 1
            if self._left < 0:
                raise ValueError(f"it has over {MAX_FIELDS} fields")
            yield each


def _tensor(walk: _Walk, span: Span) -> Iterator[tuple[str, int]]:
    """Yield where a tensor's data lie outside the file, and up to which byte; check that others fill its shape."""
    dims: list[int] = []
    locations: list[bytes] = []
    end = 0
    for field, kind, value in walk.fields(span):
        if field == _DIMS:
            add_axes(dims, numbers(walk.view, kind, value))
        elif field == _EXTERNAL_DATA and kind == BYTES:
            entry = {at: bytes(walk.view[slice(*text)]) for at, wire, text in walk.fields(value) if wire == BYTES}
            key, text = entry.get(1, b""), entry.get(2, b"")
            if key == b"location":
                locations.append(text)
            elif key in (b"offset", b"length"):
                end += int(text)
    count = math.prod(dims)
    if any(dim < 0 for dim in dims) or (not locations and count > _ELEMENTS_PER_BYTE * (span[1] - span[0])):
        raise ValueError(f"a tensor claims a shape of {'×'.join(map(str, dims[:8]))}, and has not so many numbers")
    for location in locations:
        yield location.decode("utf-8"), max(end, count // _ELEMENTS_PER_BYTE)


def external_paths(path: Path, folder: Path) -> tuple[Path, ...]:
    """Return the files beside an ONNX file that hold its external data, checked to lie within `folder`.

    Raises InvalidFunction as `external_files` does, and for a file that is missing or lies outside.
    """
    names = _names(path)
    root = folder.resolve()
    paths: list[Path] = []
    for name, least in names.items():
        written = PurePosixPath(name)
        outside = not name or "\\" in name or "\0" in name or written.is_absolute() or ".." in written.parts
        found = path.parent / name if not outside else path
        if outside or not found.resolve().is_relative_to(root):
            raise InvalidFunction(
                f"{path}: keeps data in `{name[:200]}`, outside its folder; "
                "save model and data in one folder, with a plain file name as `location`"
            )
        if not found.is_file():
            raise InvalidFunction(f"{path}: keeps data in `{name[:200]}`, which is not there; put it beside the model")
        if found.stat().st_size < least:
            raise InvalidFunction(
                f"{path}: keeps {least} bytes in `{name[:200]}`, which has {found.stat().st_size}; copy it again"
            )
        paths.append(found)
    return tuple(paths)


def _names(path: Path) -> dict[str, int]:
    if path.suffix == ".ort":  # ONNX Runtime goes by the name, and would read it as a format that is not checked here
        raise InvalidFunction(f"{path}: is in ONNX Runtime's own format; export it as .onnx")
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise InvalidFunction(f"{path}: is empty; export or copy it again")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return external_files(content, str(path))
    except OSError as error:
        raise InvalidFunction(f"{path}: cannot be read ({error.strerror}); check file and permissions") from error
