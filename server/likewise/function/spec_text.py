"""A function's spec as text: read from TOML or JSON, and written as TOML, with errors that name field and remedy."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import tomli_w
from pydantic import ValidationError

from likewise.errors import InvalidFunction
from likewise.files import read_regular
from likewise.function.spec import SPEC_FILE, FunctionSpec
from likewise.function.spec_table import NAME

MAX_BYTES = 1 << 20
"""The longest text of a spec."""
_MOST_FAULTS = 10
MOST_PARTS = 16
"""Parts of a dotted key. Reading one takes memory that grows with the square of them."""
_PART = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\[^\n])*+(?:"|\Z|(?=[\\\n]))|'[^'\n]*+(?:'|\Z|(?=\n)))"""
_DOT = r"[ \t]*+\.[ \t]*+"
_TOKENS = re.compile(
    r"#[^\n]*+"
    r'|"""(?:[^"\\]|\\.|"(?!""))*+(?:"{3,5}+|\\?\Z)'
    r"|'''(?:[^']|'(?!''))*+(?:'{3,5}+|\Z)"
    rf"|(?P<long>{_PART}(?:{_DOT}{_PART}){{{MOST_PARTS}}})|{_PART}(?:{_DOT}{_PART})*+",
    re.DOTALL,
)
"""Comments, strings of several lines, and what keys and strings of one line look like; what does not end reaches to the
end of its line, or of the text, so that no place is looked at twice."""
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


def parse_spec(data: Mapping[str, Any], origin: str) -> FunctionSpec:
    """Return the checked spec.

    origin: what to call the source in errors, such as a path.
    Raises InvalidFunction naming origin, field and remedy; all faults in one message.
    """
    try:
        return FunctionSpec.model_validate(dict(data))
    except ValidationError as error:
        faults = [_described(fault) for fault in error.errors() if fault["type"] != "too_short" or _nothing(fault)]
        faults = faults[:_MOST_FAULTS]
        raise InvalidFunction(f"{origin}: " + "; ".join(faults)) from error


def _described(fault: Any) -> str:
    field, kind, given = _field(fault["loc"]), fault["type"], fault.get("input")
    if kind == "extra_forbidden":
        return f"{field} is not known; remove it or correct its name"
    if kind == "missing":
        return f"{field} is missing; add it"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        listed = isinstance(fault["loc"][-1], int)
        path = _path(fault["loc"][:-1] if listed else fault["loc"])
        return f"{field} has to be a table; write {f'[[{path}]]' if listed else f'[{path}]'} above its fields"
    if kind == "too_short":
        return f"{field} is empty; write [[keys]] above each key type"
    if kind == "tuple_type":
        remedies = {"keys": "[[keys]] above each key type", "variants": "[[variants]] above each of them"}
        return f"{field} has to be a list; write {remedies.get(str(fault['loc'][-1]), '[...]')}"
    message = str(fault["msg"])
    if kind == "value_error":
        return f"{field}: {message.removeprefix('Value error, ')}"
    if kind == "string_pattern_mismatch":
        message = "has to begin with a letter or digit, and hold nothing but letters, digits, `.`, `_` and `-`"
    shown = f"; it is {_shown(given)}" if given is None or isinstance(given, str | int | float) else ""
    return f"{field} {message.replace('Input should be', 'has to be').replace('Input should', 'should')}{shown}"


def _nothing(fault: Any) -> bool:
    """Say whether a list was given with nothing in it: Pydantic counts what is wrong in it as missing, too."""
    return not fault.get("input")


def _shown(value: object) -> str:
    text = f"`{value}`" if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else text[:80] + "…"


def _field(place: tuple[int | str, ...]) -> str:
    return f"field `{_path(place)}`" if place else "the spec as a whole"


def _path(place: tuple[int | str, ...]) -> str:
    return ".".join(str(part)[:64] for part in place)[:200]


def parse_toml(text: str, origin: str) -> FunctionSpec:
    """Return the spec in a TOML text. Raises InvalidFunction, for the syntax too."""
    _check_length(text, origin)
    long = next((found.start() for found in _TOKENS.finditer(text) if found["long"]), None)
    if long is not None:
        line = text.count("\n", 0, long) + 1
        raise InvalidFunction(
            f"{origin}: line {line}: a key has over {MOST_PARTS} parts with dots between; a spec has tables in tables, "
            "and no more"
        )
    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise InvalidFunction(f"{origin}: is nested too deep; a spec has tables in tables, and no more") from None
    except ValueError as error:  # TOMLDecodeError, and numbers with thousands of digits
        raise InvalidFunction(f"{origin}: not valid TOML: {str(error)[:200]}; correct that place") from error
    return parse_spec(data, origin)


def parse_json(text: str, origin: str) -> tuple[FunctionSpec, str]:
    """Return the spec in a JSON text, and the same as TOML, which is what every start reads. Raises InvalidFunction."""
    _check_length(text, origin)
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidFunction(f"{origin}: not valid JSON: {str(error)[:200]}; correct that place") from None
    if not isinstance(data, dict):
        raise InvalidFunction(f"{origin}: has to be a JSON object; see docs/functions.md")
    return parse_spec(data, origin), tomli_w.dumps(_without_null(data))


def _without_null(value: Any) -> Any:
    """Return a checked document without what is null, for which TOML has no word."""
    if isinstance(value, dict):
        return {key: _without_null(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_null(each) for each in value]
    return value


def _check_length(text: str, origin: str) -> None:
    if len(text) > MAX_BYTES:
        raise InvalidFunction(f"{origin}: has {len(text)} characters, the limit is {MAX_BYTES}; move labels to a file")


def decode_text(content: bytes, origin: str) -> str:
    """Return UTF-8 text without its byte order mark. Raises InvalidFunction, naming the line that is something else."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidFunction(
            f"{origin}: is not UTF-8 text: byte 0x{content[error.start]:02x} in line {line}; save it as UTF-8"
        ) from None


MAX_FILE_BYTES = 64 << 20
"""Longest spec, or file of labels, that is read at all."""


def read_file(path: Path, what: str) -> bytes:
    """Return a file's content. Raises InvalidFunction with path and remedy; what: how to get one that can be read."""
    try:
        return read_regular(path, MAX_FILE_BYTES)
    except PermissionError as error:
        raise InvalidFunction(f"{path}: cannot be read ({error.strerror}); let the server's user read it") from error
    except OSError as error:
        raise InvalidFunction(f"{path}: cannot be read ({error.strerror or error}); {what}") from error


def read_spec(folder: Path) -> tuple[FunctionSpec, int]:
    """Return the spec in a function's folder and the version to serve.

    Raises InvalidFunction where the file, a version's folder or a named file is missing, or the name is not allowed.
    """
    path = folder / SPEC_FILE
    if not NAME.fullmatch(folder.name):
        raise InvalidFunction(
            f"{folder}: a function's name has 1 to 64 lower-case letters, digits, `.`, `_` or `-`; rename the folder"
        )
    spec = parse_toml(decode_text(read_file(path, "write one, see docs/functions.md"), str(path)), str(path))
    try:
        found = [each.name for each in folder.iterdir() if _VERSION.fullmatch(each.name) and each.is_dir()]
        version = spec.version or max(map(int, found), default=1)
        for name in spec.files:
            if not (folder / str(version) / name).is_file():
                raise InvalidFunction(
                    f"{path}: names `{name}`, but {folder / str(version) / name} is not there; "
                    f"put it there, or correct the name"
                )
    except OSError as error:
        place = error.filename or folder
        raise InvalidFunction(f"{place}: cannot be read ({error.strerror}); check its permissions") from error
    return spec, version
