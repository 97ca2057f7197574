"""`likewise settings`: what the server would use, as a file that `--config` takes."""

from __future__ import annotations

import argparse
import os

from likewise.options import add_arguments as add_settings
from likewise.options import read_settings
from likewise.setting import without_password
from likewise.settings import TABLE, Settings

HELP = "print all settings with the values that would be used, as a TOML file; takes the flags of serve"

_PREAMBLE = """\
# Settings

Made from the table in `server/likewise/settings.py` by `likewise settings --markdown`; do not edit it here.

A value comes from the first of: a flag of `likewise serve`, the environment, a TOML file, the default. The flag is the
name with dashes (`--max-body-bytes 4MiB`), the variable the name in capitals after `LIKEWISE_`
(`LIKEWISE_MAX_BODY_BYTES=4MiB`), the field in the file the name itself (`max_body_bytes = "4MiB"`). The file is given
with `--config FILE` or `LIKEWISE_CONFIG`. `likewise settings` prints what would be used; a value that cannot be used is
refused at the start, with the source it came from and what to give instead. What one function does is set in its own
`function.toml`.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the verb."""
    parser.add_argument("--markdown", action="store_true", help="print the reference page instead, docs/settings.md")
    add_settings(parser)


def run(args: argparse.Namespace) -> int:
    """Print the settings."""
    if args.markdown:
        print(markdown(), end="")
    else:
        print(as_toml(read_settings(vars(args), os.environ)), end="")
    return 0


def markdown() -> str:
    """Return docs/settings.md."""
    lines = [_PREAMBLE]
    group = ""
    for row in TABLE:
        if row.group != group:
            group = row.group
            lines.append(f"\n## {group}\n\n| name | default | takes | |\n| --- | --- | --- | --- |\n")
        lines.append(f"| `{row.name}` | {row.shown} | {row.expects} | {row.help} |\n")
    return "".join(lines)


def as_toml(settings: Settings) -> str:
    """Return the settings as a file that `--config` takes, each with its help above it."""
    lines: list[str] = []
    for row in TABLE:
        value = getattr(settings, row.name)
        if isinstance(value, bool | int | float):
            written = str(value).lower()
        else:
            written = '"' + without_password(str(value)).replace("\\", "\\\\").replace('"', '\\"') + '"'
        lines.append(f"# {row.help}\n{row.name} = {written}\n")
    return "\n".join(lines)
