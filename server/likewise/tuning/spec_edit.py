"""A key type written into `function.toml`, with everything else as its author left it, comments included."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import AoT, InlineTable

from likewise.errors import InvalidFunction
from likewise.files import PUBLIC, write_atomic
from likewise.function.spec_text import parse_toml


def with_key(text: str, key: Mapping[str, Any], comment: str, origin: str) -> str:
    """Return a spec's text with another first key type; the others stay, but for one of the same name.

    Raises InvalidFunction where the spec cannot be read, or would not be valid so.
    """
    try:
        document = tomlkit.parse(text)
    except tomlkit.exceptions.TOMLKitError as error:
        raise InvalidFunction(f"{origin}: not valid TOML: {error}; correct that place") from error
    table = tomlkit.table()
    table.add(tomlkit.comment(comment))
    for name, value in key.items():
        table.add(name, list(value) if isinstance(value, tuple) else value)
    name = key.get("name") or key["extractor"]
    others = [each for each in list(document.get("keys", []))[1:] if (each.get("name") or each["extractor"]) != name]
    keys = tomlkit.aot()
    keys.append(table)
    for each in others:
        if isinstance(each, InlineTable):
            other = tomlkit.table()
            other.update(each.unwrap())
            keys.append(other)
        else:
            keys.append(each)
    old = document.get("keys")
    if old is not None and not isinstance(old, AoT):  # a list in one line: tables stand behind all plain fields
        document.remove("keys")
        document.append("keys", keys)
    else:
        document["keys"] = keys
    changed = tomlkit.dumps(document)
    parse_toml(changed, origin)
    return changed


def write_key(path: Path, key: Mapping[str, Any], comment: str) -> None:
    """Write a key type into a spec's file, which is replaced as a whole. Raises InvalidFunction."""
    try:
        changed = with_key(path.read_text(encoding="utf-8-sig"), key, comment, str(path))
        write_atomic(path, changed.encode(), PUBLIC)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidFunction(f"{path}: cannot be written ({error}); check file and permissions") from error
