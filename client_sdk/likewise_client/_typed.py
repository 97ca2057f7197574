"""Results as values of an app's own types: dataclasses, typed dictionaries, models of pydantic's, lists of such."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np

from likewise_client._errors import LikewiseClientError, MalformedAnswer

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Label:
    """The result of a function whose result kind is `label`."""

    label: str
    confidence: float = 1.0
    """From 0 to 1."""


@dataclasses.dataclass(frozen=True)
class Detection:
    """One object in a picture."""

    box: tuple[float, float, float, float]
    """Left, top, right and bottom, as fractions of the picture from 0 to 1."""
    score: float
    """From 0 to 1."""
    label: str


@dataclasses.dataclass(frozen=True)
class Detections:
    """The result of a function whose result kind is `boxes`, the best first."""

    boxes: tuple[Detection, ...]


def read_as(value: Any, kind: Any, where: str = "the result") -> Any:
    """Return a value from JSON as one of a type. Members that the type does not name are passed over.

    kind: a dataclass, a TypedDict, a class with `model_validate` (pydantic's), list, tuple, dict, Optional, Union or
    Literal of such, str, int, float, bool, None, a NumPy array, or Any.
    Raises MalformedAnswer, naming the place, for a value that does not fit; TypeError for a type that is none of these.
    """
    if kind is Any:
        return value
    if hasattr(kind, "model_validate"):
        return _validated(value, kind, where)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(value, kind, where)
    if typing.is_typeddict(kind) if hasattr(typing, "is_typeddict") else hasattr(kind, "__total__"):
        return _typed_dict(value, kind, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value if value in arguments and type(value) is not bool else _refuse(value, kind, where)
    if origin is Union or origin is getattr(types, "UnionType", Union):
        return _union(value, arguments, kind, where)
    if kind in (list, tuple, Sequence) or origin in (list, tuple, Sequence):
        return _sequence(value, origin or kind, arguments, where)
    if kind in (dict, Mapping) or origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            return _refuse(value, kind, where)
        item = arguments[1] if arguments else Any
        return {name: read_as(one, item, f"{where}.{name}") for name, one in value.items()}
    return _plain(value, origin or kind, where)


def _plain(value: Any, kind: Any, where: str) -> Any:
    if kind is None or kind is type(None):
        return None if value is None else _refuse(value, type(None), where)
    if kind is np.ndarray:
        return value if isinstance(value, np.ndarray) else _refuse(value, kind, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return _refuse(value, kind, where)
    if kind in (str, int, float, bool, bytes):
        fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        return value if fits else _refuse(value, kind, where)
    raise TypeError(f"a result is read as a dataclass, a TypedDict, a pydantic model or a plain type, not {kind!r}")


def _validated(value: Any, kind: Any, where: str) -> Any:
    try:
        return kind.model_validate(value)
    except Exception as error:  # pydantic's errors are its own
        raise MalformedAnswer(f"{where} does not fit {kind.__name__}: {error}") from error


def _dataclass(value: Any, kind: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        return _refuse(value, kind, where)
    hints, found = get_type_hints(kind), {}
    for field in dataclasses.fields(kind):
        if not field.init:
            continue
        if field.name in value:
            found[field.name] = read_as(value[field.name], hints[field.name], f"{where}.{field.name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise MalformedAnswer(f"{where} has no {field.name!r}, which {kind.__name__} needs")
    try:
        return kind(**found)
    except (TypeError, ValueError) as error:
        raise MalformedAnswer(f"{where} does not fit {kind.__name__}: {error}") from error


def _typed_dict(value: Any, kind: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        return _refuse(value, kind, where)
    missing = sorted(kind.__required_keys__ - value.keys())
    if missing:
        raise MalformedAnswer(f"{where} has no {missing[0]!r}, which {kind.__name__} needs")
    hints = get_type_hints(kind)
    return {name: read_as(value[name], hint, f"{where}.{name}") for name, hint in hints.items() if name in value}


def _union(value: Any, kinds: Sequence[Any], kind: Any, where: str) -> Any:
    for one in kinds:
        try:
            return read_as(value, one, where)
        except LikewiseClientError:
            continue
    return _refuse(value, kind, where)


def _sequence(value: Any, kind: Any, arguments: Sequence[Any], where: str) -> Any:
    if not isinstance(value, (list, tuple)):
        return _refuse(value, kind, where)
    if kind is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            raise MalformedAnswer(f"{where} has {len(value)} items, not {len(arguments)}")
        return tuple(read_as(one, item, f"{where}[{i}]") for i, (one, item) in enumerate(zip(value, arguments)))
    item = arguments[0] if arguments else Any
    read = [read_as(one, item, f"{where}[{i}]") for i, one in enumerate(value)]
    return tuple(read) if kind is tuple else read


def _refuse(value: Any, kind: Any, where: str) -> Any:
    name = getattr(kind, "__name__", None) or str(kind)
    raise MalformedAnswer(f"{where} is {type(value).__name__}, not {name}")


def read_result(result: Any, kind: type[T]) -> T:
    """Return an answer's result as one of a type; see `Answer.as_`."""
    try:
        return cast("T", read_as(result, kind))
    except RecursionError as error:
        raise MalformedAnswer("the result is nested too deeply") from error
