"""Answers as they are sent: status, body and headers."""

from __future__ import annotations

from likewise.errors import LikewiseError
from likewise.events import Answered
from likewise.function.function import Function
from likewise.http import wire
from likewise.http.problems import Headers, render, unexpected
from likewise.requests import Answer, Control, Outcome, Ticket

Rendered = tuple[int, bytes, Headers]
"""Status, body and headers of an answer."""

_JSON_HEADER = (b"content-type", b"application/json")
_AGE_0 = (b"age", b"0")
_MISSED = (b"cache-status", b"likewise; fwd=miss; detail=none")
_PROBED = (b"cache-status", b"likewise; fwd=miss; detail=probe")
_BYPASSED = (b"cache-status", b"likewise; fwd=bypass")
_BATCH = (b"cache-status", b"likewise; detail=batch")


def answered(answer: Answer | Ticket, control: Control) -> Rendered:
    """Return what to send for an answer whose result is the body."""
    if isinstance(answer, Ticket):
        return 204, b"", status_headers(answer, control)
    body = answer.result.body
    media_type = answer.result.media_type
    content_type = _JSON_HEADER if media_type == wire.JSON else (b"content-type", media_type.encode("latin-1"))
    return 200, body, [content_type, _length(body), *status_headers(answer, control)]


def as_document(answer: Answer | Ticket, control: Control) -> Rendered:
    """Return what to send for an answer whose result is a field of a JSON document."""
    content = wire.dumps(wire.answer_fields(answer))
    return 200, content, [_JSON_HEADER, _length(content), *status_headers(answer, control)]


def as_batch(rows: list[dict[str, object]]) -> Rendered:
    """Return what to send for the answers to many keys; rows: the fields of each."""
    content = wire.dumps({"answers": rows})
    return 200, content, [_JSON_HEADER, _length(content), _BATCH, _AGE_0]


def refused(fn: Function | None, error: Exception) -> Rendered:
    """Return the problem to send, counted where the function is known."""
    told = error if isinstance(error, LikewiseError) else unexpected(error)
    if fn is not None:
        fn.emit(Answered(fn.id, None, told.slug))
    return render(told)


def status_headers(answer: Answer | Ticket, control: Control) -> Headers:
    """Return the headers that say how an answer came about."""
    if isinstance(answer, Ticket):
        status = {Outcome.PROBE: _PROBED, Outcome.BYPASS: _BYPASSED}.get(answer.outcome, _MISSED)
        # a lookup that leaves no trace has no ticket either
        return [status, _AGE_0, *([(b"likewise-ticket", answer.token.encode())] if answer.token else [])]
    headers = [(b"cache-status", wire.cache_status(answer, control)), (b"age", b"%d" % answer.age_s)]
    if answer.variant:
        headers.append((b"likewise-source", answer.variant.encode()))
    if answer.entry_id >= 0:
        headers.append((b"likewise-entry", b"%016x" % answer.entry_id))
    return headers


def _length(body: bytes) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % len(body)
