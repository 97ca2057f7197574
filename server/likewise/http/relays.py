"""Frames of one camera meet one worker: whichever receives a frame hands it to the worker that keeps its stream."""

from __future__ import annotations

import math
import zlib
from collections import defaultdict
from dataclasses import fields, replace
from time import perf_counter
from typing import Any

from likewise.errors import DeadlineExceeded, LikewiseError
from likewise.function.function import Function
from likewise.function.registry import Registry
from likewise.http.answers import Rendered, answered, refused
from likewise.http.slots import Slots
from likewise.pipeline import Pipeline
from likewise.requests import Control, StreamTag
from likewise.types import Session
from likewise.workers.link import WorkerLink
from likewise.workers.relay import AT_ONCE

_CONTROL = [each.name for each in fields(Control) if each.name not in ("stream", "claim")]


class Relays:
    """Hands frames to the other workers of a server, and answers those that they hand over."""

    def __init__(self, registry: Registry, pipeline: Pipeline, workers: WorkerLink) -> None:
        self._registry = registry
        self._pipeline = pipeline
        self._workers = workers
        self._slots: defaultdict[int, Slots] = defaultdict(lambda: Slots(AT_ONCE))  # by worker
        workers.serve(self._serve)

    def owner(self, fn: Function, control: Control, account: str) -> int | None:
        """Return which other worker keeps the stream that a request is a frame of; None: this one, or no stream."""
        if control.stream is None or control.no_store or fn.streams is None:
            return None
        name = "\0".join((fn.id, account, control.stream.name))
        place = self._workers.place
        number = zlib.crc32(name.encode()) % place.count
        return None if number == place.number else number

    async def infer(
        self, owner: int, fn: Function, media_type: str, body: bytes, control: Control, session: Session | None
    ) -> Rendered:
        """Return what a worker answers to a frame; where it is away, what is computed here. Raises LikewiseError."""
        came = perf_counter()
        async with self._slots[owner].one("" if session is None else session.account):
            if control.timeout_s < math.inf:
                control = replace(control, timeout_s=control.timeout_s - (perf_counter() - came))
                if control.timeout_s <= 0.0:
                    raise DeadlineExceeded(
                        "The time in Request-Timeout passed before the worker that keeps the stream had room; give "
                        "more, or come back."
                    )
            found = await self._workers.ask(owner, self._asked(fn, media_type, control, session), body)
        if found is None:
            return answered(await self._pipeline.answer(fn, media_type, body, control, session), control)
        header, content = found
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in header["headers"]]
        return int(header["status"]), content, headers

    @staticmethod
    def _asked(fn: Function, media_type: str, control: Control, session: Session | None) -> dict[str, Any]:
        assert control.stream is not None
        return {
            "function": fn.id,
            "media_type": media_type,
            "control": {name: value for name in _CONTROL if (value := getattr(control, name)) != math.inf},
            "stream": control.stream._asdict(),
            "session": None if session is None else [session.device, session.account, session.may_insert],
        }

    async def _serve(self, asked: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        fn: Function | None = None
        try:
            fn = self._registry.get(asked["function"])
            control = Control(**asked["control"], stream=StreamTag(**asked["stream"]))
            session = None if asked["session"] is None else fn.devices.get(*asked["session"])
            answer = await self._pipeline.answer(fn, asked["media_type"], body, control, session)
            status, content, headers = answered(answer, control)
        except (LikewiseError, KeyError, TypeError, ValueError) as error:
            status, content, headers = refused(fn, error)
        pairs = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers]
        return {"status": status, "headers": pairs}, content
