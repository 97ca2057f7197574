"""Computing on the device: by a function of the app's, or by the function's own model; shared with the server later."""

from __future__ import annotations

import logging
import math
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from likewise_client import _calls as calls
from likewise_client import _entries as entries
from likewise_client._answer import Answer, Computed
from likewise_client._calls import Call, Local
from likewise_client._device import disk, models, onnx
from likewise_client._device.choice import Choice
from likewise_client._device.outbox import Outbox
from likewise_client._errors import InvalidInput, LikewiseClientError, ServerProblem, Unavailable
from likewise_client._wire import JSON, encode_result

if TYPE_CHECKING:
    from likewise_client._exchange import Exchange, Steps
    from likewise_client._telemetry import Trail

log = logging.getLogger("likewise_client")

Where = Literal["edge", "device", "auto"]
"""Where `infer` computes: on the server, on this device, or where that is cheaper now."""

BATCH, BATCH_BYTES = 100, 1 << 20
SEND_AT = 20
"""Results that wait from which on they are sent, where no server answers anyway."""
SEND_AGAIN_S = 5.0
ASK_AGAIN_S = 30.0


@dataclass(frozen=True)
class OnDevice:
    """How a client computes on the device."""

    max_bytes: int = 64 << 20
    """Largest model that is fetched: its file, packed or not, and its memory where the server knows it."""
    least_agreement: float = 1.0
    """1: the full model alone. Below that variants, too, whose answers are outside of the accuracy target's promise."""
    path: str | PathLike[str] | None = None
    """Folder for models and for results that wait, across restarts of the app, for one client at a time."""
    max_waiting: int = 1000
    """Results that wait to be shared; then the oldest go, and are counted."""
    max_waiting_bytes: int = 4 << 20
    device_w: float = 0.0
    """Watts that the device takes while it computes, and"""
    radio_w: float = 0.0
    """while it waits for an answer."""
    battery: Callable[[], float] | None = None
    """Returns what a joule is worth now, in seconds; None: nothing."""

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_waiting", "max_waiting_bytes"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise InvalidInput(f"OnDevice: {name} is a whole number, at least 1, not {getattr(self, name)!r}")
        if not 0.0 < self.least_agreement <= 1.0:
            raise InvalidInput(f"OnDevice: least_agreement is above 0, at most 1, not {self.least_agreement!r}")
        if not (0.0 <= self.device_w < 1e6 and 0.0 <= self.radio_w < 1e6):
            raise InvalidInput("OnDevice: device_w and radio_w are watts, at least 0")


@dataclass(frozen=True)
class OnDeviceInfo:
    """What computing on the device has come to, over all functions."""

    waiting: int
    """Results that wait to be shared."""
    sent: int
    dropped: int
    """For want of room."""
    refused: int
    """By the server, for good."""


def checked_where(where: Any) -> Where:
    """Return where to compute. Raises InvalidInput."""
    if where not in ("edge", "device", "auto"):
        raise InvalidInput(f"compute is 'edge', 'device' or 'auto', not {where!r}")
    return cast(Where, where)


class Computing:
    """What one client computes by itself. Safe to share between threads."""

    def __init__(self, settings: OnDevice, clock: Callable[[], float], rng: random.Random) -> None:
        """Set up."""
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._folder = None if settings.path is None else Path(settings.path)
        self._outbox = Outbox(settings.max_waiting, settings.max_waiting_bytes, self._folder)
        self._apps: dict[str, Callable[[Any], Any]] = {}
        self._models: dict[str, models.Model] = {}
        self._ask_at: dict[str, float] = {}
        self._choices: dict[str, Choice] = {}
        self._sending = threading.Lock()
        self._sent = self._refused = 0
        self._send_at = -math.inf

    def __len__(self) -> int:
        """Return how many results wait to be shared."""
        return len(self._outbox)

    def computes(self, function: str, compute: Callable[[Any], Any]) -> None:
        """Take a function of the app's."""
        self._apps[function] = compute

    def info(self) -> OnDeviceInfo:
        """Return the counters."""
        return OnDeviceInfo(len(self._outbox), self._sent, self._outbox.dropped, self._refused)

    def answer(
        self, exchange: Exchange, call: Call[Answer], local: Local, trail: Trail, where: Where, *, patient: bool
    ) -> Steps[Answer]:
        """Answer on the device or by a server, as asked, or as was learned; on the device where no server can be."""
        function = local.function
        app = self._apps.get(function)
        model = None if app is not None else (yield from self._model(exchange, function))
        if app is None and model is None:
            if where == "device":
                raise InvalidInput(
                    f"this device cannot compute {function!r}: give it a function with client.computes, or have "
                    "likewise-client[onnx] and a server whose spec says share_model = true, of a model that fits"
                )
            answer: Answer = yield from exchange.reach(call, trail, patient=patient)
            return answer
        choice = self._choices.setdefault(function, Choice(self._rng, self._settings.device_w, self._settings.radio_w))
        started, tried = self._clock(), False
        if where == "auto" and choice.way(self._settings.battery() if self._settings.battery else 0.0) == "edge":
            tried = True
            try:
                answer = yield from exchange.reach(call, trail, patient=False)
            except (Unavailable, ServerProblem) as error:
                if isinstance(error, ServerProblem) and error.status < 500:
                    raise
                log.info("%s: computed on the device, as no server could be asked: %s", function, error)
            else:
                choice.edge.add(self._clock() - started)
                if len(self._outbox) and self._clock() >= self._send_at:
                    yield from self.send(exchange)
                return answer
        began = self._clock()
        result = yield from self._computed(exchange, call, local, app, model)
        if isinstance(result, Answer):
            return result
        cost_s = max(0.0, self._clock() - began)
        choice.device.add(cost_s)
        if tried:
            choice.edge.add(self._clock() - started)
        name, variant = (function, "") if model is None else (model.function, model.variant)
        if not variant:  # only what the full model says is shared
            self._keep(name, local, result, cost_s)
        if len(self._outbox) >= SEND_AT and self._clock() >= self._send_at:
            yield from self.send(exchange)
        return _answer(result, variant)

    def _computed(
        self,
        exchange: Exchange,
        call: Call[Answer],
        local: Local,
        app: Callable[[Any], Any] | None,
        model: models.Model | None,
    ) -> Steps[Any]:
        """Return the result, or the server's answer where the model cannot read the input."""
        if app is not None:
            return (yield exchange.compute(lambda: app(local.value)))
        assert model is not None
        try:
            return (yield exchange.compute(lambda: model.run(local.value, local.body, local.media_type), blocking=True))
        except Exception as error:  # what cannot be computed here is the server's to compute, or to refuse
            log.debug("%s: not computed on the device: %r", local.function, error)
        return (yield from exchange.run(call))

    def _keep(self, function: str, local: Local, result: Any, cost_s: float) -> None:
        computed = Computed(result, input=local.body, media_type=local.media_type, cost_s=cost_s)
        try:
            self._outbox.add(function, entries.encoded_entry(computed))
        except InvalidInput as error:
            log.warning("%s: a computed result cannot be shared: %s", function, error)

    def send(self, exchange: Exchange) -> Steps[int]:
        """Share what waits, oldest first, as far as a server takes it now; return how many still wait."""
        if not self._sending.acquire(blocking=False):
            return len(self._outbox)
        try:
            count, self._send_at = BATCH, self._clock() + SEND_AGAIN_S
            while True:
                until, function, taken = self._outbox.batch(count, BATCH_BYTES)
                if not taken:
                    break
                try:
                    yield from exchange.run(entries.insert_encoded(function, taken), patient=False)
                    self._sent += len(taken)
                except ServerProblem as error:
                    if error.status >= 500 or error.status in (401, 403, 408, 429):
                        break
                    if error.status != 404 and len(taken) > 1:  # one by one, to find what is refused
                        count = 1
                        continue
                    if error.status == 404:
                        self._models.pop(function.partition("@")[0], None)
                    self._refused += len(taken)
                    log.warning("%s: %d computed results were refused: %s", function, len(taken), error)
                except LikewiseClientError as error:
                    log.info("%s: computed results wait: %s", function, error)
                    break
                self._outbox.done(until)
        finally:
            self._sending.release()
        return len(self._outbox)

    def close(self) -> None:
        """Say what is lost, if anything is, and close the file."""
        if len(self._outbox) and self._folder is None:
            log.warning("%d computed results were not shared; OnDevice(path=...) keeps them", len(self._outbox))
        self._outbox.close()

    def _model(self, exchange: Exchange, function: str) -> Steps[models.Model | None]:
        """Return the function's own model, fetched once; None where there is none for this device."""
        found = self._models.get(function)
        if found is not None or self._clock() < self._ask_at.get(function, 0.0) or not onnx.available():
            return found
        self._ask_at[function] = self._clock() + ASK_AGAIN_S
        try:
            listing = yield from self._listing(exchange, function)
            for listed in models.fitting(listing, self._settings.max_bytes, self._settings.least_agreement):
                content = yield from self._content(exchange, str(listing["function"]), listed)
                found = models.load(content, listing, listed)
                if found is not None:
                    self._models[function] = found
                    return found
        except Exception as error:  # a server may say anything, and ONNX Runtime's errors are no closed list
            log.debug("%s: its model cannot be had or run here: %r", function, error)
        return None

    def _listing(self, exchange: Exchange, function: str) -> Steps[dict[str, Any]]:
        try:
            listing = yield from exchange.run(calls.variants(function), patient=False)
        except Unavailable:
            kept = None if self._folder is None else disk.load_document(self._folder, function)
            if kept is None:
                raise
            return kept
        if self._folder is not None:
            disk.save_document(self._folder, function, listing)
        return listing

    def _content(self, exchange: Exchange, function: str, listed: models.Listed) -> Steps[bytes]:
        content = None if self._folder is None else disk.load_file(self._folder, listed.sha256)
        if content is None:
            packed = yield from exchange.run(calls.variant(function, listed.file), patient=False)
            content = models.unpacked(packed, listed)
            if self._folder is not None:
                disk.save_file(self._folder, listed.sha256, content)
        return content


def _answer(result: Any, variant: str) -> Answer:
    sent = encode_result(result)
    body = entries.body_of(sent)
    media_type = str(sent.get("media_type", JSON))
    return Answer(
        "variant" if variant else "miss", result, body, media_type, detail="computed", variant=variant, source="device"
    )
