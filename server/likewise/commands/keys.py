"""`likewise keys`: add, list and remove access keys."""

from __future__ import annotations

import argparse
import os
import sys

from likewise.access import SCOPES, add_key, read_keys, remove_key
from likewise.options import add_arguments as add_settings
from likewise.options import read_settings

_DESCRIPTION = """\
Access keys say who may use a server; a device sends one as `Authorization: Bearer KEY`. A key is printed once, when it
is added; only its hash is kept. A running server takes changes over within about a second.

scopes:
  infer    send inputs, look up, read functions and statistics
  insert   bring results that a device computed
  admin    everything, invalidating entries and registering functions included"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = _DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="make an access key and print it, this once")
    add.add_argument("--name", required=True, help="what to call it, such as the device that gets it")
    add.add_argument("--scope", default="infer", help=f"one or more of {','.join(SCOPES)}, with commas [infer]")
    add.add_argument("--group", default="", help="keys of one group share one error budget [a budget of its own]")
    remove = actions.add_parser("remove", help="refuse an access key from now on")
    remove.add_argument("--name", required=True, help="which one")
    for action in (add, remove, actions.add_parser("list", help="show names, scopes and dates")):
        add_settings(action, only=("data_dir", "key_file"))


def run(args: argparse.Namespace) -> int:
    """Do one of the three."""
    settings = read_settings(vars(args), os.environ)
    path = settings.keys_path
    if args.action == "add":
        scopes = [scope.strip() for scope in args.scope.split(",") if scope.strip()]
        print(add_key(path, args.name, scopes, args.group))
        print(f"Keep it: it is not shown again. Its hash is in {path}.", file=sys.stderr)
    elif args.action == "remove":
        remove_key(path, args.name)
        print(f"Removed {args.name} from {path}.", file=sys.stderr)
    else:
        keys = read_keys(path)
        for key in keys:
            covered = ",".join(scope for scope in SCOPES if scope in key.scopes)
            print(f"{key.name:24} {covered:20} {key.created_at} {key.group}".rstrip())
        if not keys:
            print(f"No access keys in {path}.", file=sys.stderr)
    return 0
