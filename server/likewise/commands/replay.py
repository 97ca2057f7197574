"""`likewise replay`: play a capture against a server, at its own pace or faster."""

from __future__ import annotations

import argparse
import asyncio
import base64
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import numpy as np
import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from likewise.captures import Capture, Recorded
from likewise.errors import InvalidValue, SettingsError

_DESCRIPTION = """\
Plays what a server recorded with --capture against a server, in the order and at the pace in which it came. Inputs are
sent to infer. Where keys alone were kept they are looked up, and what was answered then is inserted where nothing is
found now, as a device does. The requests of one device wait for each other. Ends by itself."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = _DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("capture", type=Path, metavar="CAPTURE", help="the file that `likewise serve --capture FILE` wrote")
    add("--against", required=True, metavar="URL", help="the server, such as http://127.0.0.1:8080")
    add("--speed", type=float, default=1.0, metavar="X", help="times as fast as it came; 0: without any pause [1]")
    add("--requests", type=int, metavar="N", help="the first N alone")
    add("--function", metavar="NAME", help="only what was asked of this function")
    add("--concurrency", type=int, default=64, metavar="N", help="requests under way at once, at most [64]")
    add("--timeout", type=float, default=30.0, metavar="SECONDS", help="a request that takes longer has failed [30]")
    add("--access-key", default=os.environ.get("LIKEWISE_ACCESS_KEY", ""), metavar="KEY",
        help="sent as Authorization: Bearer KEY [LIKEWISE_ACCESS_KEY]")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="write the figures there")


@dataclass(slots=True)
class Tally:
    """What came of the requests so far."""

    outcomes: Counter[str] = field(default_factory=Counter)
    recorded: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    recorded_s: list[float] = field(default_factory=list)
    same: int = 0
    """Answers that are what was answered then."""
    comparable: int = 0
    failed: int = 0
    first_failure: str = ""
    late_s: float = 0.0
    """How far behind its pace a request was sent at most."""
    took_s: float = 0.0

    def figures(self) -> dict[str, Any]:
        """Return what the replay came to."""
        total = sum(self.outcomes.values())
        now, then = (np.array(each or [np.nan]) * 1000 for each in (self.seconds, self.recorded_s))
        return {
            "requests": total + self.failed,
            "failed": self.failed,
            "outcomes": dict(self.outcomes),
            "recorded_outcomes": dict(self.recorded),
            "hit_rate": _reused(self.outcomes) / max(1, total),
            "recorded_hit_rate": _reused(self.recorded) / max(1, sum(self.recorded.values())),
            "same_answer": self.same / self.comparable if self.comparable else None,
            "p50_ms": float(np.percentile(now, 50)),
            "p99_ms": float(np.percentile(now, 99)),
            "recorded_p50_ms": float(np.percentile(then, 50)),
            "recorded_p99_ms": float(np.percentile(then, 99)),
            "requests_per_s": (total + self.failed) / max(self.took_s, 1e-9),
            "most_late_s": self.late_s,
        }


def run(args: argparse.Namespace) -> int:
    """Play the capture; 0 when all requests were answered, 1 otherwise. Raises InvalidValue, SettingsError."""
    least = min(args.concurrency, 1 if args.requests is None else args.requests)
    if not (args.speed >= 0 and args.timeout > 0 and least >= 1):  # no number is neither
        raise InvalidValue("--speed is 0 or more; --concurrency, --requests and --timeout are above 0.")
    if not _is_server(args.against):
        raise InvalidValue(f"--against is `{args.against[:100]}`; give a URL, such as http://127.0.0.1:8080.")
    if not (args.access_key.isascii() and (args.access_key + "x").isprintable()):
        raise InvalidValue(
            "--access-key holds signs that no access key has; give it as `likewise keys add` printed it."
        )
    with Capture(args.capture) as capture:
        total = sum(1 for _ in islice(_chosen(capture, args.function), args.requests))
        if not total:
            raise InvalidValue(f"{args.capture} has no answered request to play{_of(args.function)}.")
        if capture.lost:
            print(f"{capture.lost} requests are missing from the capture.")
        with _progress(total) as advance:
            tally = asyncio.run(_play(islice(_chosen(capture, args.function), args.requests), args, advance))
    figures = tally.figures()
    Console().print(_table(figures))
    if args.json is not None:
        try:
            args.json.write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2))
        except OSError as error:
            raise SettingsError(f"--json {args.json}: cannot be written ({error.strerror}).") from error
    if tally.failed:
        print(f"{tally.failed} requests failed; the first: {tally.first_failure}")
    return 1 if tally.failed else 0


def _is_server(url: str) -> bool:
    try:
        parts, _ = urlsplit(url), httpx.URL(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (ValueError, httpx.InvalidURL):
        return False


def _chosen(capture: Capture, function: str | None) -> Iterator[Recorded]:
    for record in capture:
        if record.outcome and function in (None, record.function.partition("@")[0], record.function):
            yield record


async def _play(records: Iterator[Recorded], args: argparse.Namespace, advance: Callable[[], None]) -> Tally:
    tally = Tally()
    room = asyncio.Semaphore(args.concurrency)
    last: dict[str, asyncio.Task[None]] = {}
    headers = {"Authorization": f"Bearer {args.access_key}"} if args.access_key else {}
    limits = httpx.Limits(max_connections=args.concurrency, max_keepalive_connections=args.concurrency)
    async with httpx.AsyncClient(
        base_url=args.against, headers=headers, limits=limits, timeout=args.timeout, trust_env=False
    ) as client:

        async def send(record: Recorded, before: asyncio.Task[None] | None) -> None:
            try:
                if before is not None:
                    await before
                await _ask(client, record, tally)
            finally:
                room.release()
                advance()

        started, first_at = perf_counter(), math.nan
        async with asyncio.TaskGroup() as group:
            for record in records:
                first_at = record.at if math.isnan(first_at) else first_at
                due = started + (record.at - first_at) / args.speed if args.speed else 0.0
                if (wait := due - perf_counter()) > 0:
                    await asyncio.sleep(wait)
                await room.acquire()
                if args.speed:
                    tally.late_s = max(tally.late_s, perf_counter() - due)
                before = last.get(record.device) if record.device else None
                last[record.device] = group.create_task(send(record, before))
        tally.took_s = perf_counter() - started
    return tally


async def _ask(client: httpx.AsyncClient, record: Recorded, tally: Tally) -> None:
    name = quote(record.function.partition("@")[0], safe="")
    headers = {"Likewise-Device": record.device} if _is_name(record.device) else {}
    started = perf_counter()
    try:
        if record.key is None:
            headers["Content-Type"] = record.media_type
            answer = await client.post(f"/v1/functions/{name}/infer", content=record.body, headers=headers)
        else:
            headers["Content-Type"] = "application/octet-stream"
            answer = await client.post(
                f"/v1/functions/{name}/lookup", params={"key_type": record.key_type},
                content=record.key.astype("<f4").tobytes(), headers=headers,
            )  # fmt: skip
        seconds = perf_counter() - started
        if answer.status_code == 204 and record.key is not None and record.result is not None:
            await _insert(client, name, record, answer.headers.get("likewise-ticket"))
        answer.raise_for_status()
    except (httpx.HTTPError, ValueError) as error:  # ValueError: a media type that cannot be sent
        tally.failed += 1
        if not tally.first_failure:
            told = error.response.text[:200] if isinstance(error, httpx.HTTPStatusError) else ""
            tally.first_failure = f"{error or type(error).__name__} {told}".strip()
        return
    tally.outcomes[_outcome(answer.headers.get("cache-status", ""))] += 1
    tally.recorded[record.outcome] += 1
    tally.seconds.append(seconds)
    tally.recorded_s.append(record.took_s)
    if answer.status_code == 200 and record.result is not None:
        tally.comparable += 1
        tally.same += _label(answer.content) == _label(record.result.body)


async def _insert(client: httpx.AsyncClient, name: str, record: Recorded, ticket: str | None) -> None:
    assert record.key is not None
    assert record.result is not None
    document = {
        "keys": {record.key_type: base64.b64encode(record.key.astype("<f4").tobytes()).decode()},
        "result_base64": base64.b64encode(record.result.body).decode(),
        "media_type": record.result.media_type,
        **({"ticket": ticket} if ticket else {}),
    }
    answer = await client.post(f"/v1/functions/{name}/entries", json=document)
    answer.raise_for_status()


def _is_name(device: str) -> bool:
    return bool(device) and len(device) <= 64 and device.isascii() and device.isprintable() and " " not in device


def _outcome(cache_status: str) -> str:
    """Return an outcome's name from Cache-Status, as the recorded ones are called."""
    fields = {each.strip() for each in cache_status.split(";")}
    details = {each.removeprefix("detail=") for each in fields if each.startswith("detail=")}
    if "hit" in fields:
        return next(iter(details & {"coalesced", "exact"}), "hit")
    if made := details & {"probe", "variant"}:
        return next(iter(made))
    return "miss" if "fwd=miss" in fields else "bypass"


def _label(body: bytes) -> object:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    return document.get("label", document) if isinstance(document, dict) else document


def _reused(outcomes: Counter[str]) -> int:
    return outcomes["hit"] + outcomes["exact"] + outcomes["coalesced"]


def _of(function: str | None) -> str:
    return f" for `{function}`" if function else ""


def _table(figures: dict[str, Any]) -> Table:
    table = Table()
    table.add_column("")
    for title in ("now", "recorded"):
        table.add_column(title, justify="right")
    then = figures["recorded_outcomes"]
    for name in sorted({*figures["outcomes"], *then}):
        table.add_row(name, f"{figures['outcomes'].get(name, 0):,}", f"{then.get(name, 0):,}")
    table.add_row("hit rate", f"{figures['hit_rate']:.3f}", f"{figures['recorded_hit_rate']:.3f}")
    table.add_row("median latency, ms", f"{figures['p50_ms']:.2f}", f"{figures['recorded_p50_ms']:.2f}")
    table.add_row("99th percentile, ms", f"{figures['p99_ms']:.2f}", f"{figures['recorded_p99_ms']:.2f}")
    if figures["same_answer"] is not None:
        table.add_row("same answer as recorded", f"{figures['same_answer']:.4f}", "")
    table.add_row("requests a second", f"{figures['requests_per_s']:.1f}", "")
    table.add_row("behind the pace at most, s", f"{figures['most_late_s']:.2f}", "")
    return table


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("requests", total=total)
        yield lambda: progress.advance(task)
