"""The only composition root: settings in, a server's application out."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from likewise.access import AccessControl
from likewise.captures.files import CaptureWriter, worker_path
from likewise.function.assembly import Assembler, Defaults
from likewise.function.governor import CostLimits
from likewise.function.proving import prover
from likewise.function.reading import reading_threads
from likewise.function.registration_folder import RegistrationFolder, function_folders
from likewise.function.registrations import Registrations
from likewise.function.registry import Registry
from likewise.http import operations
from likewise.http.admission import Origins
from likewise.http.api import make_api
from likewise.http.edge import Edge, Readiness
from likewise.http.hot import Hot
from likewise.http.limits import connection_limits
from likewise.inference.memory import available_bytes
from likewise.inference.model import limit_memory
from likewise.inference.run_limit import RUN_LIMIT
from likewise.inference.threads import Threads
from likewise.inference.workers import Workers
from likewise.journal.make import open_journal
from likewise.naming import kept_name
from likewise.pipeline import Pipeline
from likewise.priority import WORK, give_way
from likewise.randomness import system_coin
from likewise.replication import Keeper
from likewise.settings import Settings
from likewise.sinks.capture import CaptureSink
from likewise.workers.link import Place, WorkerLink

log = logging.getLogger("likewise")


def create_app(settings: Settings, node: str | None = None, place: Place | None = None) -> Hot:
    """Return the ASGI application of one worker.

    node: its name among those that share, where it is not the setting. place: among the workers of one server.
    Loads all functions, so that a wrong one shows at start. Raises InvalidFunction, SettingsError.
    """
    clock = time.time
    readers = ThreadPoolExecutor(reading_threads(), "likewise-read", give_way, (WORK,))
    slots, threads = inference_shape(settings)
    model_bytes = settings.model_memory_bytes or available_bytes() // 2
    limit_memory(model_bytes)
    RUN_LIMIT.set(settings.inference_timeout_s)
    runners = Threads(slots, "likewise-infer", partial(give_way, WORK))
    # a seeded coin can be foreseen: for tests alone
    coin = system_coin() if settings.seed < 0 else random.Random(settings.seed).random
    recorder = _recorder(settings, place)
    defaults = Defaults(
        accuracy_target=settings.accuracy_target,
        capacity_entries=settings.capacity_entries,
        capacity_bytes=settings.capacity_bytes,
        ttl_s=settings.ttl_s,
        account_entries_share=settings.account_entries_share,
        inference_threads=threads,
        batch_max=settings.batch_max,
        queue_limit=settings.queue_limit,
        queue_bytes=settings.queue_bytes,
        queue_timeout_s=settings.queue_timeout_s,
        max_body_bytes=settings.max_body_bytes,
        max_pixels=settings.max_pixels,
        max_audio_s=settings.max_audio_s,
        max_elements=settings.max_elements,
        inline_bytes=settings.inline_bytes,
        inline_values=settings.inline_values,
        seen_bytes=settings.seen_bytes,
        invalidated_tags=settings.invalidated_tags,
        max_devices=settings.max_devices,
        stream_bytes=settings.stream_bytes,
        costs=CostLimits(
            settings.inference_budget,
            settings.power_budget_w,
            settings.inference_w,
            settings.latency_ms / 1000.0,
            settings.emergency_target,
        ),
        account_inference=settings.account_budget,
        trunk_bytes=settings.trunk_bytes,
        variant_bytes=settings.variant_memory_bytes or model_bytes // 4,
        lease_s=settings.lease_s,
        lease_tokens=settings.lease_tokens,
        lease_most_tokens=settings.lease_most_tokens,
        lease_prefetch=settings.lease_prefetch,
        max_leases=settings.max_leases,
        max_account_leases=settings.max_account_leases,
        ticket_prefix=place.prefix if place else "",
    )
    assembler = Assembler(
        defaults,
        Workers(runners, slots),
        readers,
        clock,
        coin,
        [recorder] if recorder else [],
    )
    registry = Registry()
    for folder in function_folders(settings.functions):
        registry.put(assembler.build(folder))
    options = _journal_options(settings)
    journal = open_journal(
        settings.journal,
        path=settings.sqlite_path,
        redis_url=settings.redis_url,
        node=node or settings.node or (kept_name(settings.data_dir) if settings.journal == "redis" else None),
        **options,
    )
    pipeline = Pipeline(journal, clock, settings.max_result_bytes)
    readiness = Readiness({"journal": "not replayed yet"})
    registrations = Registrations(
        RegistrationFolder(
            settings.data_dir / "functions", assembler, prover(defaults, model_bytes, settings.registration_timeout_s)
        ),
        registry,
        journal,
        lambda function: pipeline.invalidate(function, everything=True),
        readiness.degraded,
        clock,
        allowed=settings.allow_registration,
    )
    registrations.load()
    keeper = Keeper(
        registry,
        journal,
        readiness.missing,
        readiness.degraded,
        registrations=registrations,
        seal_period_s=settings.snapshot_s,
    )

    workers = None
    if place is not None:
        workers = WorkerLink(
            place,
            lambda function, *given: pipeline.redeem(registry.get(function), *given),
            lambda what: operations.report(edge, what),
            max_result_bytes=settings.max_body_bytes,
        )
    edge = Edge(
        registry=registry,
        pipeline=pipeline,
        access=AccessControl(settings.keys_path, required=settings.key_required),
        origins=Origins(settings.host_names, loopback=settings.loopback),
        readiness=readiness,
        register=registrations.register,
        unregister=registrations.unregister,
        max_body_bytes=settings.max_body_bytes,
        max_upload_bytes=settings.max_upload_bytes,
        max_result_bytes=settings.max_result_bytes,
        max_keys_per_lookup=settings.max_keys_per_lookup,
        max_answer_bytes=settings.max_answer_bytes,
        max_entries_per_insert=settings.max_entries_per_insert,
        warm_up_bytes=settings.warm_up_bytes,
        max_change_listeners=settings.max_change_listeners,
        journal_statistics=journal.statistics,
        workers=workers,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.callback(readers.shutdown, wait=False, cancel_futures=True)
            stack.callback(runners.shutdown, wait=False, cancel_futures=True)
            if recorder is not None:
                stack.enter_context(recorder.running())
            await stack.enter_async_context(keeper.running())
            if workers is not None:
                await stack.enter_async_context(workers.running())
            stack.push_async_callback(pipeline.settle)
            yield

    return Hot(edge, make_api(edge, lifespan), connection_limits(settings))


def inference_shape(settings: Settings) -> tuple[int, int]:
    """Return how many inferences run at once, and the threads of each.

    By itself, one inference at a time takes all cores up to four, so a lone miss is answered soonest; micro-batches
    keep the cores busy under load. Larger machines run several side by side.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    slots = settings.inference_workers or max(1, cores // 4)
    return slots, settings.inference_threads or max(1, cores // slots)


def _recorder(settings: Settings, place: Place | None) -> CaptureSink | None:
    if not settings.capture:
        return None
    path = Path(settings.capture).expanduser()
    return CaptureSink(
        CaptureWriter(worker_path(path, place.number) if place else path, settings.capture_bytes),
        inputs=settings.capture_keeps == "inputs",
        pending_bytes=settings.capture_pending_bytes,
    )


def _journal_options(settings: Settings) -> dict[str, Any]:
    if settings.journal == "memory":
        return {}
    if settings.journal == "redis":
        return {
            "buffer_records": settings.journal_buffer,
            "stream_entries": settings.stream_entries,
            "max_tombstone_tags": settings.invalidated_tags,
        }
    return {
        "buffer_records": settings.journal_buffer,
        "commit_interval_s": settings.journal_commit_s,
        "sync_interval_s": settings.journal_sync_s,
        "max_bytes": settings.journal_bytes,
    }
