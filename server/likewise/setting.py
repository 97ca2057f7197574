"""One row of the table of settings: its name in each source, what it takes, how a value is read and checked."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from likewise.errors import SettingsError

PREFIX = "LIKEWISE_"

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(|k|m|g|ki|mi|gi)b?", re.IGNORECASE)
_FACTORS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}
_SECRETS = re.compile(r"(?<=://).*(?=@)|(?<=[?&]password=)[^&#'\"]*", re.DOTALL)
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table."""

    name: str
    type: type
    """str, int, float, bool or Path."""
    default: object
    help: str
    group: str
    unit: str = ""
    minimum: float = -math.inf
    maximum: float = math.inf
    choices: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return PREFIX + self.name.upper()

    def read(self, value: object, source: str) -> object:
        """Return the value in the setting's own type. Raises SettingsError, naming the source and the remedy."""
        try:
            return self.check(_CONVERT[self.type](value, self), source)
        except ValueError:
            shown = without_password(repr(value))
            raise SettingsError(f"{source}: {shown} is not {self.expects}. Give {self.expects}.") from None

    def check(self, value: object, source: str) -> object:
        """Return the value unchanged. Raises SettingsError where it is out of range or not among the choices."""
        if self.choices and value not in self.choices:
            shown = without_password(repr(value))
            raise SettingsError(f"{source}: {shown} is not known. Give one of {', '.join(self.choices)}.")
        if isinstance(value, int | float) and not self.minimum <= value <= self.maximum:
            raise SettingsError(f"{source}: {value} is out of range. Give {self.expects}.")
        return value

    @property
    def shown(self) -> str:
        """Its default, as a person writes it."""
        value = self.default
        if value == "":
            return "empty"
        if isinstance(value, bool):
            return str(value).lower()
        if self.unit.startswith("bytes") and isinstance(value, int):
            for factor, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
                if value >= factor and value % factor == 0:
                    return f"{value // factor}{unit}"
        return f"{value:g}" if isinstance(value, float) else str(value)

    @property
    def expects(self) -> str:
        """What may stand there, in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        noun = {str: "text", Path: "a path", bool: "true or false", int: "a whole number", float: "a number"}[self.type]
        if self.unit:
            noun += f" of {self.unit}"
        if self.unit.startswith("bytes"):
            noun += " (such as 65536, 64KiB or 16MiB)"
        low, high = self.minimum > -math.inf, self.maximum < math.inf
        if low and high:
            return f"{noun} from {self.minimum:.12g} to {self.maximum:.12g}"
        return f"{noun}, at least {self.minimum:.12g}" if low else noun


def without_password(text: str) -> str:
    """Return a text without the user and password in a URL in it, for people and logs."""
    return _SECRETS.sub("***", text)


def _text(value: object, _: Setting) -> str:
    if not isinstance(value, str | Path) or "\0" in str(value):
        raise ValueError
    return str(value)


def _path(value: object, setting: Setting) -> Path:
    return Path(_text(value, setting)).expanduser()


def _flag(value: object, _: Setting) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _TRUE | _FALSE:
        return value.strip().lower() in _TRUE
    raise ValueError


def _integer(value: object, setting: Setting) -> int:
    if isinstance(value, str):
        size = _SIZE.fullmatch(value.strip()) if setting.unit.startswith("bytes") else None
        return int(float(size[1]) * _FACTORS[size[2].lower()]) if size and size[2] else int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError
    return value


def _number(value: object, _: Setting) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


_CONVERT = {str: _text, Path: _path, bool: _flag, int: _integer, float: _number}


def row(default: object, help: str, **more: Any) -> Any:  # noqa: A002 - the word argparse uses
    """Return a dataclass field that is a row of the table; more: further attributes of `Setting`."""
    return field(default=default, metadata={"help": help, **more})


def rows_of(table: type) -> tuple[Setting, ...]:
    """Return the rows of a dataclass in the order of its fields, inherited ones last.

    One without a group belongs to the group above it.
    """
    types = get_type_hints(table)
    rows: list[Setting] = []
    for each in sorted(fields(table), key=lambda field: field.name not in table.__annotations__):
        more = {"group": rows[-1].group if rows else "", **each.metadata}
        rows.append(Setting(name=each.name, type=types[each.name], default=each.default, **more))
    return tuple(rows)
