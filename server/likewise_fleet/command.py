"""The verb `likewise fleet`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import TaskID

from likewise.errors import InvalidValue, LikewiseError
from likewise_demo import page
from likewise_demo.process import functions_for
from likewise_fleet import plots
from likewise_fleet.catalog import open_catalog
from likewise_fleet.demand import Demand
from likewise_fleet.document import TITLES, document, failures, ratios, rows, summary
from likewise_fleet.networks import NETWORKS, PHONES, network, phone
from likewise_fleet.plan import Plan
from likewise_fleet.records import WAYS
from likewise_fleet.requirements import missed, parse
from likewise_fleet.run import Outcome, run
from likewise_fleet.simulating import load_run, simulate
from likewise_fleet.terminal import progress_bars, simulation_tables, table, write_json
from likewise_fleet.trace import Trace, load_trace, make_trace

DESCRIPTION = """\
Emulated phones, each a real SDK client behind a network of its own, ask a real server. One trace is played in several
ways side by side: all on the device, all on the edge without reuse, either tier alone, both.

  likewise fleet                                             digits, nothing to download
  likewise fleet --workload signs,speech --data DIR          traffic signs and spoken digits
  likewise fleet --require accuracy=0.95,speedup=3           exit code 1 where the run falls short
  likewise fleet --simulate --real FILE --phones 100000 --nodes 1000
                                                             play more than this machine can, as the real run in FILE
"""


class Command:
    """Plays a fleet."""

    help = "let a fleet of phones show what sharing saves, on real sockets"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.description = DESCRIPTION
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        add = parser.add_argument
        add("--phones", type=int, default=None, help="how many [20]")
        add("--requests", type=int, default=None, help="of all phones together [600 a phone; 50 with digits alone]")
        add("--network", default="busy-wifi", help=f"{', '.join(NETWORKS)} [busy-wifi]")
        add("--workload", default="digits", metavar="NAME[,NAME]", help="digits, signs, speech; several mix [digits]")
        add("--data", type=Path, default=os.environ.get("LIKEWISE_DATA") or None, metavar="DIR",
            help="folder of the public data sets, for signs and speech [LIKEWISE_DATA]")  # fmt: skip
        add("--target", type=float, default=0.95, help="accuracy target, 0.5 to 0.999 [0.95]")
        add("--seed", type=int, default=1, help="of trace, networks and tiers [1]")
        add("--ways", default=",".join(WAYS), metavar="WAY[,WAY]", help="which of the ways [all]")
        add("--phone", default="entry", help=f"{', '.join(PHONES)}: how fast they compute [entry]")
        add("--phone-factor", type=float, default=None, metavar="X", help="seconds there for one of a core here")
        add("--phone-watts", type=float, default=None, metavar="W", help="while it computes")
        add("--speed", type=float, default=4.0, help="think times are so many times shorter [4]")
        add("--tier-entries", type=int, default=500, help="most that a phone's tier keeps of a function [500]")
        add("--places", type=int, default=0, help="where phones meet [one for five phones]")
        add("--zipf", type=float, default=1.0, help="exponent of popularity at a place [1]")
        add("--processes", type=int, default=min(2, os.cpu_count() or 1), help="that phones are spread over [2]")
        add("--functions", type=Path, default=None, metavar="DIR", help="folder of functions [functions]")
        add("--trace", type=Path, default=None, metavar="FILE", help="play this trace; phones and requests follow")
        add("--save-trace", type=Path, default=None, metavar="FILE", help="keep the trace there")
        add("--kill-server", action="store_true", help="kill the server in the middle, and start it again")
        add("--require", default="", metavar="NAME=FLOOR[,...]",
            help="accuracy, speedup, device_speedup, energy: exit code 1 below these floors")  # fmt: skip
        add("--simulate", action="store_true", help="play events in place of sockets")
        add("--real", type=Path, default=None, metavar="FILE", help="what --json wrote in a real run, to simulate like")
        add("--nodes", type=int, default=1000, help="that serve, simulated [1000]")
        add("--cores", type=int, default=2, help="of a node, simulated [2]")
        add("--partitions", type=int, default=1, help="groups of nodes that share, simulated [1]")
        add("--output", type=Path, default=Path("likewise-fleet"), help="folder for plots and page [likewise-fleet]")
        add("--json", type=Path, default=None, metavar="FILE", help="write the figures there as JSON")

    def run(self, args: argparse.Namespace) -> int:
        """Run the fleet; 0 when it went through and came up to what was required."""
        console = Console(width=None if sys.stdout.isatty() else 120)
        try:
            return _simulate(args, console) if args.simulate else self._run(args, console)
        except LikewiseError as error:
            console.print(f"[red]{error.detail}", soft_wrap=True)
            return 2
        except KeyboardInterrupt:
            console.print("stopped")
            return 130

    def _run(self, args: argparse.Namespace, console: Console) -> int:
        floors = parse(args.require)
        workloads = tuple(dict.fromkeys(args.workload.split(",")))
        if not 0.5 <= args.target <= 0.999:
            raise InvalidValue("An accuracy target is a share from 0.5 to 0.999, such as 0.95.")
        trace, demand = self._trace(args, workloads, console)
        plan = Plan(
            workloads=trace.functions,
            functions=args.functions or _functions(trace),
            network=network(args.network),
            phone=phone(args.phone, args.phone_factor, args.phone_watts),
            target=args.target,
            seed=args.seed,
            speed=args.speed,
            tier_entries=args.tier_entries,
            ways=tuple(way for way in WAYS if way in args.ways.split(",")) if _known(args.ways) else (),
            processes=args.processes,
            kill_server=args.kill_server,
        )
        with tempfile.TemporaryDirectory(prefix="likewise-fleet-") as scratch:
            path = args.save_trace or Path(scratch) / "trace.zip"
            trace.save(path)
            outcome = self._play(plan, trace, path, console)
        self._report(args, plan, outcome, demand, console)
        low = missed(ratios(outcome), floors)
        for line in (*failures(outcome), *low):
            console.print(f"[red]{line}", soft_wrap=True)
        return 1 if low or failures(outcome) else 0

    def _trace(
        self, args: argparse.Namespace, workloads: tuple[str, ...], console: Console
    ) -> tuple[Trace, dict[str, object]]:
        if args.trace:
            trace = load_trace(args.trace)
            return trace, {"trace": str(args.trace)}
        catalogs = [open_catalog(each, args.data) for each in workloads]
        phones = 20 if args.phones is None else args.phones
        requests = phones * (50 if workloads == ("digits",) else 600) if args.requests is None else args.requests
        demand = Demand(
            phones, requests, workloads, tuple(each.things for each in catalogs), args.seed, args.places,
            zipf=args.zipf,
        )  # fmt: skip
        with console.status("preparing what the phones will ask"):
            return make_trace(demand, catalogs), asdict(demand)

    def _play(self, plan: Plan, trace: Trace, path: Path, console: Console) -> Outcome:
        with progress_bars(console) as progress:
            tasks: dict[str, TaskID] = {}

            def advance(way: str, done: int) -> None:
                if way not in tasks:
                    tasks[way] = progress.add_task(TITLES.get(way, way), total=len(trace.requests))
                progress.update(tasks[way], completed=done)

            return run(plan, trace, path, advance)

    def _report(
        self, args: argparse.Namespace, plan: Plan, outcome: Outcome, demand: dict[str, object], console: Console
    ) -> None:
        console.print(table(plan, outcome))
        for line in plan.assumptions():
            console.print(f"  assumed: {line}", soft_wrap=True, highlight=False)
        args.output.mkdir(parents=True, exist_ok=True)
        pictures = plots.draw(args.output, outcome)
        where = page.document(
            args.output / "index.html", "likewise: a fleet", summary(plan, outcome), rows(outcome), pictures,
            plan.assumptions(),
        )  # fmt: skip
        if args.json is not None:
            write_json(args.json, document(plan, outcome, demand))
        console.print(f"plots: {', '.join(str(each) for each in pictures)}; page: {where}", soft_wrap=True)


def _simulate(args: argparse.Namespace, console: Console) -> int:
    """Simulate a larger fleet; 0 when it went through."""
    if args.real is None:
        raise InvalidValue("--simulate needs a real run to be like: `likewise fleet --json FILE`, then --real FILE.")
    real = load_run(args.real)
    phones = 100_000 if args.phones is None else args.phones
    requests = 20 * phones if args.requests is None else args.requests
    with progress_bars(console) as progress:
        tasks: dict[str, TaskID] = {}

        def advance(way: str, done: int) -> None:
            if way not in tasks:
                tasks[way] = progress.add_task(TITLES[way], total=requests)
            progress.update(tasks[way], completed=done)

        found = simulate(
            real, phones=phones, requests=requests, nodes=args.nodes, cores=args.cores, partitions=args.partitions,
            seed=args.seed, advance=advance,
        )  # fmt: skip
    for each in simulation_tables(found):
        console.print(each)
    if args.json is not None:
        write_json(args.json, found)
    return 0


def _known(ways: str) -> bool:
    """Raise InvalidValue for a way that there is not."""
    if unknown := [each for each in ways.split(",") if each not in WAYS]:
        raise InvalidValue(f"There is no way {unknown[0]!r}; choose from {', '.join(WAYS)}.")
    return True


def _functions(trace: Trace) -> Path:
    """Return a folder that holds all functions of a trace. Raises SettingsError."""
    return [functions_for(name) for name in trace.functions][-1]


def main() -> int:
    """Run as a program of its own: `python -m likewise_fleet`."""
    parser = argparse.ArgumentParser(prog="likewise fleet")
    command = Command()
    command.add_arguments(parser)
    return command.run(parser.parse_args())
