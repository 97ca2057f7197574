"""The verb: which key brings most on inputs of one's own, measured, printed and written into the spec."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from likewise.errors import InvalidValue, SettingsError
from likewise.evaluation.own import Subject
from likewise.function.spec import SPEC_FILE
from likewise.inference.memory import available_bytes
from likewise.inference.model import limit_memory
from likewise.tuning.candidates import Candidate, Material, extractors, sample_inputs
from likewise.tuning.distill import distilled
from likewise.tuning.filters import filtered
from likewise.tuning.layers import early_layers
from likewise.tuning.play import Judge, Played, choose, coins_for, play
from likewise.tuning.spec_edit import write_key
from likewise.tuning.split import Split, rounds, sorted_by_result
from likewise.tuning.timing import Ratio, measured
from likewise.workloads.inputs import ORDERS, Inputs

WIDTH = 170
FEW = 600
"""Requests below which the figures say little."""

_DESCRIPTION = """\
Computes the model's results on inputs of your own, measures every key that fits them (the extractors that come with
likewise, early layers of the model itself, the keys that the spec has), plays each as a stream, prints what it harvests
at what cost, and writes the best into function.toml. What is fitted to the inputs is played on others than those it was
fitted on. An early layer costs nothing where the model has to compute after all: it goes on from there."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = _DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("function", metavar="NAME", help="the function, a folder below --functions")
    add("--inputs", type=Path, required=True, metavar="PATH",
        help="folder of inputs, sub-folders as devices, or a capture with inputs")  # fmt: skip
    add("--functions", type=Path, default=Path("functions"), metavar="DIR", help="folder of the functions")
    add("--order", choices=ORDERS, default="auto",
        help="of files: by the time stamps in their names, by name, or (auto) by time where all have one")  # fmt: skip
    add("--requests", type=int, default=10_000, metavar="N", help="the first N inputs (default 10,000)")
    add("--target", metavar="SHARES", default="0.95,0.98,0.99",
        help="accuracy targets with commas; times are those at the first (default 0.95,0.98,0.99)")  # fmt: skip
    add("--most", type=float, default=0.25, metavar="SHARE",
        help="the most that a key may cost, of the model's time (default 0.25)")  # fmt: skip
    add("--within", type=float, default=0.01, metavar="HARVEST",
        help="of keys so near to the best harvest, half of it at the first target and half at the others, the "
        "one with the least time a request (default 0.01)")  # fmt: skip
    add("--coins", type=int, metavar="N",
        help="times that each stream is played (default 3, up to 20 where there are few requests)")  # fmt: skip
    add("--train-minutes", type=float, default=3.0, metavar="MINUTES",
        help="to train a network that makes keys, where PyTorch is installed; 0: none (default 3)")  # fmt: skip
    add("--dry-run", action="store_true", help="measure and print, and write nothing")
    add("--json", type=Path, metavar="FILE", help="write the figures there")


@dataclass(frozen=True, slots=True)
class Tuned:
    """What came of all candidates."""

    subject: Subject
    candidates: Sequence[Candidate]
    played: Sequence[Played]
    """Each candidate at each target, in order."""
    chosen: Played
    """At the first target."""
    requests: int
    """How many were played."""
    notes: Sequence[str]

    @property
    def model_s(self) -> float:
        """What the model takes alone, in seconds."""
        return self.candidates[0].compute_s

    @property
    def key(self) -> Candidate:
        """The one that was chosen."""
        return next(each for each in self.candidates if each.name == self.chosen.name)


def run(args: argparse.Namespace) -> int:
    """Measure, print and write; return 0. Raises LikewiseError."""
    found = measure(args)
    console = Console()
    console = console if console.is_terminal else Console(width=WIDTH)
    for note in found.notes:
        console.print(note, soft_wrap=True, highlight=False, markup=False)
    console.print(_table(found))
    if args.json is not None:
        _write_json(args.json, found)
    if not args.dry_run:
        _write(found, console)
    return 0


def measure(args: argparse.Namespace) -> Tuned:
    """Return what comes of every key that fits the inputs. Raises LikewiseError."""
    targets = _targets(args)
    limit_memory(available_bytes() // 2)  # as a server has it: models that share memory are faster in turns
    subject = Subject(args.functions, args.function, min(4, os.cpu_count() or 1))
    if subject.computation is None:
        raise InvalidValue(f"`{args.function}` has no model: devices compute it, so there is nothing to tune by.")
    notes: list[str] = []
    with Inputs(args.inputs, args.function, subject.spec.input.kind, args.order) as inputs:
        total = min(len(inputs), args.requests)
        with _progress(total, "results") as advance:
            read = subject.results(inputs, args.requests, advance)
        if read.keys:
            raise InvalidValue(f"{args.inputs} has keys in place of inputs; tune on a capture that keeps inputs.")
        notes += [*inputs.notes, *read.notes]
        if sorted_by_result(read.labels):
            notes.append("Equal results stand together in this order, so the requests are played in a random order.")
        parts = rounds(read.devices, read.labels)
        judge = Judge(subject, read, targets)
        candidates = _candidates(judge, inputs, parts, args, notes)
    count = len(read.labels)
    played = _play_all(judge, parts, candidates, args.coins or coins_for(count))
    chosen = choose(played, args.within)
    if count < FEW:
        notes.append(f"Only {count} requests were played; the figures say little below {FEW}.")
    if chosen.request_s >= candidates[0].compute_s:
        notes.append("With no key does a request take less than the model alone: reuse does not pay here.")
    return Tuned(subject, candidates, played, chosen, count, notes)


def _candidates(
    judge: Judge, inputs: Inputs, parts: Sequence[Split], args: argparse.Namespace, notes: list[str]
) -> list[Candidate]:
    subject, read = judge.subject, judge.read
    sample = sample_inputs(subject, inputs, read)
    single = Subject(args.functions, args.function)  # one thread, as the server has it by default
    alone = single.computation
    assert alone is not None
    (model_s,) = measured([lambda value: alone.model.run(alone.feed(value)[None])], sample)
    material = Material(judge, inputs, parts, sample, model_s)
    candidates = extractors(material)
    with _progress(len(read.labels), "layers") as advance:
        candidates += early_layers(material, args.most * model_s, advance, notes.append)
    with _progress(len(read.labels), "filters") as advance:
        candidates += filtered(material, advance)
    with _progress(round(args.train_minutes * 60), "training") as advance:
        candidates += distilled(material, args.train_minutes * 60, notes.append, advance)
    affordable = [each for each in candidates if each.key_s <= args.most * model_s]
    if not affordable:
        notes.append(
            f"Each key takes over {args.most:g} of the model's {_ms(model_s)} ms, so none is left out for its cost."
        )
        return candidates
    for each in candidates:
        if each.key_s > args.most * model_s:
            notes.append(
                f"{each.name} is left out: a key takes {_ms(each.key_s)} ms, over {args.most:g} of the model's "
                f"{_ms(model_s)} ms; --most takes dearer ones in."
            )
    return affordable


def _play_all(judge: Judge, parts: Sequence[Split], candidates: Sequence[Candidate], coins: int) -> list[Played]:
    policy = judge.subject.spec.reuse.policy
    found: list[Played] = []
    with _progress(len(candidates), "streams") as advance:
        for each in candidates:
            priors = each.priors or [None] * len(parts)
            streams = [
                judge.stream(each.name, keys, part.played, projected=each.projected, prior=prior)
                for keys, part, prior in zip(each.keys, parts, priors, strict=True)
            ]
            found += play(each.name, streams, judge.targets, coins, policy, (each.key_s, each.compute_s), advance)
    return found


def _targets(args: argparse.Namespace) -> tuple[float, ...]:
    try:
        targets = tuple(float(target) for target in args.target.split(",") if target.strip())
    except ValueError:
        raise InvalidValue(f"--target is `{args.target}`; give numbers with commas, such as 0.95,0.99.") from None
    if not targets or not all(0.0 < target < 1.0 for target in targets):
        raise InvalidValue(f"--target is `{args.target}`; an accuracy target lies between 0 and 1.")
    if (
        (args.coins is not None and args.coins < 1)
        or args.requests < 2
        or not 0 < args.most <= 1
        or not 0 <= args.within < 1
    ):
        raise InvalidValue("--coins is at least 1, --requests 2; --most is above 0, --within from 0, both up to 1.")
    if not 0 <= args.train_minutes <= 10_000:
        raise InvalidValue("--train-minutes is from 0 to 10,000.")
    return targets


def _table(found: Tuned) -> Table:
    chosen, model_s = found.chosen, found.model_s
    targets = list(dict.fromkeys(each.target for each in found.played))
    whole = {each.name: each.whole for each in found.candidates}
    table = Table(
        caption="harvest: correct hits ÷ opportunities, ± half of a 95 % confidence interval; times are of one core; "
        f"key + miss: times the model alone, which takes {_ms(model_s)} ms, ± half of a 99 % interval; "
        "a request: its key, and the model where nothing is reused"
    )
    table.add_column("key")
    harvests = [f"harvest at {target:g}" for target in targets]
    for title in ("key, ms", "miss, ms", "key + miss", *harvests, "accuracy", "request, ms"):
        table.add_column(title, justify="right", no_wrap=True)
    by_name: dict[str, list[Played]] = {}
    for each in found.played:
        by_name.setdefault(each.name, []).append(each)
    for name, rows in sorted(by_name.items(), key=lambda each: -each[1][0].harvest):
        first = rows[0]
        table.add_row(
            f"▸ {name}" if name == chosen.name else f"  {name}",
            _ms(first.key_s),
            _ms(first.compute_s),
            _relative(first, whole.get(name), model_s),
            *(_with_error(row) for row in rows),
            f"{first.accuracy:.4f}",
            _ms(first.request_s),
            style="bold" if name == chosen.name else None,
        )
    return table


def _relative(row: Played, whole: Ratio | None, model_s: float) -> str:
    """Return what a miss takes with its key, by the model alone; of a layer measured as a whole."""
    if whole is None:
        return f"×{(row.key_s + row.compute_s) / model_s:.3f}"
    return f"×{whole.value:.3f} ± {(whole.high - whole.low) / 2:.3f}"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3f}"


def _with_error(row: Played) -> str:
    return f"{row.harvest:.3f}" if math.isnan(row.error) else f"{row.harvest:.3f} ± {row.error:.3f}"


def _write(found: Tuned, console: Console) -> None:
    subject, chosen = found.subject, found.chosen
    path = subject.folder / SPEC_FILE
    key = found.key.write(subject.folder / str(subject.version))
    present = subject.spec.keys[0].model_dump(exclude_unset=True)
    if dict(key) == present:
        console.print(f"{path} has this key already; nothing is changed.", soft_wrap=True)
        return
    comment = (
        f"by likewise tune: harvest {chosen.harvest:.3f} at {chosen.target:g}, "
        f"{1000 * chosen.key_s:.3f} ms a key, {1000 * chosen.request_s:.3f} ms a request"
    )
    write_key(path, key, comment)
    console.print(
        f"{path} has the key `{chosen.name}` now. The function begins with an empty cache at its next start.",
        soft_wrap=True, highlight=False, markup=False,
    )  # fmt: skip


def _write_json(path: Path, found: Tuned) -> None:
    document = {
        "chosen": found.chosen.name,
        "model_s": found.model_s,
        "requests": found.requests,
        "notes": list(found.notes),
        "played": [{**asdict(each), "request_s": each.request_s} for each in found.played],
    }
    try:
        path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    except OSError as error:
        raise SettingsError(f"--json {path}: cannot be written ({error.strerror}).") from error


@contextmanager
def _progress(total: int, what: str) -> Iterator[Callable[[float], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)
