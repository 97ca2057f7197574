"""Many users play workloads against a running server; what came of it is read from Cache-Status.

    locust -f loadtests/locustfile.py --host http://127.0.0.1:8080 --headless --users 32 --spawn-rate 16 --play digits
    locust -f loadtests/locustfile.py,loadtests/ramp.py ... --run-time 2m       rises, stays and falls

Ends when the streams are played out (or with --run-time), prints a table by function and outcome, and exits with 1
where the run fell short. Options of its own, also from the environment:

    --play NAME[,NAME]   workloads: digits, speech, signs-junction, ...       LIKEWISE_PLAY
    --inputs PATH        in its place a folder of inputs, or a capture; needs --function     LIKEWISE_INPUTS
    --data DIR           folder of the public data sets                       LIKEWISE_DATA
    --play-requests N    length of each stream; default: the workload's own   LIKEWISE_PLAY_REQUESTS
    --function NAME      function to ask; default: the workload's own         LIKEWISE_FUNCTION
    --think-ms N         mean time between an answer and the next input, exponential; default 0    LIKEWISE_THINK_MS
    --access-key KEY     sent as Authorization: Bearer KEY                    LIKEWISE_ACCESS_KEY
    --cache-control TEXT sent with each request, such as no-store             LIKEWISE_CACHE_CONTROL
    --report FILE        write the figures there as JSON                      LIKEWISE_REPORT
    --max-failures X     share of requests that may fail; default 0           LIKEWISE_MAX_FAILURES
    --max-p99-ms N       99th percentile of infer at most; default: any       LIKEWISE_MAX_P99_MS
    --min-hit-rate X     share of answers reused at least; default 0          LIKEWISE_MIN_HIT_RATE
    --min-requests N     answers at least; default 1                          LIKEWISE_MIN_REQUESTS
"""

from __future__ import annotations

import json
import random
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from locust import FastHttpUser, events, task
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


class Stream:
    """One stream for one function, which all users share."""

    def __init__(self, function: str, samples: Iterable[Sample]) -> None:
        self.path = f"/v1/functions/{function}/infer"
        self.name = f"infer {function}"
        self.left = iter(samples)


class Play:
    """All streams, and the tally of what came back."""

    def __init__(self, options: Namespace) -> None:
        function, requests = options.function, options.play_requests or None
        if options.inputs:
            self.streams = [Stream(function, own(Path(options.inputs), function, requests))]
        else:
            data = Path(options.data) if options.data else None
            workloads = [open_workload(name, data) for name in dict.fromkeys(options.play.split(","))]
            self.streams = [Stream(function or each.function, each.stream(requests, 0, 8)) for each in workloads]
        self.headers = {"Authorization": f"Bearer {options.access_key}"} if options.access_key else {}
        if options.cache_control:
            self.headers["Cache-Control"] = options.cache_control
        self.think_s = options.think_ms / 1000
        self.users = 0
        self.outcomes: Counter[str] = Counter()
        self.by_function: dict[str, Counter[str]] = {each.name: Counter() for each in self.streams}
        self.labeled = 0
        self.right = 0

    def draw(self) -> tuple[Stream, Sample] | None:
        """Return the next input of any stream; None where all are played out."""
        while self.streams:
            stream = random.choice(self.streams)
            sample = next(stream.left, None)
            if sample is not None:
                return stream, sample
            self.streams.remove(stream)
        return None

    def count(self, stream: Stream, status: str, sample: Sample, answer: Any) -> None:
        """Add one answer to the tally."""
        found = outcome(status)
        self.outcomes[found] += 1
        self.by_function[stream.name][found] += 1
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
            "functions": {name: dict(counts) for name, counts in self.by_function.items()},
            "hit_rate": reused / total if total else 0.0,
            "label_accuracy": self.right / self.labeled if self.labeled else None,
            "requests_per_s": every.total_rps,
            "mean_ms": every.avg_response_time,
            "p50_ms": every.get_response_time_percentile(0.5),
            "p99_ms": every.get_response_time_percentile(0.99),
        }


def shortfalls(figures: dict[str, Any], options: Namespace) -> list[str]:
    """Return a line for each threshold that a run did not keep."""
    asked = figures["requests"] + figures["failures"]
    lines = []
    if figures["requests"] < options.min_requests:
        lines.append(f"{figures['requests']} answers, at least {options.min_requests} are required")
    if figures["failures"] > options.max_failures * asked:
        lines.append(f"{figures['failures']} of {asked} requests failed, {options.max_failures:.2%} may")
    if options.max_p99_ms and figures["p99_ms"] > options.max_p99_ms:
        lines.append(f"the 99th percentile is {figures['p99_ms']:.0f} ms, at most {options.max_p99_ms:g} is required")
    if figures["hit_rate"] < options.min_hit_rate:
        lines.append(f"the hit rate is {figures['hit_rate']:.1%}, at least {options.min_hit_rate:.1%} is required")
    return lines


@events.init_command_line_parser.add_listener
def add_options(parser: ArgumentParser) -> None:
    """Declare the options, which locust also shows on its page."""
    for name, default, text in (
        ("play", "digits", "workloads to play, separated by commas"),
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
    numbers: tuple[tuple[str, type, float, str], ...] = (
        ("play-requests", int, 0, "length of each stream"),
        ("think-ms", float, 0.0, "mean time between an answer and the next input"),
        ("max-failures", float, 0.0, "share of requests that may fail"),
        ("max-p99-ms", float, 0.0, "99th percentile at most; 0: any"),
        ("min-hit-rate", float, 0.0, "share of answers reused at least"),
        ("min-requests", int, 1, "answers at least"),
    )
    for name, kind, least, text in numbers:
        variable = "LIKEWISE_" + name.upper().replace("-", "_")
        parser.add_argument(f"--{name}", type=kind, default=least, env_var=variable, help=text)


@events.test_start.add_listener
def prepare(environment: Environment, **_: object) -> None:
    """Make the stream before the first user asks for it."""
    environment.play = Play(environment.parsed_options)


@events.test_stop.add_listener
def conclude(environment: Environment, **_: object) -> None:
    """Print the tally, and write it where the options say so."""
    play: Play = environment.play
    figures = play.figures(environment)
    for function, counts in play.by_function.items():
        print(f"\n{function:24}{'requests':>10}{'share':>9}")
        for name, count in counts.most_common():
            print(f"  {name:22}{count:>10}{count / counts.total():>9.1%}")
    print(f"hit rate {figures['hit_rate']:.1%}, label accuracy {figures['label_accuracy'] or float('nan'):.1%}")
    for line in (low := shortfalls(figures, environment.parsed_options)):
        print(f"fell short: {line}")
    environment.process_exit_code = int(bool(low))
    if environment.parsed_options.report:
        Path(environment.parsed_options.report).write_text(json.dumps(figures, indent=2) + "\n")


class Device(FastHttpUser):
    """A phone or car: thinks for a while after each answer, then sends the next input of one of the streams."""

    def wait_time(self) -> float:
        """Return how long it thinks, in seconds."""
        think_s: float = self.play.think_s
        return random.expovariate(1 / think_s) if think_s else 0.0

    def on_start(self) -> None:
        """Join the others."""
        self.play: Play = self.environment.play
        self.play.users += 1

    @task
    def infer(self) -> None:
        """Send one input; the last user to find the streams played out ends the run."""
        drawn = self.play.draw()
        if drawn is None:
            self.play.users -= 1
            if self.play.users == 0 and self.environment.runner is not None:
                self.environment.runner.quit()
            raise StopUser
        stream, sample = drawn
        headers = {**self.play.headers, "Content-Type": sample.media_type, "Likewise-Device": str(sample.device)}
        with self.client.post(
            stream.path, data=sample.body, headers=headers, name=stream.name, catch_response=True
        ) as answer:
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code} {answer.text[:200] if answer.text else answer.error}")
                return
            status = answer.headers.get("cache-status", "")
            if not status.startswith("likewise"):
                answer.failure(f"Cache-Status is {status!r}")
                return
            self.play.count(stream, status, sample, answer.json())
