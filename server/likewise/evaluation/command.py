"""The verb: arguments, work shared out over processes, and the table."""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from likewise.decision import POLICIES
from likewise.errors import InvalidValue, SettingsError
from likewise.evaluation import video
from likewise.evaluation.console import names, progress, targets, wide
from likewise.evaluation.own import Subject, own_stream
from likewise.evaluation.page import write_page
from likewise.evaluation.plot import draw
from likewise.evaluation.read import as_recorded
from likewise.evaluation.replay import LADDERS, Run, parse_policy
from likewise.evaluation.replay import replay as play_stream
from likewise.evaluation.streams import TRUTHS, Stream, load_stream
from likewise.evaluation.summary import CAPTION, Summary, mean_rows, rows, summarize, titles
from likewise.function.spec import VIDEO_METHODS
from likewise.workloads.inputs import ORDERS, Inputs
from likewise.workloads.make import WORKLOAD_NAMES

DEFAULT_WORKLOADS = "speech,speech-block,signs-junction,signs-drift,signs-cold"
SEEDS = 8


@dataclass(frozen=True, slots=True)
class Job:
    """One stream, and all policies and targets that play it."""

    workload: str
    seed: int
    policies: tuple[str, ...]
    targets: tuple[float, ...]
    requests: int | None
    capacity: int
    devices: int
    truth: str
    data: Path | None
    functions: Path
    key_type: str | None
    index: str
    projection: bool | None = None
    anonymous: bool = False
    first: int = 500
    ladders: tuple[str, ...] = ("off",)
    held_out: bool = False
    stream: Stream | None = None
    """One that is there already, in place of a workload's."""
    notes: tuple[str, ...] = ()
    """What there is to say about it."""
    recorded: Run | None = None
    """What came of it when it was recorded."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    add = parser.add_argument
    add("--workload", default=DEFAULT_WORKLOADS, metavar="NAMES", help=f"with commas: {', '.join(WORKLOAD_NAMES)}")
    add(
        "--policy",
        default="calibrated+ledger",
        metavar="NAMES",
        help=f"with commas: {', '.join(POLICIES)}; options as in fixed:threshold=0.3",
    )
    add("--target", default="0.95,0.98,0.99", metavar="SHARES", help="accuracy targets, with commas")
    add("--function", metavar="NAME", help="play inputs of your own for this function, from --inputs")
    add("--inputs", type=Path, metavar="PATH",
        help="folder of inputs, sub-folders as devices, or a capture that `likewise serve` wrote")  # fmt: skip
    add("--method", metavar="NAMES", help=f"of video, with commas: {', '.join(VIDEO_METHODS)} (default: all)")
    add("--source", type=Path, action="append", metavar="FILE",
        help="a video file, or a folder of its pictures, in place of those of --data; may be given again")  # fmt: skip
    add("--order", choices=ORDERS, default="auto",
        help="of files: by the time stamps in their names, by name, or (auto) by time where all have one")  # fmt: skip
    add("--seeds", type=int, metavar="N",
        help="streams of each workload, or coins for --inputs and videos (default 8, for videos 1)")  # fmt: skip
    add("--requests", type=int, metavar="N", help="length of a stream (default: the workload's own)")
    add("--capacity", type=int, default=20_000, metavar="N", help="entries that are kept (default 20,000)")
    add("--devices", type=int, default=20, metavar="N", help="devices that send (default 20)")
    add("--truth", choices=TRUTHS, default="label", help="what a computed request returns: true label or the model's")
    add("--data", type=Path, default=os.environ.get("LIKEWISE_DATA"), metavar="DIR",
        help="folder with fsdd/, gtsrb/ and video/ in their public layouts (default: LIKEWISE_DATA)")  # fmt: skip
    add("--functions", type=Path, default=Path("functions"), metavar="DIR", help="folder of the functions")
    add("--key-type", metavar="NAME", help="default: the function's first; an extractor's name tries it")
    add("--index", default="exact", metavar="KIND", help="index kind (default exact)")
    add("--projection", choices=("spec", "auto", "off"), default="spec",
        help="projection of the keys: as the spec has it (default), learned where it helps, or off")  # fmt: skip
    add("--anonymous", action="store_true", help="do not tell policies which device asks")
    add("--held-out", action="store_true", help="play only what nothing was trained on (the signs always do)")
    add("--first", type=int, default=500, metavar="N",
        help="also print the harvest over the first N requests (default 500)")  # fmt: skip
    add("--ladder", default="off", metavar="NAMES",
        help=f"which variants of the model may answer, with commas: {', '.join(LADDERS)} (default off)")  # fmt: skip
    add("--processes", type=int, default=min(2, os.cpu_count() or 1), metavar="N", help="streams played at once")
    add("--json", type=Path, metavar="FILE", help="write a list with one object per run")
    add("--html", type=Path, metavar="FILE", help="write table and plots as one page")
    add("--plot", type=Path, metavar="FILE", help="draw harvest against accuracy, and accuracy over time")


def run(args: argparse.Namespace) -> int:
    """Play everything, print the table, write the files; return the exit code. Raises LikewiseError."""
    if video.wanted(args):
        return video.run(args)
    jobs = _own_jobs(args) if args.function or args.inputs else _jobs(args)
    each = len(jobs[0].policies) * len(jobs[0].targets) * len(jobs[0].ladders)
    runs: list[Run] = []
    with progress(len(jobs) * each) as advance:
        for done in _play_all(jobs, args.processes):
            runs += done
            advance(len(done))
    notes = list(jobs[0].notes)
    if jobs[0].recorded is not None:
        runs.append(jobs[0].recorded)
    runs.sort(key=lambda run: [(job.workload, job.seed) for job in jobs].index((run.workload, run.seed)))
    console = wide()
    for note in notes:
        console.print(note, soft_wrap=True, highlight=False, markup=False)
    print_table(summarize(runs), console, args.first)
    if args.json is not None:
        try:
            args.json.write_bytes(orjson.dumps([run.as_json() for run in runs], option=orjson.OPT_INDENT_2))
        except OSError as error:
            raise SettingsError(f"--json {args.json}: cannot be written ({error.strerror}).") from error
    if args.plot is not None:
        draw(runs, args.plot)
    if args.html is not None:
        write_page(runs, args.html, args.first, notes)
    return 0


def play(job: Job) -> list[Run]:
    """Return the runs of one stream; its keys are computed once. Raises LikewiseError."""
    stream = job.stream or load_stream(
        job.workload,
        job.seed,
        requests=job.requests,
        devices=job.devices,
        data=job.data,
        functions=job.functions,
        truth=job.truth,
        key_type=job.key_type,
        held_out_only=job.held_out,
        ladders=job.ladders != ("off",),
    )
    return [
        play_stream(
            stream,
            policy,
            target,
            capacity=job.capacity,
            index=job.index,
            projection=job.projection,
            anonymous=job.anonymous,
            first=job.first,
            ladder=ladder,
        )
        for policy in job.policies
        for target in job.targets
        for ladder in job.ladders
    ]


def print_table(summaries: Sequence[Summary], console: Console, first: int = 500) -> None:
    """Print a row for each summary, and the means over workloads where there are several."""
    table = Table(caption=CAPTION)
    for place, title in enumerate(titles(first)):
        table.add_column(title, justify="left" if place < 2 else "right", no_wrap=True)
    for row in rows(summaries):
        table.add_row(*row)
    if means := mean_rows(summaries):
        table.add_section()
        for row in means:
            table.add_row(*row)
    console.print(table)


def _own_jobs(args: argparse.Namespace) -> list[Job]:
    """Return a job for each coin, all with the one stream of --inputs."""
    if not (args.function and args.inputs):
        raise InvalidValue("--function and --inputs belong together: a function's name, and a folder or a capture.")
    model = _jobs(args)[: args.seeds]
    subject = Subject(args.functions, args.function, os.cpu_count() or 1)
    with Inputs(args.inputs, args.function, subject.spec.input.kind, args.order) as inputs:
        total = min(len(inputs), args.requests or len(inputs))
        with progress(total, "inputs") as advance:
            stream, read, notes = own_stream(
                subject,
                inputs,
                requests=args.requests,
                key_type=args.key_type,
                advance=advance,
                ladders=model[0].ladders != ("off",),
            )
    recorded = as_recorded(stream, read, subject.spec.reuse.accuracy_target or model[0].targets[0], args.first)
    return [
        replace(
            job, workload=stream.workload, stream=replace(stream, seed=job.seed), notes=tuple(notes), recorded=recorded
        )
        for job in model
    ]


def _jobs(args: argparse.Namespace) -> list[Job]:
    workloads = names(args.workload, "--workload")
    policies = names(args.policy, "--policy")
    for policy in policies:
        name, _ = parse_policy(policy)
        if name not in POLICIES:
            raise InvalidValue(f"There is no policy `{name}`; choose one of {', '.join(POLICIES)}.")
    args.seeds = SEEDS if args.seeds is None else args.seeds
    ladders = names(args.ladder, "--ladder")
    if strange := [each for each in ladders if each not in LADDERS]:
        raise InvalidValue(f"--ladder has `{strange[0]}`; give one or several of {', '.join(LADDERS)}, with commas.")
    counts = (args.seeds, args.processes, args.capacity, args.devices, args.first)
    if min(*counts, 1 if args.requests is None else args.requests) < 1:
        raise InvalidValue("--seeds, --requests, --processes, --capacity, --devices and --first are at least 1.")
    data = Path(args.data) if args.data is not None else None
    projection = {"spec": None, "auto": True, "off": False}[args.projection]
    return [
        Job(
            workload, seed, policies, targets(args.target), args.requests, args.capacity, args.devices, args.truth,
            data, args.functions, args.key_type, args.index, projection,
            args.anonymous, args.first, ladders, args.held_out,
        )
        for workload in workloads
        for seed in range(args.seeds)
    ]  # fmt: skip


def _play_all(jobs: Sequence[Job], processes: int) -> Iterator[list[Run]]:
    if processes == 1 or len(jobs) == 1:
        yield from map(play, jobs)
        return
    # spawned, not forked: a fork would copy the threads' locks of whatever runs here
    with ProcessPoolExecutor(min(processes, len(jobs)), multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(play, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()
