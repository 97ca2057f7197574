"""The verb: every way to make a function's model smaller, side by side."""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from likewise.compression.chains import Chain, Step, named, parse_chain
from likewise.compression.examples import Reader, Task
from likewise.compression.making import Made, Trains, Workshop
from likewise.compression.methods import METHODS
from likewise.compression.nested import MOST_CAPACITIES
from likewise.compression.network import Network
from likewise.compression.search import parse_demands, search
from likewise.compression.table import as_json, table
from likewise.compression.variants import write_named
from likewise.errors import InvalidValue, LikewiseError, SettingsError
from likewise.evaluation.own import Subject
from likewise.files import PUBLIC, write_atomic
from likewise.function.spec import SPEC_FILE
from likewise.packing.packing import pack
from likewise.workloads.inputs import ORDERS
from likewise.workloads.make import WORKLOAD_NAMES

WIDTH = 190
_DESCRIPTION = """\
Makes smaller variants of a function's model in many ways (fewer bits, fewer weights, cheaper convolutions, another
architecture), each at the strongest setting that keeps its loss within --loss, and prints what each costs and how often
it still says what the full model says, on inputs that it was not fitted to. Writes each as an ONNX file and packed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = _DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("function", metavar="NAME", help="the function, a folder below --functions")
    add("--inputs", type=Path, metavar="PATH", help="folder of inputs, or a capture with inputs; no labels are needed")
    add("--held-out", type=Path, metavar="PATH",
        help="other inputs, which the figures are from (default: a third of --inputs)")  # fmt: skip
    add("--labels", choices=("none", "folders"), default="none",
        help="whether sub-folders are named for the true labels (default none: the model is the truth)")  # fmt: skip
    add("--workload", metavar="NAME",
        help=f"in place of --inputs, or as what the figures are from: {', '.join(WORKLOAD_NAMES)}")  # fmt: skip
    add("--data", type=Path, default=os.environ.get("LIKEWISE_DATA"), metavar="DIR",
        help="folder with fsdd/ and gtsrb/ for --workload (default: LIKEWISE_DATA)")  # fmt: skip
    add("--functions", type=Path, default=Path("functions"), metavar="DIR", help="folder of the functions")
    add("--order", choices=ORDERS, default="auto",
        help="of files: by the time stamps in their names, by name, or (auto) by time where all have one")  # fmt: skip
    add("--requests", type=int, default=4000, metavar="N", help="the first N inputs of each source (default 4000)")
    add(
        "--methods",
        metavar="NAMES",
        help="with commas, or joined as in channels:0.5+training+int8 (default: all that apply): "
        + ", ".join(method.name for method in METHODS),
    )
    add("--loss", type=float, default=0.5, metavar="POINTS",
        help="what may be lost, in points of accuracy, or of agreement without labels (default 0.5)")  # fmt: skip
    add("--for", dest="demands", metavar="DEMANDS",
        help="search for what meets demands, such as memory=4MB,latency=2ms; also storage, energy, loss")  # fmt: skip
    add("--nested", metavar="SHARES",
        help="capacities in one file, by shares of the channels, such as 0.25,0.5,0.75,1; needs PyTorch")  # fmt: skip
    add("--write", metavar="NAMES",
        help="write these of the table into function.toml as [[variants]]; `chosen`: what --for chose")  # fmt: skip
    add(
        "--alone",
        action="store_true",
        help="with --nested: also train each capacity by itself, for as many steps, at the best of three rates",
    )
    add("--train-minutes", type=float, default=1.0, metavar="MINUTES",
        help="of processor time to train each that gains by it, with PyTorch; 0: none (default 1)")  # fmt: skip
    add("--out", type=Path, metavar="DIR", help="where the files go (default: compressed/NAME)")
    add("--force", action="store_true", help="write over what is in --out")
    add("--json", type=Path, metavar="FILE", help="write the figures there")


def run(args: argparse.Namespace) -> int:
    """Make, measure, print and write; return 0. Raises LikewiseError."""
    if not 0 <= args.loss <= 100 or args.requests < 1 or not 0 <= args.train_minutes <= 1000:
        raise InvalidValue("--loss is from 0 to 100 points, --requests at least 1, --train-minutes from 0 to 1,000.")
    demands = parse_demands(args.demands, args.loss) if args.demands else None
    shares = _shares(args)
    _chains(args)  # what is wrong with them is said before anything is computed
    folder = _folder(args)
    console = Console()
    console = console if console.is_terminal else Console(width=WIDTH)
    threads = min(4, os.cpu_count() or 1)
    reader = Reader(Subject(args.functions, args.function, threads))
    task = _task(reader, args)
    network = Network.load(reader.path, task.judged.tensors.shape[1:])
    folder.mkdir(parents=True, exist_ok=True)
    notes = list(reader.notes)
    trainer = _trainer(args, task)
    if trainer is not None:
        task = replace(task, second_derivatives=trainer.second_derivatives)
    elif args.train_minutes:
        notes.append("Nothing is trained: that needs PyTorch, `pip install 'likewise[compress]'`.")
    shop = Workshop(network, task, folder, args.loss if demands is None else demands["loss"], threads)
    chains, chosen = _chains(args, trainer is not None), ""
    if demands is not None:
        with _progress(None, "combinations") as advance:
            ways = {step.method.name: step.method for chain in chains for step in chain if step.method is not None}
            found = search(shop, ways, demands, trainer, notes.append, advance)
        chains, chosen = ([found], named(found)) if found else ([], "")
    if shares:
        chains = []
    made: list[Made] = []
    with _progress(len(chains), "ways") as advance:
        for chain in chains:
            try:
                made.append(shop.make(chain, trainer.train if trainer is not None else None))
            except LikewiseError as error:
                notes.append(f"{named(chain)}: left out, {error.detail}")
            advance(1)
    if shares:
        made = _nested(trainer, network, shares, folder, args.alone, notes)
    rows = shop.rows(made)
    notes.append(
        f"Fitted to {len(task.fitted)} inputs, chosen by {len(task.chosen)}, judged on {len(task.judged)} others."
    )
    for note in notes:
        console.print(note, soft_wrap=True, highlight=False, markup=False)
    console.print(table(rows, chosen))
    console.print(f"Written to {folder}: each as .onnx, and packed as .lwz.", highlight=False, markup=False)
    if args.write:
        spec = reader.subject.folder / SPEC_FILE
        names = write_named(spec, reader.path.parent, folder, rows, args.write, chosen)
        console.print(f"Written to {spec}: {', '.join(names)}.", highlight=False, markup=False)
    if args.json is not None:
        try:
            args.json.write_bytes(orjson.dumps([as_json(row) for row in rows], option=orjson.OPT_INDENT_2))
        except OSError as error:
            raise SettingsError(f"--json {args.json}: cannot be written ({error.strerror}).") from error
    return 0


def _trainer(args: argparse.Namespace, task: Task) -> Trains | None:
    """Return what trains networks; None: nothing does. PyTorch is loaded only where it is used."""
    if not args.train_minutes or importlib.util.find_spec("torch") is None:
        return None
    made: Trains = importlib.import_module("likewise.compression.training").Trainer(task, 60 * args.train_minutes)
    return made


def _shares(args: argparse.Namespace) -> list[float]:
    """Return the shares of --nested, ascending; none: it is not asked for."""
    if args.nested is None:
        return []
    try:
        shares = [float(word) for word in args.nested.split(",")]
    except ValueError:
        shares = []
    rising = all(one < other for one, other in pairwise(shares))
    if not rising or not 2 <= len(shares) <= MOST_CAPACITIES or shares[0] <= 0 or shares[-1] != 1:
        raise InvalidValue(f"--nested `{args.nested}`: give shares that rise to 1, such as 0.25,0.5,0.75,1.")
    if args.demands or args.methods:
        raise InvalidValue("--nested makes capacities alone; leave out --for and --methods.")
    if importlib.util.find_spec("torch") is None or not args.train_minutes:
        raise SettingsError("--nested: needs PyTorch, `pip install 'likewise[compress]'`, and --train-minutes.")
    return shares


def _nested(
    trainer: Trains | None, network: Network, shares: list[float], folder: Path, alone: bool, notes: list[str]
) -> list[Made]:
    """Write the file of all capacities, and return them."""
    content, made = importlib.import_module("likewise.compression.nesting").nested(trainer, network, shares, alone)
    write_atomic(folder / "nested.onnx", content, PUBLIC)
    write_atomic(folder / "nested.lwz", pack(content), PUBLIC)
    largest = len(next(each for each in made if each.name == f"nested-{len(shares)}").network.to_bytes())
    notes.append(
        f"nested.onnx has all {len(shares)} capacities in {len(content) / largest:.3f} times the largest alone."
    )
    return list(made)


def _chains(args: argparse.Namespace, trains: bool = True) -> Sequence[Chain]:
    """Return the chains that are named, or each way by itself, and trained where it can be."""
    known = {method.name: method for method in METHODS}
    if args.methods:
        names = list(dict.fromkeys(name.strip() for name in args.methods.split(",") if name.strip()))
        return [parse_chain(name, known) for name in names]
    found: list[Chain] = []
    for method in METHODS:
        if method.usual and not method.fresh and (trains or not method.needs_torch):
            found.append([Step(method)])
        if method.usual and method.trains and trains:
            found.append([Step(method), Step(None)])
    return found


def _folder(args: argparse.Namespace) -> Path:
    folder = args.out or Path("compressed") / args.function
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not args.force:
        raise InvalidValue(f"{folder} is there already; name another folder with --out, or write over it with --force.")
    return Path(folder)


def _task(reader: Reader, args: argparse.Namespace) -> Task:
    if args.inputs is None and args.workload is None:
        raise InvalidValue("Give inputs: --inputs PATH, a folder or a capture, or --workload NAME with --data DIR.")
    if args.held_out is not None and args.inputs is None:
        raise InvalidValue("--held-out has what the figures are from; give what is fitted to with --inputs PATH.")
    if args.held_out is not None and args.workload is not None:
        raise InvalidValue("--held-out and --workload both say what the figures are from; leave one out.")
    data = Path(args.data) if args.data is not None else None
    seen = unseen = None
    with _progress(None, "inputs") as advance:
        if args.inputs is not None:
            seen = reader.own(args.inputs, args.order, args.requests, args.labels, advance)
        if args.held_out is not None:
            unseen = reader.own(args.held_out, args.order, args.requests, args.labels, advance)[0]
        if args.workload is not None:
            played = reader.workload(args.workload, data, args.requests, advance)
            if seen is None:
                seen = played
                reader.notes.append("What is fitted to and what is judged on are of one stream, and may be alike.")
            else:
                unseen = played[0]
    assert seen is not None
    return reader.task(seen, unseen)


@contextmanager
def _progress(total: int | None, what: str) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)
