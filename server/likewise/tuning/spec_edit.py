"""Key types and variants written into `function.toml`, all else as its author left it, comments included."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import AoT, InlineTable, Table

from likewise.errors import InvalidFunction
from likewise.files import PUBLIC, write_atomic
from likewise.function.spec_text import parse_toml


def with_key(text: str, key: Mapping[str, Any], comment: str, origin: str) -> str:
    """Return a spec's text with another first key type; the others stay, but for one of the same name.

    Raises InvalidFunction where the spec cannot be read, or would not be valid so.
    """
    document = _parsed(text, origin)
    name = key.get("name") or key["extractor"]
    others = [each for each in list(document.get("keys", []))[1:] if (each.get("name") or each["extractor"]) != name]
    return _with_tables(document, "keys", [_table(key, comment), *map(_own_table, others)], origin)


def with_variants(text: str, variants: Sequence[Mapping[str, Any]], comment: str, origin: str) -> str:
    """Return a spec's text with more variants behind those that it has, in place of those of the same names.

    Raises InvalidFunction where the spec cannot be read, or would not be valid so.
    """
    document = _parsed(text, origin)
    names = {each["name"] for each in variants}
    others = [each for each in document.get("variants", []) if each.get("name") not in names]
    tables = [*map(_own_table, others), *(_table(each, comment) for each in variants)]
    return _with_tables(document, "variants", tables, origin)


def _parsed(text: str, origin: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except tomlkit.exceptions.TOMLKitError as error:
        raise InvalidFunction(f"{origin}: not valid TOML: {error}; correct that place") from error


def _table(values: Mapping[str, Any], comment: str) -> Table:
    table = tomlkit.table()
    table.add(tomlkit.comment(comment))
    for name, value in values.items():
        table.add(name, list(value) if isinstance(value, tuple) else value)
    return table


def _own_table(table: Any) -> Any:
    """Return a table that stands by itself, also of one that stood in a line."""
    if not isinstance(table, InlineTable):
        return table
    other = tomlkit.table()
    other.update(table.unwrap())
    return other


def _with_tables(document: tomlkit.TOMLDocument, name: str, tables: Sequence[Any], origin: str) -> str:
    found = tomlkit.aot()
    for table in tables:
        found.append(table)
    old = document.get(name)
    if old is not None and not isinstance(old, AoT):  # a list in one line: tables stand behind all plain fields
        document.remove(name)
        document.append(name, found)
    else:
        document[name] = found
    changed = tomlkit.dumps(document)
    parse_toml(changed, origin)
    return changed


def write_key(path: Path, key: Mapping[str, Any], comment: str) -> None:
    """Write a key type into a spec's file, which is replaced as a whole. Raises InvalidFunction."""
    _rewrite(path, lambda text: with_key(text, key, comment, str(path)))


def write_variants(path: Path, variants: Sequence[Mapping[str, Any]], comment: str) -> None:
    """Write variants into a spec's file, which is replaced as a whole. Raises InvalidFunction."""
    _rewrite(path, lambda text: with_variants(text, variants, comment, str(path)))


def _rewrite(path: Path, change: Callable[[str], str]) -> None:
    try:
        changed = change(path.read_text(encoding="utf-8-sig"))
        write_atomic(path, changed.encode(), PUBLIC)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidFunction(f"{path}: cannot be written ({error}); check file and permissions") from error
