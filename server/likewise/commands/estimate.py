"""`likewise estimate`: what a model costs on this machine or another, per layer and in all."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from likewise.errors import InvalidValue, SettingsError
from likewise.estimation.calibration import calibrate
from likewise.estimation.estimate import Cost, Estimate, priced
from likewise.estimation.isolation import asked, described
from likewise.estimation.profiles import Profile, device, devices, read_profile, stored
from likewise.files import write_out
from likewise.function.spec_text import read_spec
from likewise.options import add_arguments as add_settings
from likewise.options import read_settings

MOST_LAYERS = 40
"""Layers that are printed, those that take longest."""
MAX_AXIS = 1 << 24
BAR = 20
WIDTH = 150

_DESCRIPTION = """\
Tells what a model costs from its description alone: parameters, multiply-adds, activations, peak memory and time, per
layer and in all. The weights are not needed, and the model is not run. The first call measures this machine for some
seconds, and keeps what it found; a new processor, another ONNX Runtime or another number of threads is measured again.

  likewise estimate model.onnx --input-shape x=1x3x320x320
  likewise estimate --function signs --measure        how far is the estimate from the truth?
  likewise estimate model.onnx --device raspberry-pi-4
  likewise estimate --calibrate --save-profile tablet.json      on a device; then elsewhere: --device tablet.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = _DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("model", metavar="MODEL", nargs="?", type=Path, help="an ONNX file; its weights need not be there")
    add("--function", metavar="NAME", help="the model of a function, a folder below --functions")
    add("--batch", type=int, default=1, metavar="N", help="first axis of inputs that leave it open (default 1)")
    add("--input-shape", action="append", default=[], metavar="NAME=AxBxC",
        help="shape of an input with open axes, such as x=1x3x224x224; ? for an axis that the file says")  # fmt: skip
    add("--threads", type=int, default=1, metavar="N", help="threads of one inference (default 1)")
    add("--device", metavar="NAME",
        help=f"estimate for another machine: {', '.join(devices())}, or a file that --save-profile wrote")  # fmt: skip
    add("--calibrate", action="store_true", help="measure this machine again")
    add("--save-profile", type=Path, metavar="FILE", help="write this machine's profile there too, for use elsewhere")
    add("--measure", action="store_true", help="run the model as well, and tell how far off the estimate is")
    add("--json", type=Path, metavar="FILE", help="write the figures there")
    add_settings(parser, only=("functions", "data_dir"))


def run(args: argparse.Namespace) -> int:
    """Estimate, print and write; return 0. Raises LikewiseError."""
    settings = read_settings(vars(args), os.environ)
    if not 1 <= args.threads <= 256 or not 1 <= args.batch <= MAX_AXIS:
        raise SettingsError(f"--threads must be 1 to 256, and --batch 1 to {MAX_AXIS}.")
    if args.device and (args.calibrate or args.measure or args.save_profile):
        raise SettingsError("--calibrate, --measure and --save-profile are about this machine; leave out --device.")
    model = _model(args, settings.functions)
    shapes = parsed_shapes(args.input_shape)
    network = None if model is None else described(model, shapes, args.batch)  # what is wrong with it shows at once
    console = Console()
    console = console if console.is_terminal else Console(width=WIDTH)
    profile = device(args.device) if args.device else own_profile(settings.data_dir, args.threads, args.calibrate)
    if args.save_profile is not None:
        profile.write(args.save_profile)
        console.print(f"Wrote {args.save_profile}: {profile.processor}", soft_wrap=True, highlight=False, markup=False)
    if model is None or network is None:
        return 0
    found = priced(network, profile)
    measured: Mapping[str, Any] | None = None
    if args.measure:
        measured = asked({
            "task": "measure", "path": str(model), "shapes": shapes, "batch": args.batch, "threads": args.threads,
        })  # fmt: skip
    _show(console, model, profile, found, measured)
    if args.json is not None:
        _write_json(args.json, model, profile, found, measured)
    return 0


def own_profile(data: Path, threads: int, again: bool = False) -> Profile:
    """Return this machine's profile, measured now where there is none that fits it. Raises SettingsError."""
    path = stored(data, threads)
    if not again and path.is_file():
        try:
            kept = read_profile(path)
        except InvalidValue:  # half a file, or one of another version: as if there was none
            kept = None
        if kept is not None and kept.fits(threads):
            return kept
    profile = calibrate(threads)
    profile.write(path)
    return profile


def parsed_shapes(texts: Sequence[str]) -> dict[str, list[int | None]]:
    """Return the shapes of `NAME=AxBxC`. Raises InvalidValue."""
    found: dict[str, list[int | None]] = {}
    for text in texts:
        name, equals, axes = text.rpartition("=")
        parts = [each.strip() for each in axes.lower().split("x")] if axes.strip() else []
        good = all(each == "?" or (each.isascii() and each.isdigit() and 1 <= int(each) <= MAX_AXIS) for each in parts)
        if not equals or not name or not good:
            raise InvalidValue(
                f"--input-shape {text[:200]}: write NAME=AxBxC, such as x=1x3x224x224; axes are 1 to {MAX_AXIS}, or ?"
            )
        found[name] = [None if each == "?" else int(each) for each in parts]
    return found


def _model(args: argparse.Namespace, functions: Path) -> Path | None:
    """Return the file that is asked about; None where there is none, and only the machine is measured."""
    if args.model is not None and args.function is not None:
        raise SettingsError("Name a MODEL or a --function, not both.")
    if args.function is not None:
        folder = functions / args.function
        if args.function != folder.name or not folder.is_dir():
            raise InvalidValue(f"--function {args.function[:200]}: there is no such folder in {functions}.")
        spec, version = read_spec(folder)
        if spec.model is None:
            raise InvalidValue(f"`{args.function}` has no model: devices compute it, so there is nothing to estimate.")
        path: Path = folder / str(version) / spec.model.file
        return path
    if args.model is None and not (args.calibrate or args.save_profile):
        raise SettingsError("Name a MODEL, an ONNX file, or --function NAME; or --calibrate to measure this machine.")
    return None if args.model is None else Path(args.model)


def _show(console: Console, model: Path, profile: Profile, found: Estimate, measured: Mapping[str, Any] | None) -> None:
    def say(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)

    say(f"{model} on {profile.about or profile.name} ({profile.processor})")
    if profile.estimated:
        say("From published figures of the device, nothing of which was measured: times may be off by a factor of two.")
        for source in profile.sources:
            say(f"  {source}")
    for note in found.notes:
        say(note)
    times = _measured_layers(measured)
    console.print(_table(found.layers, times))
    unit = "ms" if found.complete else "ms, without what is not estimated"
    say(f"time         {found.total_ms:.3f} {unit}" + _against(found.total_ms * 1e3, measured, "total_us", 1e3, "ms"))
    memory = None if measured is None else measured["memory"]
    say(f"peak memory  {_size(found.peak_bytes)}: weights {_size(found.weight_bytes)}, tensors "
        f"{_size(found.arena_bytes)}, the session's own the rest"
        + _against(found.peak_bytes, memory, "ran", 1 << 20, "MB"))  # fmt: skip
    say(f"parameters   {found.parameters:,}")
    say(f"multiply-adds {found.macs:,}")
    say(f"activations  {found.activations:,}")


def _against(expected: float, found: Mapping[str, Any] | None, key: str, unit: float, name: str) -> str:
    if not found or not found.get(key):
        return ""
    return f"; measured {found[key] / unit:.3f} {name}, off by {expected / found[key] - 1:+.1%}"


def _measured_layers(measured: Mapping[str, Any] | None) -> dict[str, float]:
    """Return ms by layer, such that they add up to the whole run: a profile makes each layer slower."""
    if measured is None:
        return {}
    total = sum(measured["layers"].values())
    return {name: us / total * measured["total_us"] / 1e3 for name, us in measured["layers"].items()} if total else {}


def _table(layers: Sequence[Cost], times: Mapping[str, float]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("layer", "operator", "output"):
        table.add_column(title, overflow="ellipsis", no_wrap=True, max_width=44)
    for title in ("parameters", "multiply-adds", "ms", *(["measured"] if times else [])):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("share", no_wrap=True)
    total = sum(each.ms or 0.0 for each in layers) or 1.0
    kept = set(sorted(range(len(layers)), key=lambda at: -(layers[at].ms or 0.0))[:MOST_LAYERS])
    kept |= {at for at, each in enumerate(layers) if each.ms is None and len(kept) < 2 * MOST_LAYERS}
    for at in sorted(kept):
        each = layers[at]
        took = times.get(each.name)
        table.add_row(
            _plain(each.name), _plain(each.operator.removeprefix("com.microsoft.")),
            "?" if each.output is None else "×".join(map(str, each.output)),
            f"{each.parameters:,}", f"{each.macs:,}", "?" if each.ms is None else f"{each.ms:.4f}",
            *(["" if took is None else f"{took:.4f}"] if times else []),
            "█" * round((each.ms or 0.0) / total * BAR) + f" {(each.ms or 0.0) / total:.1%}",
        )  # fmt: skip
    rest = [each for at, each in enumerate(layers) if at not in kept]
    if rest:
        took_rest = [f"{sum(times.get(each.name, 0.0) for each in rest):.4f}"] if times else []
        spent = sum(each.ms or 0.0 for each in rest)
        table.add_row(
            f"{len(rest)} others", "", "", f"{sum(each.parameters for each in rest):,}",
            f"{sum(each.macs for each in rest):,}", f"{spent:.4f}", *took_rest, f" {spent / total:.1%}",
        )  # fmt: skip
    return table


def _plain(text: str) -> str:
    """Return a name from a file without what a terminal, or rich, would act upon."""
    return "".join(each if each.isprintable() else "?" for each in text).replace("[", "(").replace("]", ")")


def _size(size_bytes: float) -> str:
    return f"{size_bytes / (1 << 20):.2f} MB" if size_bytes >= 1 << 19 else f"{size_bytes / 1024:.1f} KB"


def _write_json(path: Path, model: Path, profile: Profile, found: Estimate, measured: Mapping[str, Any] | None) -> None:
    document = {
        "model": str(model), "machine": profile.name, "processor": profile.processor, "threads": profile.threads,
        "estimated_profile": profile.estimated, **found.document(), "measured": measured,
    }  # fmt: skip
    try:
        write_out(path, orjson.dumps(document, option=orjson.OPT_INDENT_2))
    except OSError as error:
        raise SettingsError(f"--json {path}: cannot be written ({error.strerror}).") from error
