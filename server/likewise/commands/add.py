"""`likewise add`: a function made of an ONNX file, tried, and ready to be served."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from likewise.errors import SettingsError
from likewise.features.decode import MEDIA_TYPES
from likewise.function.parts import Limits
from likewise.inference.onnx_graph import Value
from likewise.onboarding.flow import Added, Wanted, add
from likewise.options import add_arguments as add_settings
from likewise.options import read_settings
from likewise.results.make import KINDS
from likewise.setting import Setting
from likewise.settings import Settings

_DESCRIPTION = """\
Makes a function of an ONNX file: looks into the file for inputs, outputs, layout and names, finds out the rest by
trying it on inputs where a folder of them is given, writes function.toml with a comment at each field, and says what it
assumed. Nothing is written unless the model could be tried."""

_EPILOG = """\
examples:
  likewise add model.onnx --labels names.txt --inputs pictures/
  likewise add detector.onnx --result boxes --set result.rows=classes --set result.nms=0.45
  likewise add speech.onnx --set model.sample_rate=16000 --set model.fixed.sr=16000

A value of --set is written as in function.toml; docs/functions.md has all fields."""

_MEMORY = Setting("max_memory", int, 4 << 30, "what trying a model may take", "", "bytes", minimum=1 << 26)
LIMITS = ("functions", "max_pixels", "max_audio_s", "max_elements", "max_body_bytes", "max_result_bytes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", type=Path, metavar="MODEL.onnx", help="the ONNX file; its external data beside it")
    parser.add_argument("--name", help="what to call the function [made of the file's name]")
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="names of the classes, or the characters of an alphabet, one per line",
    )
    parser.add_argument("--inputs", type=Path, metavar="DIR", help="a folder of inputs as devices send them")
    parser.add_argument("--kind", choices=list(MEDIA_TYPES), help="what devices send [found out]")
    parser.add_argument("--result", choices=list(KINDS), help="what comes back [found out]")
    parser.add_argument(
        "--set", action="append", default=[], metavar="TABLE.FIELD=VALUE", dest="settings", help="a field of the spec"
    )
    parser.add_argument("--most", type=int, default=64, metavar="COUNT", help="inputs that are tried at most [64]")
    parser.add_argument("--max-memory", default="4GiB", metavar="BYTES", help="what trying it may take [4GiB]")
    parser.add_argument("--timeout", type=float, default=300.0, metavar="SECONDS", help="for each trial [300]")
    parser.add_argument("--dry-run", action="store_true", help="print the spec, and write nothing")
    add_settings(parser, only=LIMITS)


def run(args: argparse.Namespace) -> int:
    """Add one function."""
    settings = read_settings(vars(args), os.environ)
    if args.most < 1 or args.timeout <= 0:
        raise SettingsError("--most and --timeout have to be above 0.")
    try:
        added = _add(args, settings)
    except OSError as error:
        raise SettingsError(
            f"{error.filename or settings.functions}: {error.strerror or error}; nothing was added. Check permissions "
            "and room, or name another folder with --functions."
        ) from error
    print(report(added))
    if args.dry_run:
        print(f"\n{added.text}\nNothing was written.")
    else:
        print(f"\nWrote {added.folder / 'function.toml'}. Serve it:\n  likewise serve --functions {settings.functions}")
    return 0


def _add(args: argparse.Namespace, settings: Settings) -> Added:
    return add(
        Wanted(
            model=args.model,
            functions=settings.functions,
            name=args.name,
            labels=args.labels,
            inputs=args.inputs,
            kind=args.kind,
            result=args.result,
            settings=args.settings,
            most=args.most,
            max_memory=_MEMORY.read(args.max_memory, "--max-memory"),  # type: ignore[arg-type]
            timeout_s=args.timeout,
            limits=Limits(settings.max_pixels, settings.max_audio_s, settings.max_elements),
            max_body_bytes=settings.max_body_bytes,
            max_result_bytes=settings.max_result_bytes,
        ),
        write=not args.dry_run,
    )


def report(added: Added) -> str:
    """Return what was found, tried and assumed, for a person to read."""
    graph, draft, attempt = added.graph, added.draft, added.attempt
    facts = [_size(added.size_bytes), f"{_count(graph.parameters)} parameters"]
    if attempt["multiply_adds"]:
        facts.append(f"{_count(attempt['multiply_adds'])} multiply-adds")
    facts.append(f"opset {graph.opsets.get('', '?')}")
    if graph.producer:
        facts.append(f"by {_shown(graph.producer)}")
    lines = [f"{added.folder.name}: {', '.join(facts)}"]
    for what, values in (("input", graph.inputs), ("output", graph.outputs)):
        lines += [f"  {what:<7} {_shown(each.name)}: {each.dtype} {_axes(each)}" for each in values[:8]]
    lines.append(f"  takes   {draft.get('input', 'kind')}; gives {draft.get('result', 'kind')}")
    lines += [f"  {note}" for note in added.notes]
    if attempt["read"]:
        times = f"model {1e3 * attempt['model_s']:.3g} ms, key {1e3 * attempt['key_s']:.3g} ms"
        lines.append(f"  tried on {attempt['read']} inputs: {attempt['different']} different results; {times}")
        lines.append(f"  the first: {_shown(attempt['example'])}")
    if attempt["count_refused"]:
        lines.append(f"  could not use {attempt['count_refused']}: {'; '.join(map(_shown, attempt['refused']))}")
    assumed = list(draft.assumptions())
    if assumed:
        lines.append("assumed" + ("" if attempt["read"] else ", without inputs (--inputs DIR finds out more)") + ":")
        lines += [f"  {place} = {choice.value!r:<24} {choice.why}" for place, choice in assumed]
    return "\n".join(lines)


def _axes(value: Value) -> str:
    if value.shape is None:
        return "of any shape"
    return "×".join(str(axis) if isinstance(axis, int) else "any" for axis in value.shape) or "scalar"


def _shown(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:200]


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count} bytes"


def _count(number: int) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)
