"""Phones as real SDK clients, each behind a link of its own, some in each process."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event as Signal
from pathlib import Path
from time import monotonic, perf_counter

from likewise_client import Answer, AsyncClient, DeviceCache, Event, LikewiseClientError, Retry
from likewise_fleet.networks import Network, Phone
from likewise_fleet.proxy import PhoneLink
from likewise_fleet.records import Answered, Check, Costs, From
from likewise_fleet.trace import Request, Trace, load_trace

PATIENCE_S = 120.0
"""How long a phone tries again before a request counts as failed: longer than a server takes to come back."""
_done: Synchronized[int]


@dataclass(frozen=True, slots=True)
class Job:
    """What one process plays."""

    trace: Path
    phones: tuple[int, ...]
    server: str
    network: Network
    phone: Phone
    costs: tuple[Costs, ...]
    reuse: bool
    tier_entries: int
    """0: no tier on the devices."""
    seed: str
    speed: float
    begin: float
    """When the first phone starts, as `monotonic` counts."""


class Fleet:
    """Processes with phones in them."""

    def __init__(self, processes: int) -> None:
        """Start them. processes: at least 1."""
        context = multiprocessing.get_context("spawn")
        self._done: Synchronized[int] = context.Value("q", 0)
        self._count = processes
        self._given_up = context.Event()
        self._pool = ProcessPoolExecutor(processes, context, _share, (self._done, self._given_up))

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._given_up.set()
        self._pool.shutdown(cancel_futures=True)

    @property
    def done(self) -> int:
        """Requests that were answered since `play` began."""
        return self._done.value

    def play(self, phones: int, job: Callable[[tuple[int, ...], float], Job]) -> list[Future[list[Answered]]]:
        """Let all phones play a way; job: makes each process its own from its phones and the moment to begin."""
        self._done.value = 0
        shares = [tuple(range(at, phones, self._count)) for at in range(self._count)]
        for ready in [self._pool.submit(_ready) for _ in shares]:
            ready.result()
        begin = monotonic() + 0.3
        return [self._pool.submit(_play, job(share, begin)) for share in shares if share]


async def play(job: Job, count: Callable[[], None]) -> list[Answered]:
    """Play the phones of a job at once. count: called when a request is answered."""
    trace = _trace(job.trace)
    positions = trace.by_phone()
    found = await asyncio.gather(*(_phone(job, number, trace, positions[number], count) for number in job.phones))
    return [answered for phone in found for answered in phone]


async def _phone(
    job: Job, number: int, trace: Trace, positions: Sequence[int], count: Callable[[], None]
) -> list[Answered]:
    """Send one phone's requests, one after another."""
    diary = Diary()
    retry = Retry(deadline_s=PATIENCE_S)
    tier = DeviceCache(max_entries=job.tier_entries) if job.tier_entries else None
    looking_s = [(cost.key_s + cost.lookup_s) if tier else 0.0 for cost in job.costs]
    async with (
        PhoneLink(job.server, job.network, f"{job.seed} {number}") as link,
        AsyncClient(link.url, device=f"phone-{number}", retry=retry, device_cache=tier, on_answer=diary) as client,
    ):
        await asyncio.sleep(job.begin - monotonic())
        for at in positions:
            request = trace.requests[at]
            await asyncio.sleep(request.think_s / job.speed)
            link.up_s = link.down_s = 0.0
            function = trace.functions[request.workload]
            checks = client.cache_on_device(function).probes if tier else 0
            started = perf_counter()
            label, source, probe, stored, error = await _ask(client, function, request, job)
            own_s = looking_s[request.workload]
            latency_s = perf_counter() - started + (job.phone.factor - 1) * own_s  # once is in what was measured
            up_bytes, down_bytes = diary.bytes()
            if source is From.DEVICE_CACHE and client.cache_on_device(function).probes > checks:
                diary.checking[function] = len(diary.answers)
            diary.answers.append(
                Answered(
                    at, label, source, probe, latency_s, up_bytes, down_bytes, job.phone.factor * own_s, error,
                    monotonic() - job.begin, link.up_s + link.down_s, stored,
                )
            )  # fmt: skip
            count()
    return diary.answers


class Diary:
    """What a phone's client tells of its calls: bytes of those that the app waits for, and of checks after them."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.answers: list[Answered] = []
        self.checking: dict[str, int] = {}
        """By function: which answer is being checked."""
        self._up = self._down = 0

    def __call__(self, event: Event) -> None:
        """Take a call down."""
        if event.operation == "check" and event.function in self.checking:
            at = self.checking.pop(event.function)
            check = Check(event.latency_s, event.bytes_sent, event.bytes_received, event.outcome in ("miss", "probe"))
            self.answers[at] = replace(self.answers[at], check=check)
        else:
            self._up += event.bytes_sent
            self._down += event.bytes_received

    def bytes(self) -> tuple[int, int]:
        """Return what went up and down for the app since it was asked last."""
        up, down = self._up, self._down
        self._up = self._down = 0
        return up, down


async def _ask(client: AsyncClient, function: str, request: Request, job: Job) -> tuple[str, From, bool, bool, str]:
    try:
        answer = await client.infer(
            function, request.body, media_type=request.media_type, cache=None if job.reuse else "no-store"
        )
    except LikewiseClientError as error:
        return "", From.NOWHERE, False, False, f"{type(error).__name__}: {error}"
    if answer.source == "device":
        source = From.DEVICE_CACHE
    else:
        source = From.EDGE_CACHE if answer.from_cache else From.EDGE_MODEL
    return _label(answer), source, answer.outcome == "probe", answer.stored, ""


def _label(answer: Answer) -> str:
    return str(answer.result["label"]) if isinstance(answer.result, dict) else ""


@cache
def _trace(path: Path) -> Trace:
    return load_trace(path)


def _share(done: Synchronized[int], given_up: Signal) -> None:
    global _done
    _done = done
    threading.Thread(target=_end_with_run, args=(given_up,), daemon=True).start()


def _end_with_run(given_up: Signal) -> None:
    """End this process once the run is given up or gone, in the middle of whatever its phones do."""
    parent = multiprocessing.parent_process()
    while not given_up.wait(1.0) and parent is not None and parent.is_alive():
        pass
    os._exit(1)


def _ready() -> None:
    """Do nothing, in a process that is there."""


def _play(job: Job) -> list[Answered]:
    def count() -> None:
        with _done.get_lock():
            _done.value += 1

    return asyncio.run(play(job, count))
