"""The verb `likewise demo`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

from rich.console import Console

from likewise.errors import LikewiseError, SettingsError
from likewise.workloads.make import open_workload
from likewise_client import LikewiseClientError
from likewise_demo import figures, page
from likewise_demo.comparison import Boxes, Comparison
from likewise_demo.phones import Play, play
from likewise_demo.process import ServerProcess, functions_for
from likewise_demo.scores import Scores, score
from likewise_demo.table import table

DESCRIPTION = """\
Starts a real server on a free port, lets phones send a stream of recognition requests to it at once, then
plays the same stream again with reuse switched off, and compares. Writes plots and a page to look at.

  likewise demo                                      handwritten digits, nothing to download
  likewise demo --workload signs --data DIR          traffic signs seen from passing cars (DIR/gtsrb/...)
  likewise demo --workload speech --data DIR         spoken digits (DIR/fsdd/recordings)
  likewise demo --workload roads --data DIR          vehicles before cameras that stay where they are (DIR/video/...)
"""

_WORKLOADS = {"digits": "digits", "speech": "speech", "signs": "signs-junction", "roads": "roads"}
_PHONES, _CAMERAS = 8, 4


class Command:
    """Plays a workload through a real server, with and without reuse."""

    help = "see phones share recognition results through a real server"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.description = DESCRIPTION
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.add_argument(
            "--workload", choices=sorted(_WORKLOADS), default="digits", help="what the phones send [digits]"
        )
        parser.add_argument(
            "--data",
            type=Path,
            default=os.environ.get("LIKEWISE_DATA") or None,
            help="folder of the public data sets, for all but digits [LIKEWISE_DATA]",
        )
        parser.add_argument("--target", type=_share, default=0.95, help="accuracy target, 0.5 to 0.999 [0.95]")
        parser.add_argument("--devices", type=_count, help="phones that send at once [8; cameras: 4]")
        parser.add_argument(
            "--interval-ms",
            type=_interval,
            default=33.0,
            metavar="MS",
            help="a phone sends its next input no sooner than this after its last, as a camera would; 0: at once [33]",
        )
        parser.add_argument("--requests", type=_count, default=None, help="length of the stream [the whole workload]")
        parser.add_argument("--seed", type=int, default=1, help="order and distortions of the stream [1]")
        parser.add_argument(
            "--functions",
            type=Path,
            default=None,
            metavar="DIR",
            help="folder of functions [functions, or else what comes with the program: digits]",
        )
        parser.add_argument(
            "--output", type=Path, default=Path("likewise-demo"), help="folder for plots and page [likewise-demo]"
        )
        parser.add_argument(
            "--capture",
            type=Path,
            metavar="FILE",
            help="record what the phones send there, for likewise evaluate, tune and replay",
        )
        parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="write the figures there as JSON")

    def run(self, args: argparse.Namespace) -> int:
        """Run the demonstration; 0 when it went through."""
        console = Console()
        try:
            return asyncio.run(self._run(args, console))
        except LikewiseError as error:
            console.print(error.detail, style="red", markup=False, soft_wrap=True)
            return 2
        except LikewiseClientError as error:  # such as a folder that lacks the function
            console.print(str(error), style="red", markup=False, soft_wrap=True)
            return 2
        except KeyboardInterrupt:
            console.print("stopped")
            return 130

    async def _run(self, args: argparse.Namespace, console: Console) -> int:
        try:
            args.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"--output {args.output}: cannot be written ({error.strerror}); name a folder."
            ) from error
        cameras = args.workload == "roads"
        devices = args.devices or (_CAMERAS if cameras else _PHONES)
        comparison = Boxes() if cameras else Comparison()
        workload = open_workload(_WORKLOADS[args.workload], args.data, held_out_only=args.workload == "speech")
        with console.status("preparing what the phones will send"):
            stream = await asyncio.to_thread(workload.stream, args.requests, args.seed, devices)
        pace_s = args.interval_ms / 1000
        options = ("--capture", str(args.capture)) if args.capture else ()
        with ServerProcess(args.functions or functions_for(workload.function), args.target, *options) as server:
            console.print(
                f"[bold]likewise[/] serves [bold]{workload.function}[/] on {server.url} (process {server.pid}); "
                f"{devices} {'cameras' if cameras else 'phones'} send {len(stream)} inputs, "
                f"accuracy target {args.target:.0%}"
            )
            with_reuse = await play(
                server.url, workload.function, stream, None, pace_s, console, "sharing results   ", comparison, cameras
            )
            without = await play(
                server.url, workload.function, stream, "no-store", pace_s, console, "computing each one", comparison
            )
        scores = score(args.workload, args.target, devices, stream, with_reuse, without, comparison)
        console.print(table(scores))
        self._write(args, scores, with_reuse, without, console)
        failed = sum(each is None for each in with_reuse.answers) + sum(each is None for each in without.answers)
        if failed:
            console.print(f"[red]{failed} requests failed; the first: {with_reuse.first_error or without.first_error}")
        return 1 if failed else 0

    def _write(self, args: argparse.Namespace, scores: Scores, reuse: Play, without: Play, console: Console) -> None:
        pictures = figures.draw(args.output, scores, reuse, without)
        where = page.write(args.output, scores, pictures)
        if args.json is not None:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps(scores.document(), indent=2) + "\n")
        console.print(f"plots: {', '.join(str(each) for each in pictures)}; page: {where}")


def _share(text: str) -> float:
    value = float(text)
    if not 0.5 <= value <= 0.999:
        raise argparse.ArgumentTypeError("give a share from 0.5 to 0.999, such as 0.95")
    return value


def _interval(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 60_000:
        raise argparse.ArgumentTypeError("give milliseconds from 0 to 60000")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("give a whole number, at least 1")
    return value


def main() -> int:
    """Run as a program of its own: `python -m likewise_demo.command`."""
    parser = argparse.ArgumentParser(prog="likewise demo")
    command = Command()
    command.add_arguments(parser)
    return command.run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
