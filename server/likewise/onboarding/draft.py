"""A spec in the making: its fields, where each comes from, and the text that is written."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import tomli_w

from likewise.errors import InvalidValue


class Origin(StrEnum):
    """Where a field comes from."""

    GIVEN = "as told"
    FILE = "from the model"
    INPUTS = "from the inputs"
    TRIED = "from a trial"
    ASSUMED = "assumed"


@dataclass(frozen=True, slots=True)
class Choice:
    """One field with the reason for it."""

    value: Any
    why: str
    origin: Origin


TABLES = ("", "input", "model", "model.fixed", "result", "keys", "reuse", "capacity")
"""Tables of a spec in the order in which they are written; "" is the top, `keys` the first key type."""
_FIRST = frozenset({"file", "kind", "extractor"})
"""Fields that are written before the others of their table."""
_FIXED = "model.fixed."
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(slots=True)
class Draft:
    """The choices so far, by table and field."""

    choices: dict[str, dict[str, Choice]] = field(default_factory=lambda: {name: {} for name in TABLES})

    def choose(self, table: str, name: str, value: Any, why: str, origin: Origin = Origin.FILE) -> None:
        """Choose the value of a field, unless it was given."""
        known = self.choices[table].get(name)
        if known is None or known.origin is not Origin.GIVEN:
            self.choices[table][name] = Choice(value, why, origin)

    def drop(self, table: str, name: str) -> None:
        """Take a field back, unless it was given."""
        known = self.choices[table].get(name)
        if known is not None and known.origin is not Origin.GIVEN:
            del self.choices[table][name]

    def get(self, table: str, name: str, default: Any = None) -> Any:
        """Return the value of a field."""
        choice = self.choices[table].get(name)
        return default if choice is None else choice.value

    def is_given(self, table: str, *names: str) -> bool:
        """Say whether any of the fields was given."""
        known = self.choices[table]
        return any(name in known and known[name].origin is Origin.GIVEN for name in names)

    def assumptions(self) -> Iterator[tuple[str, Choice]]:
        """Yield what was assumed, by `table.field`."""
        for table in TABLES:
            for name, choice in self.choices[table].items():
                if choice.origin is Origin.ASSUMED:
                    yield f"{table}.{name}" if table else name, choice

    def document(self) -> dict[str, Any]:
        """Return the spec as a document."""
        document: dict[str, Any] = {name: choice.value for name, choice in self.choices[""].items()}
        for table in TABLES[1:]:
            values = {name: choice.value for name, choice in self.choices[table].items()}
            if table == "keys":
                document["keys"] = [values]
            elif table == "model.fixed":
                if values:
                    document.setdefault("model", {})["fixed"] = values
            elif values or table == "model":
                document[table] = values
        return document

    def text(self, head: str) -> str:
        """Return the spec as TOML with a comment at each field; head: comment lines at the top."""
        lines = [f"# {line}".rstrip() for line in head.splitlines()]
        for table in TABLES:
            choices = self.choices[table]
            if not choices and table != "model":
                continue
            if table:
                lines += ["", f"[[{table}]]" if table == "keys" else f"[{table}]"]
            ordered = sorted(choices.items(), key=lambda each: each[0] not in _FIRST)
            lines += [_line(name, choice) for name, choice in ordered]
        return "\n".join(lines) + "\n"


def _line(name: str, choice: Choice) -> str:
    key = name if _BARE.fullmatch(name) else tomli_w.dumps({name: 0}).partition(" = 0")[0]
    written = f"{key} = {_written(choice.value)}"
    note = f"{choice.origin}: {choice.why}" if choice.why else str(choice.origin)
    return f"{written:<32} # {_one_line(note)}"


def _written(value: Any) -> str:
    """Return a value as TOML in one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {_written(each)}" for name, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_written(each) for each in value) + "]"
    return tomli_w.dumps({"x": value}).removeprefix("x = ").rstrip("\n")


def _one_line(text: str) -> str:
    """Return text that cannot end a comment: what a model's names hold is not to be trusted."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:200]


def given(settings: Sequence[str]) -> Iterator[tuple[str, str, Any]]:
    """Yield table, field and value of each `TABLE.FIELD=VALUE`, the value as TOML, or else as text.

    Raises InvalidValue, with the form, for what is none.
    """
    for each in settings:
        place, sign, text = each.partition("=")
        table, dot, name = place.strip().rpartition(".")
        if place.strip().startswith(_FIXED):  # names of inputs may have dots
            table, name = "model.fixed", place.strip().removeprefix(_FIXED)
        if not sign or table not in TABLES or not name or (not dot and table):
            known = ", ".join(table for table in TABLES if table)
            raise InvalidValue(f"--set {each[:80]}: write TABLE.FIELD=VALUE, with a table of {known}")
        try:
            value = tomllib.loads(f"x = {text.strip()}")["x"]
        except (tomllib.TOMLDecodeError, RecursionError):
            value = text.strip()
        yield table, name, value
