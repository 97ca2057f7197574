"""Many users play a workload against a running server; what came of it is read from Cache-Status.

    locust -f loadtests/locustfile.py --host http://127.0.0.1:8080 --headless --users 32 --spawn-rate 16 --play digits

Ends when the stream is played out (or with --run-time), prints a table by outcome, and exits with 1 where a request
failed. Options of its own, also from the environment:

    --play NAME          workload: digits, speech, signs-junction, ...        LIKEWISE_PLAY
    --inputs PATH        in its place a folder of inputs, or a capture; needs --function     LIKEWISE_INPUTS
    --data DIR           folder of the public data sets                       LIKEWISE_DATA
    --play-requests N    length of the stream; default: the workload's own    LIKEWISE_PLAY_REQUESTS
    --function NAME      function to ask; default: the workload's own         LIKEWISE_FUNCTION
    --access-key KEY     sent as Authorization: Bearer KEY                    LIKEWISE_ACCESS_KEY
    --cache-control TEXT sent with each request, such as no-store             LIKEWISE_CACHE_CONTROL
    --report FILE        write the figures there as JSON                      LIKEWISE_REPORT
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from locust import FastHttpUser, constant, events, task
from locust.env import Environment
from locust.exception import StopUser

from likewise.workloads.inputs import Inputs
from likewise.workloads.make import open_workload
from likewise.workloads.sample import Sample


def outcome(cache_status: str) -> str:
    """Return hit, coalesced, variant, miss, probe or bypass, as an answer's Cache-Status says."""
    fields = {field.strip() for field in cache_status.split(";")}
    if "hit" in fields:
        return "coalesced" if "detail=coalesced" in fields else "hit"
    for detail in ("probe", "variant"):
        if f"detail={detail}" in fields:
            return detail
    return "miss" if "fwd=miss" in fields else "bypass"


def own(path: Path, function: str, requests: int | None) -> Iterator[Sample]:
    """Yield what a folder or a capture has for a function; nothing says what is true of it."""
    if not function:
        raise SystemExit("--inputs needs --function NAME, the function to ask.")
    devices: dict[str, int] = {}
    with Inputs(path, function, "") as inputs:
        for record in islice((each for each in inputs if each.body), requests):
            device = devices.setdefault(record.device, len(devices))
            yield Sample(device, record.body, record.media_type, "", False)


class Play:
    """One stream that all users share, and the tally of what came back."""

    def __init__(self, options: Namespace) -> None:
        function = options.function
        stream: Iterable[Sample]
        if options.inputs:
            stream = own(Path(options.inputs), function, options.play_requests or None)
        else:
            workload = open_workload(options.play, Path(options.data) if options.data else None)
            stream = workload.stream(options.play_requests or None, 0, 8)
            function = function or workload.function
        self.path = f"/v1/functions/{function}/infer"
        self.headers = {"Authorization": f"Bearer {options.access_key}"} if options.access_key else {}
        if options.cache_control:
            self.headers["Cache-Control"] = options.cache_control
        self.left = iter(stream)
        self.users = 0
        self.outcomes: Counter[str] = Counter()
        self.labeled = 0
        self.right = 0

    def count(self, status: str, sample: Sample, answer: Any) -> None:
        """Add one answer to the tally."""
        self.outcomes[outcome(status)] += 1
        if sample.held_out:
            self.labeled += 1
            self.right += answer.get("label") == sample.truth

    def figures(self, environment: Environment) -> dict[str, Any]:
        """Return what the run came to."""
        total = sum(self.outcomes.values())
        reused = self.outcomes["hit"] + self.outcomes["coalesced"]
        every = environment.stats.total
        return {
            "requests": total,
            "failures": every.num_failures,
            "outcomes": dict(self.outcomes),
            "hit_rate": reused / total if total else 0.0,
            "label_accuracy": self.right / self.labeled if self.labeled else None,
            "requests_per_s": every.total_rps,
            "mean_ms": every.avg_response_time,
            "p50_ms": every.get_response_time_percentile(0.5),
            "p99_ms": every.get_response_time_percentile(0.99),
        }


@events.init_command_line_parser.add_listener
def add_options(parser: ArgumentParser) -> None:
    """Declare the options, which locust also shows on its page."""
    for name, default, text in (
        ("play", "digits", "workload to play"),
        ("inputs", "", "folder of inputs or capture to play in place of a workload"),
        ("data", "", "folder of the public data sets"),
        ("function", "", "function to ask; default: the workload's own"),
        ("access-key", "", "access key to send"),
        ("cache-control", "", "Cache-Control to send"),
        ("report", "", "file for the figures, as JSON"),
    ):
        variable = "LIKEWISE_" + name.upper().replace("-", "_")
        secret: dict[str, Any] = {"is_secret": True} if name == "access-key" else {}
        parser.add_argument(f"--{name}", default=default, env_var=variable, help=text, **secret)
    parser.add_argument(
        "--play-requests", type=int, default=0, env_var="LIKEWISE_PLAY_REQUESTS", help="length of the stream"
    )


@events.test_start.add_listener
def prepare(environment: Environment, **_: object) -> None:
    """Make the stream before the first user asks for it."""
    environment.play = Play(environment.parsed_options)


@events.test_stop.add_listener
def conclude(environment: Environment, **_: object) -> None:
    """Print the tally, and write it where the options say so."""
    play: Play = environment.play
    figures = play.figures(environment)
    print(f"\n{'outcome':12}{'requests':>10}{'share':>9}")
    for name, count in play.outcomes.most_common():
        print(f"{name:12}{count:>10}{count / figures['requests']:>9.1%}")
    print(f"hit rate {figures['hit_rate']:.1%}, label accuracy {figures['label_accuracy'] or float('nan'):.1%}\n")
    if environment.parsed_options.report:
        Path(environment.parsed_options.report).write_text(json.dumps(figures, indent=2) + "\n")


class Device(FastHttpUser):
    """A phone or car: sends the next input of the stream as soon as it has the answer to its last."""

    wait_time = constant(0)

    def on_start(self) -> None:
        """Join the others."""
        self.play: Play = self.environment.play
        self.play.users += 1

    @task
    def infer(self) -> None:
        """Send one input; the last user to find the stream played out ends the run."""
        sample = next(self.play.left, None)
        if sample is None:
            self.play.users -= 1
            if self.play.users == 0 and self.environment.runner is not None:
                self.environment.runner.quit()
            raise StopUser
        headers = {**self.play.headers, "Content-Type": sample.media_type, "Likewise-Device": str(sample.device)}
        with self.client.post(
            self.play.path, data=sample.body, headers=headers, name="infer", catch_response=True
        ) as answer:
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code} {answer.text[:200] if answer.text else answer.error}")
                return
            status = answer.headers.get("cache-status", "")
            if not status.startswith("likewise"):
                answer.failure(f"Cache-Status is {status!r}")
                return
            self.play.count(status, sample, answer.json())
