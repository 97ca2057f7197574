"""A node's name, drawn once and kept, so that what it learned is found again under it."""

from __future__ import annotations

import logging
import secrets
from pathlib import Path

from likewise.errors import SettingsError
from likewise.files import create_atomic, read_regular

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
            create_atomic(path, secrets.token_hex(6).encode() + b"\n")
        name = read_regular(path, 16 * LONGEST).decode().strip()
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
