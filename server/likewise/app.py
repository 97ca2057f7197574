"""The only composition root: settings in, a server's application out."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from likewise.access import AccessControl
from likewise.errors import BadRequest, LikewiseError, MethodNotAllowed, NotFound
from likewise.function.assembly import Assembler, Defaults
from likewise.function.function import Function, Registry
from likewise.function.registrations import Uploads, function_folders
from likewise.http import entries, functions, openapi, operations
from likewise.http.edge import Edge, Readiness
from likewise.http.hot import Hot
from likewise.http.problems import render, unexpected
from likewise.inference.batching import Workers
from likewise.journal.make import open_journal
from likewise.naming import kept_name
from likewise.pipeline import Pipeline
from likewise.randomness import system_coin
from likewise.replication import Keeper
from likewise.settings import Settings
from likewise.types import Unregistered

log = logging.getLogger("likewise")


def create_app(settings: Settings, node: str | None = None) -> Hot:
    """Return the ASGI application of one worker.

    node: its name among those that share, where it is not the setting.
    Loads all functions, so that a wrong one shows at start. Raises InvalidFunction, SettingsError.
    """
    clock = time.time
    readers = ThreadPoolExecutor(max(2, os.cpu_count() or 2), "likewise-read")
    slots, threads = inference_shape(settings)
    runners = ThreadPoolExecutor(slots, "likewise-infer")
    # a seeded coin can be foreseen: for tests alone
    coin = system_coin() if settings.seed < 0 else random.Random(settings.seed).random
    assembler = Assembler(
        Defaults(
            accuracy_target=settings.accuracy_target,
            capacity_entries=settings.capacity_entries,
            capacity_bytes=settings.capacity_bytes,
            ttl_s=settings.ttl_s,
            inference_threads=threads,
            batch_max=settings.batch_max,
            queue_limit=settings.queue_limit,
            queue_timeout_s=settings.queue_timeout_s,
            max_body_bytes=settings.max_body_bytes,
            max_pixels=settings.max_pixels,
            max_audio_s=settings.max_audio_s,
            max_elements=settings.max_elements,
            inline_bytes=settings.inline_bytes,
            invalidated_tags=settings.invalidated_tags,
            max_devices=settings.max_devices,
        ),
        Workers(runners, slots),
        readers,
        clock,
        coin,
    )
    registry = Registry()
    uploads = Uploads(
        settings.data_dir / "functions",
        assembler,
        lambda name: _find(registry, name),
        clock,
        allowed=settings.allow_registration,
    )
    for folder in function_folders(settings.functions):
        registry.put(assembler.build(folder))
    for function in uploads.load():
        registry.put(function)
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
    keeper = Keeper(
        registry, journal, readiness.missing, readiness.degraded, uploads=uploads, seal_period_s=settings.snapshot_s
    )

    async def register(name: str, files: Mapping[str, bytes], spec: bytes, media_type: str) -> tuple[Function, bool]:
        # loading a model takes long: off the loop, and the old version serves until the new one stands
        function = await asyncio.to_thread(uploads.register, name, files, spec, media_type)
        replaced = registry.put(function)
        if (word := await asyncio.to_thread(uploads.word, name)) is not None:
            journal.append(word)
        journal.expect(function.id)
        return function, replaced is not None

    async def unregister(name: str) -> bool:
        at = await asyncio.to_thread(uploads.remove, name)
        function = registry.remove(name)
        if function is None:
            return False
        # its results must not come back with another function of this name and version
        pipeline.invalidate(function, everything=True)
        journal.append(Unregistered(function.id, at))
        return True

    edge = Edge(
        registry=registry,
        pipeline=pipeline,
        access=AccessControl(settings.keys_path, required=settings.key_required),
        readiness=readiness,
        register=register,
        unregister=unregister,
        max_body_bytes=settings.max_body_bytes,
        max_upload_bytes=settings.max_upload_bytes,
        max_result_bytes=settings.max_result_bytes,
        max_keys_per_lookup=settings.max_keys_per_lookup,
        max_entries_per_insert=settings.max_entries_per_insert,
        journal_statistics=journal.statistics,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.callback(readers.shutdown, wait=False, cancel_futures=True)
            stack.callback(runners.shutdown, wait=False, cancel_futures=True)
            await stack.enter_async_context(keeper.running())
            stack.push_async_callback(pipeline.settle)
            yield

    return Hot(edge, _routes(edge, lifespan))


def inference_shape(settings: Settings) -> tuple[int, int]:
    """Return how many inferences run at once, and the threads of each.

    By itself, one inference at a time takes all cores up to four, so a lone miss is answered soonest; micro-batches
    keep the cores busy under load. Larger machines run several side by side.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    slots = settings.inference_workers or max(1, cores // 4)
    return slots, settings.inference_threads or max(1, cores // slots)


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


def _find(registry: Registry, name: str) -> Function | None:
    return next((each for each in registry if each.name == name), None)


def _routes(edge: Edge, lifespan: Callable[[FastAPI], object]) -> FastAPI:
    api = FastAPI(title="likewise", lifespan=lifespan, docs_url=None, redoc_url=None)  # type: ignore[arg-type]
    api.state.edge = edge
    for router in (operations.router, functions.router, entries.router):
        api.include_router(router)
    openapi.complete(api)

    def problem(error: LikewiseError) -> Response:
        status, body, headers = render(error)
        return Response(body, status, {name.decode(): value.decode() for name, value in headers})

    @api.exception_handler(LikewiseError)
    async def known(_: Request, error: LikewiseError) -> Response:
        return problem(error)

    @api.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        faults = "; ".join(f"`{fault['loc'][-1]}`: {fault['msg']}" for fault in error.errors()[:5])
        return problem(BadRequest(f"The request cannot be read: {faults}."))

    @api.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            return problem(MethodNotAllowed(f"{request.method} is not for {request.url.path}; see /openapi.json."))
        return problem(NotFound(f"Nothing at {request.url.path[:100]}; see /openapi.json for what there is."))

    @api.exception_handler(Exception)
    async def unforeseen(_: Request, error: Exception) -> Response:
        return problem(unexpected(error))

    return api
