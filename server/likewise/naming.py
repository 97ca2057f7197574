"""A node's name, drawn once and kept, so that what it learned is found again under it."""

from __future__ import annotations

import logging
import os
import secrets
import tempfile
from pathlib import Path

from likewise.errors import SettingsError

log = logging.getLogger("likewise")

FILE = "node"
LONGEST = 64


def kept_name(folder: Path) -> str:
    """Return the name in the file `node` of a folder; the first who asks draws it, and all get the same.

    Where the folder cannot be written, the name is good for this process alone. Raises SettingsError for a file that
    holds no name.
    """
    path = folder / FILE
    try:
        if not path.exists():
            _draw(path)
        name = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        log.warning(
            "No name can be kept in %s (%s): what this node learns is not found again. Set node.", folder, error
        )
        return secrets.token_hex(6)
    except UnicodeDecodeError:
        name = ""
    if not 0 < len(name) <= LONGEST or not name.isprintable():
        raise SettingsError(f"{path} holds no name of a node; remove it, and a new one is drawn, or set node.")
    return name


def _draw(path: Path) -> None:
    """Write a new name, unless another process was faster: whole or not at all, and never a second one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=".node-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(secrets.token_hex(6) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(unfinished, path)
        except FileExistsError:
            return
    finally:
        Path(unfinished).unlink()
