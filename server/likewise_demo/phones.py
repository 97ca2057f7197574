"""Phones or cameras: each sends its part of a stream through the SDK, one after another, all of them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from likewise.workloads.sample import Sample
from likewise_client import Answer, AsyncClient, LikewiseClientError
from likewise_demo.comparison import Comparison

Cache = Literal["no-store"] | None


@dataclass(slots=True)
class Play:
    """What happened when a stream was played; the lists are in the stream's order."""

    answers: list[Answer | None]
    """None where the request failed."""
    seconds: list[float]
    """Latency that the phone saw."""
    order: list[int] = field(default_factory=list)
    """Positions in the order in which the requests were sent."""
    known: list[frozenset[Any]] = field(default_factory=list)
    """By position: labels that had been computed when the request was sent."""
    first_error: str = ""


async def play(
    url: str,
    function: str,
    stream: Sequence[Sample],
    cache: Cache,
    pace_s: float,
    console: Console,
    title: str,
    comparison: Comparison,
    cameras: bool = False,
    warm_up: int = 4,
) -> Play:
    """Play a stream from its phones at once, showing progress; each phone waits for an answer before it goes on.

    cache: None, or "no-store" for a run without reuse. pace_s: seconds from one input of a phone to its next, at
    least; the phones start spread over it. cameras: whether what one of them sends are frames of a stream.
    warm_up: requests before, that leave no trace.
    """
    record = Play([None] * len(stream), [0.0] * len(stream), [], [frozenset()] * len(stream))
    by_device: dict[int, list[int]] = {}
    for position, sample in enumerate(stream):
        by_device.setdefault(sample.device, []).append(position)
    seen: set[Any] = set()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, refresh_per_second=4, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=len(stream), state="")
        counts = {"hits": 0, "done": 0}

        async def phone(number: int, positions: Sequence[int]) -> None:
            due = perf_counter() + pace_s * number / len(by_device)
            async with AsyncClient(url) as client:
                camera = client.stream(function, f"camera-{number}") if cameras and cache is None else None
                for position in positions:
                    await asyncio.sleep(max(0.0, due - perf_counter()))
                    due = max(due, perf_counter() - pace_s) + pace_s
                    sample = stream[position]
                    record.order.append(position)
                    record.known[position] = frozenset(seen)
                    started = perf_counter()
                    try:
                        if camera is not None:
                            answer = await camera.infer(sample.body, media_type=sample.media_type)
                        else:
                            kind = sample.media_type
                            answer = await client.infer(function, sample.body, media_type=kind, cache=cache)
                    except LikewiseClientError as error:
                        record.first_error = record.first_error or str(error)
                        continue
                    record.seconds[position] = perf_counter() - started
                    record.answers[position] = answer
                    if not answer.from_cache:
                        seen.add(comparison.label(answer))
                    counts["done"] += 1
                    counts["hits"] += answer.from_cache
                    if counts["done"] % 50 == 0:
                        state = "" if cache else f"{counts['hits'] / counts['done']:.0%} reused"
                        progress.update(task, completed=counts["done"], state=state)

        async with AsyncClient(url) as client:
            for sample in stream[:warm_up]:
                await client.infer(function, sample.body, media_type=sample.media_type, cache="no-store")
        await asyncio.gather(*(phone(number, positions) for number, positions in enumerate(by_device.values())))
        progress.update(task, completed=len(stream))
    return record


def pairs(first: Play, second: Play) -> Iterator[tuple[int, Answer, Answer]]:
    """Yield (position, answer, other answer) in the order of sending, where both plays have one."""
    for position in first.order:
        one, other = first.answers[position], second.answers[position]
        if one is not None and other is not None:
            yield position, one, other
