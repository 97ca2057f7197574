"""The command line: `likewise VERB`, or `python -m likewise VERB`.

A verb is a module, or an object, with `add_arguments(parser)` and `run(args) -> exit code`. Only the one that is called
is imported, so that `likewise serve` starts without what the others need. Other packages add verbs through the
entry-point group `likewise.commands`; theirs also have `help`.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points, version
from typing import Any

from likewise.errors import LikewiseError, SettingsError

GROUP = "likewise.commands"

VERBS = {
    "serve": ("likewise.commands.serve", "answer requests, from reuse or from the model"),
    "add": ("likewise.commands.add", "make a function of an ONNX file"),
    "functions": ("likewise.commands.functions", "list, check and remove functions"),
    "keys": ("likewise.commands.keys", "add, list and remove access keys"),
    "settings": ("likewise.commands.settings", "print all settings with the values that would be used"),
    "evaluate": ("likewise.evaluation", "replay a workload, or inputs of your own, without a server; report accuracy"),
    "tune": ("likewise.tuning", "find the key that brings most on inputs of your own, and write it into the spec"),
    "estimate": (
        "likewise.commands.estimate",
        "tell time and memory of a model on this machine, from its description alone",
    ),
    "compress": ("likewise.compression", "make smaller variants of a function's model, and measure them"),
    "replay": ("likewise.commands.replay", "play what a server recorded against a server, at its own pace or faster"),
}
"""By verb: its module, and the help that the list of verbs shows."""
_REMEDIES = {
    errno.ENOENT: "Name one that is there.",
    errno.EACCES: "Let this user have it, or name another place.",
    errno.EPERM: "Let this user have it, or name another place.",
    errno.EEXIST: "Something else is there; name another place.",
    errno.ENOTDIR: "Something else than a folder is there; name another place.",
    errno.EISDIR: "That is a folder; name a file.",
    errno.ENOSPC: "Free some space, or name another place.",
    errno.EDQUOT: "Free some space, or name another place.",
    errno.EROFS: "It cannot be written to; name another place.",
}
"""What to do about errors that no command foresaw."""
_EXTRAS = {
    "likewise.evaluation": "evaluate",
    "likewise.commands.replay": "evaluate",
    "likewise.tuning": "tune",
    "likewise.compression": "tune",
    "likewise.commands.estimate": "tune",
}
"""By module: what brings the packages that it needs beside the server's own."""

_DESCRIPTION = """\
An edge cache for approximate computation reuse: devices send inputs, and get the result of a near input where that is
safe, or else what the model computes."""

_EPILOG = """\
examples:
  likewise serve                              serve the folder ./functions on http://127.0.0.1:8080
  likewise serve --port 0 --functions DIR     another folder, on any free port
  likewise add model.onnx --inputs DIR        make a function of a model of your own
  likewise keys add --name cam-1 --scope infer,insert
  likewise demo                               see what reuse saves, on real input

`likewise VERB --help` says more about each."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 asked for what cannot be."""
    words = list(sys.argv[1:] if argv is None else argv)
    verb = next((word for word in words if not word.startswith("-")), None)
    added = {each.name: each for each in entry_points(group=GROUP) if each.name not in VERBS}
    parser = argparse.ArgumentParser(
        "likewise", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"likewise {version('likewise')}")
    choices = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    commands: dict[str, Any] = {}
    try:
        for name, (module, text) in VERBS.items():
            chosen = choices.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
            if name == verb:
                commands[name] = _module(module)
                commands[name].add_arguments(chosen)
        for name, entry in added.items():
            if verb is None:
                choices.add_parser(name, help=_help(entry))
            elif name == verb:
                commands[name] = _loaded(entry)
                commands[name].add_arguments(choices.add_parser(name, help=commands[name].help))
            else:
                choices.add_parser(name)
        choices.add_parser("version", help="print the version")
        args = parser.parse_args(words)
        if args.verb == "version":
            print(f"likewise {version('likewise')}")
            return 0
        return int(commands[args.verb].run(args))
    except LikewiseError as error:
        _say(error.detail)
        return 2
    except BrokenPipeError:  # the reader of a pipe had enough, as in `likewise settings | head`
        sys.stderr.close()
        return 1
    except OSError as error:  # what no command foresaw of a file, a folder or the network
        said = (
            f"{error.filename}: {error.strerror}."
            if error.filename and error.strerror
            else f"{error.strerror or error}."
        )
        _say(f"{said} {_REMEDIES[error.errno]}" if error.errno in _REMEDIES else said)
        return 1
    except KeyboardInterrupt:
        return 130


def _say(text: str) -> None:
    """Write a line to standard error; names in it come from files that nobody trusts."""
    said = "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)
    print(f"likewise: {said}", file=sys.stderr)


def _module(name: str) -> Any:
    """Return a verb's module. Raises SettingsError where what it needs is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("likewise"):
            raise
        raise SettingsError(
            f"needs {error.name}, which is not installed; `pip install 'likewise[{_EXTRAS.get(name, 'demo')}]'`."
        ) from error


def _help(entry: EntryPoint) -> str:
    try:
        return str(_loaded(entry).help)
    except SettingsError as error:
        return error.detail


def _loaded(entry: EntryPoint) -> Any:
    """Return the command behind an entry point. Raises SettingsError where what it needs is not installed."""
    try:
        return entry.load()()
    except ImportError as error:
        raise SettingsError(
            f"needs {error.name or 'what'}, which is not installed; `pip install 'likewise[{entry.name}]'`."
        ) from error


if __name__ == "__main__":
    sys.exit(main())
