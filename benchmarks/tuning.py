"""How near a key that `likewise tune` finds comes to the one that comes with a function: `-m benchmarks.tuning`.

The function gets a copy that knows nothing but the model, and is tuned on the half of the photographs of traffic signs
that the bundled key was trained on; both keys then play streams of the other half. Needs LIKEWISE_DATA or --data.

    python -m benchmarks.tuning --play OTHERS -- NAME --functions DIR --inputs PATH

tunes a function of your own, plays every candidate on other inputs, and says how far the chosen one is behind the best.

    python -m benchmarks.tuning --sample 600 --seeds 5 -- NAME --functions DIR --inputs FOLDER

does so with so many files of a folder, drawn at random seed by seed, and plays as many others, and ends with the mean
and the worst.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import tomlkit

from likewise import tuning
from likewise.__main__ import main as likewise
from likewise.evaluation.own import Subject, own_stream
from likewise.evaluation.replay import replay
from likewise.evaluation.streams import load_stream
from likewise.function.spec_text import read_spec
from likewise.tuning.command import measure
from likewise.tuning.play import coins_for
from likewise.tuning.spec_edit import write_key
from likewise.workloads.folder import files_in
from likewise.workloads.inputs import Inputs
from likewise.workloads.signs import find_tracks

FUNCTIONS = Path(__file__).parents[1] / "functions"
STREAMS = ("signs-junction", "signs-cold")
KEPT = ("description", "share_model", "input", "model", "result")
"""What stays of the function's spec: all but keys and what was made for them."""


def bare(folder: Path) -> None:
    """Write the function with a general key and no variants."""
    source = FUNCTIONS / "signs"
    spec = tomlkit.parse((source / "function.toml").read_text())
    left = {name: value for name, value in spec.unwrap().items() if name in KEPT}
    (folder / "1").mkdir(parents=True)
    (folder / "function.toml").write_text(tomlkit.dumps({**left, "keys": [{"extractor": "hog"}]}))
    for name in ("model.onnx", "labels.txt"):
        shutil.copy(source / "1" / name, folder / "1")


def photographs(data: Path | None, folder: Path) -> int:
    """Copy the tracks that the bundled key was trained on, in the data set's own layout; return how many files."""
    count = 0
    for track in find_tracks(data):
        for path in () if track.held_out else track.frames:
            (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / path.parent.name)
            count += 1
    return count


def harvests(functions: Path, stream: str, data: Path | None, seeds: range, target: float) -> list[float]:
    """Return the harvest of a function's first key, seed by seed."""
    found = []
    for seed in seeds:
        loaded = load_stream(stream, seed, requests=None, devices=20, data=data, functions=functions, truth="label")
        found.append(replay(loaded, "calibrated+ledger", target).harvest)
    return found


def drawn(folder: Path, count: int, seed: int, scratch: Path) -> tuple[Path, Path]:
    """Return two folders with so many of a folder's files each, none in both, all under the names they had."""
    files = files_in(folder)
    random.Random(seed).shuffle(files)
    if len(files) < 2 * count:
        sys.exit(f"{folder} has {len(files)} files; --sample takes up to half of them.")
    parts = scratch / "tuned", scratch / "played"
    for part, chosen in zip(parts, (files[:count], files[count : 2 * count]), strict=True):
        for file in chosen:
            (part / file.folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(file.path, part / file.folder)
    return parts


def samples(options: list[str], count: int, seeds: range, target: float) -> None:
    """Print what choices by small samples of a folder give away, seed by seed, in the mean and at worst."""
    parser = argparse.ArgumentParser()
    tuning.add_arguments(parser)
    behind = []
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="likewise-") as scratch:
            tuned, played = drawn(parser.parse_args(options).inputs, count, seed, Path(scratch))
            behind.append(choice([*options, "--inputs", str(tuned)], played, target))
    print(f"\n{count} inputs, {len(behind)} seeds: behind {fmean(behind):.3f} in the mean, {max(behind):.3f} at worst")


def choice(options: list[str], played: Path, target: float) -> float:
    """Print what each candidate harvests on other inputs than those it was tuned on; return what the choice gives away.

    All are played with the same coins.
    """
    parser = argparse.ArgumentParser()
    tuning.add_arguments(parser)
    args = parser.parse_args(options)
    found = measure(args)
    for note in found.notes:
        print(note)
    by_tune = {each.name: each for each in reversed(found.played)}
    print("\n| key | harvest by tune | on other inputs | a request, ms |\n| --- | --- | --- | --- |")
    harvests: dict[str, float] = {}
    for each in found.candidates:
        with tempfile.TemporaryDirectory(prefix="likewise-") as scratch:
            folder = Path(scratch) / args.function
            shutil.copytree(found.subject.folder, folder)
            write_key(folder / "function.toml", each.write(folder / str(found.subject.version)), "tried")
            subject = Subject(Path(scratch), args.function)
            with Inputs(played, args.function, subject.spec.input.kind) as inputs:
                stream, _, _ = own_stream(subject, inputs)
            policy = subject.spec.reuse.policy
            harvests[each.name] = fmean(
                replay(replace(stream, seed=coin), policy, target).harvest
                for coin in range(coins_for(len(stream.labels)))
            )
        row = by_tune[each.name]
        mark = "▸ " if each.name == found.chosen.name else ""
        print(
            f"| {mark}{each.name} | {row.harvest:.3f} | {harvests[each.name]:.3f} | {1000 * row.request_s:.3f} |",
            flush=True,
        )
    behind = max(harvests.values()) - harvests[found.chosen.name]
    print(f"\nbehind the best: {behind:.3f}", flush=True)
    return behind


def main() -> None:
    """Tune, play and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("LIKEWISE_DATA"))
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--target", type=float, default=0.95)
    parser.add_argument(
        "--play", type=Path, help="inputs of a function of your own, others than it is tuned on; see the options"
    )
    parser.add_argument("--sample", type=int, metavar="N", help="so many of the inputs of a function of your own")
    parser.add_argument("options", nargs="*", help="of `likewise tune`, behind --")
    args = parser.parse_args()
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    if args.sample is not None:
        samples(args.options, args.sample, seeds, args.target)
    elif args.play is not None:
        choice(args.options, args.play, args.target)
    else:
        against_bundled(args)


def against_bundled(args: argparse.Namespace) -> None:
    """Tune the signs and print how far behind the bundled key the result is."""
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    with tempfile.TemporaryDirectory(prefix="likewise-") as scratch:
        functions, inputs = Path(scratch) / "functions", Path(scratch) / "inputs"
        bare(functions / "signs")
        print(f"{photographs(args.data, inputs)} photographs", flush=True)
        code = likewise(["tune", "signs", "--inputs", str(inputs), "--functions", str(functions), *args.options])
        if code:
            sys.exit(code)
        key = read_spec(functions / "signs")[0].keys[0]
        print(f"\n| stream | bundled | tuned: {key.label} | behind |\n| --- | --- | --- | --- |")
        for stream in STREAMS:
            rows = [harvests(folder, stream, args.data, seeds, args.target) for folder in (FUNCTIONS, functions)]
            cells = [f"{fmean(row):.3f} (sd {stdev(row) if len(row) > 1 else 0:.3f})" for row in rows]
            behind = [one - other for one, other in zip(*rows, strict=True)]
            print(f"| {stream} | {' | '.join(cells)} | {fmean(behind):.3f} |", flush=True)


if __name__ == "__main__":
    main()
