"""What was made written into a function's spec, so that its ladder may answer by it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from likewise.compression.measures import Row
from likewise.errors import InvalidValue
from likewise.files import PUBLIC, write_atomic
from likewise.tuning.spec_edit import write_variants

CHOSEN = "chosen"
_ODD = re.compile(r"[^a-z0-9_.-]+")


def write_named(spec: Path, version: Path, folder: Path, rows: Sequence[Row], names: str, chosen: str) -> list[str]:
    """Copy the files of some rows into a version's folder and list them in its spec; return their names there.

    names: with commas; `chosen` stands for the one that a search chose. Raises LikewiseError, and writes nothing, for
    one that is not there or takes no less time than the full model.
    """
    by_name = {row.name: row for row in rows[1:]}
    wanted = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    tables: list[Mapping[str, Any]] = []
    contents: dict[str, bytes] = {}
    for name in wanted:
        row = by_name.get(chosen if name == CHOSEN else name)
        if row is None:
            raise InvalidValue(f"--write names `{name}`, which was not made; made were {', '.join(by_name) or 'none'}.")
        if row.speedup <= 1:
            raise InvalidValue(
                f"--write {name}: takes {1 / row.speedup:.2f} times the full model's time, so it saves nothing."
            )
        plain = _ODD.sub("-", row.name)[:48]
        content = (folder / f"{row.name}.onnx").read_bytes()
        file = f"{plain}-{hashlib.sha256(content).hexdigest()[:12]}.onnx"
        contents[file] = content
        tables.append(
            {
                "name": plain, "file": file, "cost": round(1 / row.speedup, 4), "size_bytes": row.file_bytes,
                "memory_bytes": row.counts.memory_bytes, "agreement": round(row.judged.agreement, 4),
                "origin": row.name[:200],
            }
        )  # fmt: skip
    for file, content in contents.items():
        write_atomic(version / file, content, PUBLIC)
    write_variants(spec, tables, "by likewise compress")
    return [str(each["name"]) for each in tables]
