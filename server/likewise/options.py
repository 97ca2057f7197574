"""Where settings come from: flags, the environment, a file; all made from the fields of `Settings`."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

from likewise.errors import SettingsError
from likewise.setting import PREFIX
from likewise.settings import TABLE, Settings

CONFIG = "config"
"""The one setting that the file cannot hold: where the file is."""


def add_arguments(parser: argparse.ArgumentParser, only: Container[str] | None = None) -> None:
    """Add a flag for each setting, or for those named, and `--config`; what is not given stays out of the namespace."""
    parser.add_argument(
        "--config", metavar="FILE", default=argparse.SUPPRESS, help=f"TOML file of settings ({PREFIX}CONFIG)"
    )
    groups: dict[str, Any] = {}
    for row in TABLE:
        if only is not None and row.name not in only:
            continue
        if row.group not in groups:
            groups[row.group] = parser.add_argument_group(row.group)
        text = f"{row.help} [{row.shown}; {row.variable}]".replace("%", "%%")
        if row.type is bool:
            action = argparse.BooleanOptionalAction
            groups[row.group].add_argument(row.flag, action=action, default=argparse.SUPPRESS, help=text)
        else:
            word = "|".join(row.choices) or (row.unit or row.name.rsplit("_", 1)[-1]).upper()
            groups[row.group].add_argument(row.flag, metavar=word, default=argparse.SUPPRESS, help=text)


def read_settings(flags: Mapping[str, object], environ: Mapping[str, str]) -> Settings:
    """Return the settings. flags: by setting name, only those given. Raises SettingsError, naming the source."""
    values: dict[str, object] = {}
    path = flags.get(CONFIG) or environ.get(PREFIX + "CONFIG")
    if path:
        values.update(_from_file(Path(str(path)).expanduser()))
    known = {row.variable: row for row in TABLE}
    for variable in sorted(environ):
        if variable in known:
            row = known[variable]
            values[row.name] = row.read(environ[variable], f"Environment variable {variable}")
    for row in TABLE:
        if row.name in flags:
            values[row.name] = row.read(flags[row.name], f"Flag {row.flag}")
    return Settings(**values)  # type: ignore[arg-type]  # each was read in its row's type


def _from_file(path: Path) -> Iterator[tuple[str, object]]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"Settings file {path}: cannot be read ({error.strerror}). Check --config.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"Settings file {path}: is not TOML: {error}. Correct it there.") from error
    rows = {row.name: row for row in TABLE}
    for name, value in content.items():
        if name not in rows:
            raise SettingsError(
                f"Settings file {path}: there is no setting {name!r}. Remove it; `likewise settings` lists all."
            )
        yield name, rows[name].read(value, f"Settings file {path}, field {name}")
