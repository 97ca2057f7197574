"""`likewise functions`: what is in the folder of functions: listed, checked, removed."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from likewise.errors import LikewiseError, UnknownFunction
from likewise.files import sync_folder
from likewise.function.parts import Limits, Parts
from likewise.function.registration_folder import function_folders
from likewise.function.spec import SPEC_FILE
from likewise.function.spec_table import NAME
from likewise.function.spec_text import read_spec
from likewise.options import add_arguments as add_settings
from likewise.options import read_settings
from likewise.settings import Settings

_DESCRIPTION = """\
Looks after the folder of functions, whose sub-folders `likewise serve` reads at its start. What was registered at a
running server is not there: GET, PUT and DELETE /v1/functions/NAME look after that."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = _DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = actions.add_parser("list", help="show each function: version, input, result, keys")
    check = actions.add_parser("check", help="load models, try them, and say what is wrong")
    check.add_argument("names", nargs="*", metavar="NAME", help="which [all]")
    remove = actions.add_parser("remove", help="delete a function's folder, with all its versions")
    remove.add_argument("name", metavar="NAME", help="which one")
    add_settings(listed, only=("functions",))
    add_settings(check, only=("functions", "max_pixels", "max_audio_s", "max_elements"))
    add_settings(remove, only=("functions",))


def run(args: argparse.Namespace) -> int:
    """Do one of the three; 1 where a check found faults."""
    settings = read_settings(vars(args), os.environ)
    if args.action == "list":
        return _list(settings)
    if args.action == "check":
        return _check(settings, args.names)
    _remove(settings.functions, args.name)
    return 0


def _list(settings: Settings) -> int:
    folders = function_folders(settings.functions)
    for folder in folders:
        try:
            spec, version = read_spec(folder)
        except LikewiseError as error:
            print(f"{folder.name:24} cannot be served: {error.detail}")
            continue
        computes = spec.model.file if spec.model else "devices compute"
        keys = ", ".join(key.label for key in spec.keys)
        print(f"{f'{folder.name}@{version}':24} {spec.input.kind} → {spec.result.kind}, {computes}, keys {keys}")
    if not folders:
        print(f"No functions in {settings.functions.resolve()}; `likewise add MODEL.onnx` makes one.", file=sys.stderr)
    return 0


def _check(settings: Settings, names: list[str]) -> int:
    folders = [_folder(settings.functions, name) for name in names] or function_folders(settings.functions)
    limits = Limits(settings.max_pixels, settings.max_audio_s, settings.max_elements)
    faults = 0
    for folder in folders:
        try:
            spec, version = read_spec(folder)
            parts = Parts(spec, folder, version, limits)
            if spec.model is not None:
                parts.computation(spec.model, threads=1)
            for key in spec.keys:
                parts.key_type(key, f"{folder.name}@{version}")
        except LikewiseError as error:
            faults += 1
            print(f"{folder.name}: {error.detail}")
        else:
            print(f"{folder.name}: can be served")
    return 1 if faults else 0


def _remove(functions: Path, name: str) -> None:
    folder = _folder(functions, name)
    # out of the way in one step: a server that starts meanwhile finds all of it or nothing
    gone = Path(tempfile.mkdtemp(prefix=".removing-", dir=functions))
    folder.rename(gone / name)
    sync_folder(functions)
    shutil.rmtree(gone)
    print(f"Removed {folder}. A running server serves it until it is started again.", file=sys.stderr)


def _folder(functions: Path, name: str) -> Path:
    """Return a function's folder. Raises UnknownFunction."""
    folder = functions / name
    if not NAME.fullmatch(name) or folder.is_symlink() or not (folder / SPEC_FILE).is_file():
        known = ", ".join(each.name for each in function_folders(functions)) or "none"
        raise UnknownFunction(f"{functions} has no function `{name[:64]}`; there are: {known}")
    return folder
