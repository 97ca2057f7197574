"""`python -m loadtests`: starts a server, lets users play workloads against it, and ends it.

Writes locust's report and the figures into a folder. Exit code: locust's, 0 where the run kept its thresholds; or the
server's, where that did not end well.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from likewise.errors import LikewiseError
from likewise_demo.process import ServerProcess

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run it; options that are not its own go to locust."""
    parser = argparse.ArgumentParser(prog="python -m loadtests", description=__doc__.partition("\n")[0])
    parser.add_argument("--play", default="", help="workloads [digits; with --data also signs and speech]")
    parser.add_argument("--data", default=os.environ.get("LIKEWISE_DATA", ""), help="folder of the public data sets")
    parser.add_argument("--users", type=int, default=32, help="at the peak [32]")
    parser.add_argument("--run-time", default="2m", help="as locust takes it [2m]")
    parser.add_argument("--think-ms", type=float, default=300.0, help="between an answer and the next input [300]")
    parser.add_argument("--min-hit-rate", type=float, default=0.3, help="share of answers reused at least [0.3]")
    parser.add_argument("--max-p99-ms", type=float, default=2000.0, help="99th percentile at most [2000]")
    parser.add_argument("--target", type=float, default=0.95, help="accuracy target of the server [0.95]")
    parser.add_argument("--functions", type=Path, default=HERE.parent / "functions", help="folder of functions")
    parser.add_argument("--output", type=Path, default=Path("likewise-loadtest"), help="folder [likewise-loadtest]")
    args, more = parser.parse_known_args()
    play = args.play or ("digits,signs,speech" if args.data else "digits")
    args.output.mkdir(parents=True, exist_ok=True)
    report = args.output / "report.html"
    try:
        with ServerProcess(args.functions, args.target) as server:
            ended = subprocess.run(  # noqa: S603 our own command, no shell
                [
                    *(sys.executable, "-m", "locust", "-f", f"{HERE / 'locustfile.py'},{HERE / 'ramp.py'}"),
                    *("--headless", "--only-summary", "--host", server.url, "--html", str(report)),
                    *("--users", str(args.users), "--spawn-rate", str(args.users), "--run-time", args.run_time),
                    *("--play", play, "--data", args.data, "--think-ms", str(args.think_ms)),
                    *("--min-hit-rate", str(args.min_hit_rate), "--max-p99-ms", str(args.max_p99_ms)),
                    *("--report", str(args.output / "figures.json"), *more),
                ],
                check=False,
            )
    except LikewiseError as error:
        print(error.detail, file=sys.stderr)
        return 2
    print(f"locust's report: {report}; figures: {args.output / 'figures.json'}")
    if server.exit_code:
        print(f"the server ended with {server.exit_code}", file=sys.stderr)
    return ended.returncode or server.exit_code


if __name__ == "__main__":
    sys.exit(main())
