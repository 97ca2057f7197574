"""The two hot routes, `infer` and `lookup`, as plain ASGI in front of FastAPI's router.

They share decoding, access control, limits, metrics and problem documents with the rest; they only skip what a router
and a dependency injector would add to every request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from likewise.errors import BadRequest, InvalidValue, LikewiseError, TooLarge, UnsupportedMediaType
from likewise.function.function import Function
from likewise.http import wire
from likewise.http.edge import Edge
from likewise.http.problems import Headers, render, unexpected
from likewise.types import NO_CONTROL, Answer, Control, Keys, Ticket, Session

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

PREFIX = "/v1/functions/"
_JSON_HEADER = (b"content-type", b"application/json")
_AGE_0 = (b"age", b"0")
_MISSED = (b"cache-status", b"likewise; fwd=miss; detail=none")
_PROBED = (b"cache-status", b"likewise; fwd=miss; detail=probe")
_BATCH = (b"cache-status", b"likewise; detail=batch")


@dataclass(frozen=True, slots=True)
class Begun:
    """What is left to do for an `infer` that the cache cannot answer; access checked, body read, policy asked."""

    fn: Function
    control: Control
    rest: Coroutine[Any, Any, Answer]
    """Has to be awaited: the policy counts on the result."""


class Head(NamedTuple):
    """What the head of a plain request says, parsed once for all that send the same bytes but for the length."""

    address: str
    infers: bool
    media_type: str
    authorization: bytes
    control: Control
    query: bytes
    device: str
    """Who asks, in its own words; empty: the connection stands for it."""
    max_bytes: int
    """Longest body that is answered as it arrives."""


Rendered = tuple[int, bytes, Headers]
"""Status, body and headers of an answer."""


class Hot:
    """ASGI application: answers the hot routes itself and hands everything else on."""

    def __init__(self, edge: Edge, rest: Asgi) -> None:
        self.edge = edge
        self._rest = rest
        self._pipeline = edge.pipeline
        self._registry = edge.registry
        self._access = edge.access
        self._max_body_bytes = edge.max_body_bytes
        self._max_keys = edge.max_keys_per_lookup
        self.heads: dict[bytes, Head] = {}
        """Heads as they come over the wire, less the digits of their length; filled and bounded by the protocol."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI scope."""
        if scope["type"] == "http" and scope["method"] == "POST":
            path: str = scope["path"]
            if path.startswith(PREFIX):
                if path.endswith("/infer"):
                    return await self._serve(path[14:-6], True, scope, receive, send)
                if path.endswith("/lookup"):
                    return await self._serve(path[14:-7], False, scope, receive, send)
        return await self._rest(scope, receive, send)

    async def _serve(self, address: str, infers: bool, scope: Scope, receive: Receive, send: Send) -> None:
        fn: Function | None = None
        try:
            content_type = cache_control = authorization = length = named = b""
            for name, value in scope["headers"]:
                if name == b"content-type":
                    content_type = value
                elif name == b"cache-control":
                    cache_control = value
                elif name == b"authorization":
                    authorization = value
                elif name == b"content-length":
                    length = value
                elif name == b"likewise-device":
                    named = value
                elif name == b"content-encoding" and value not in (b"", b"identity"):
                    raise UnsupportedMediaType("Content-Encoding is not supported here; send the body as it is.")
            self._access.check(authorization, "infer")
            fn = self._registry.get(address)
            limit = fn.max_body_bytes if infers else self._max_body_bytes
            body = await read_body(receive, length, limit)
            control = wire.parse_control(cache_control) if cache_control else NO_CONTROL
            media_type = wire.media_type(content_type)
            session = _session(fn, wire.device(named) or connection_name(scope.get("client")), control)
            if infers:
                answer = await self._pipeline.answer(fn, media_type, body, control, session)
                status, content, headers = answered(answer, control)
            else:
                query = scope["query_string"]
                if media_type in (wire.KEYS, wire.JSON):
                    status, content, headers = self._lookup(fn, media_type, body, control, query, session)
                else:
                    status, content, headers = await self._lookup_input(fn, media_type, body, control, query, session)
        except Exception as error:  # nothing a device sends may end the server
            status, content, headers = _refused(fn, error)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def head(self, scope: Scope) -> Head | None:
        """Return the head of a request that can be answered as it arrives: no more is said than what is needed."""
        path = scope["path"]
        if scope["method"] != "POST" or not path.startswith(PREFIX):
            return None
        address, _, verb = path[14:].rpartition("/")
        found = dict(scope["headers"])
        media_type = wire.media_type(found.get(b"content-type", b""))
        plain = (
            verb in ("infer", "lookup")
            and len(found) == len(scope["headers"])
            and found.get(b"connection", b"keep-alive").lower() == b"keep-alive"
            and found.get(b"content-encoding", b"identity") in (b"", b"identity")
            and (verb == "infer" or media_type in (wire.KEYS, wire.JSON))
            and not found.keys() & {b"transfer-encoding", b"upgrade", b"expect"}
        )
        if not plain:
            return None
        try:
            control = wire.parse_control(found.get(b"cache-control", b""))
            device = wire.device(found.get(b"likewise-device", b""))
            max_bytes = self._registry.get(address).inline_bytes if verb == "infer" else self._max_body_bytes
        except LikewiseError:
            return None
        authorization = found.get(b"authorization", b"")
        query = scope["query_string"]
        return Head(address, verb == "infer", media_type, authorization, control, query, device, max_bytes)

    def answer_now(self, head: Head, body: bytes, connection: str) -> Answer | Rendered | Begun:
        """Answer a whole request: the answer itself for most hits, else what to send or, of `infer`, what is left.

        connection: stands for the device where the head does not name it. Never raises.
        """
        fn: Function | None = None
        try:
            self._access.check(head.authorization, "infer")
            fn = self._registry.get(head.address)
            session = _session(fn, head.device or connection, head.control)
            if head.infers:
                check_length(len(body), fn.max_body_bytes)
                found = self._pipeline.begin(fn, head.media_type, body, head.control, session)
                return found if isinstance(found, Answer) else Begun(fn, head.control, found)
            if head.media_type == wire.KEYS:
                key_type = _key_type(fn, head.query) if head.query else fn.key_type
                key = fn.key(body, key_type)
                if key is not None:
                    answer = self._pipeline.lookup(fn, key, key_type, head.control, session)
                    return answer if type(answer) is Answer else answered(answer, head.control)
            return self._lookup(fn, head.media_type, body, head.control, head.query, session)
        except Exception as error:  # nothing a device sends may end the server
            return _refused(fn, error)

    async def finish(self, begun: Begun) -> Rendered:
        """Return what to send for what `answer_now` began. Never raises."""
        try:
            return answered(await begun.rest, begun.control)
        except Exception as error:  # as above
            return _refused(begun.fn, error)

    def _lookup(
        self, fn: Function, media_type: str, body: bytes, control: Control, query: bytes, session: Session | None
    ) -> Rendered:
        key_type = _key_type(fn, query) if query else fn.key_type
        if media_type == wire.KEYS:
            key = fn.key(body, key_type)
            if key is not None:
                return answered(self._pipeline.lookup(fn, key, key_type, control, session), control)
            keys = wire.keys_from_bytes(body, fn.dimensions[key_type], fn.owner(key_type), self._max_keys)
            keys = fn.normalized(keys, key_type)
            if len(keys) == 1:
                return answered(self._pipeline.lookup(fn, keys[0], key_type, control, session), control)
            return self._batch(fn, keys, key_type, control, session)
        document = wire.parse_json(body)
        if not isinstance(document, dict) or ("key" in document) == ("keys" in document):
            raise BadRequest('The body has to be {"key": [numbers]} or {"keys": [[numbers], ...]}.')
        single = "key" in document
        rows = [document["key"]] if single else document["keys"]
        keys = wire.keys_from_lists(rows, fn.dimensions[key_type], fn.owner(key_type), self._max_keys)
        keys = fn.normalized(keys, key_type)
        if single:
            answer = self._pipeline.lookup(fn, keys[0], key_type, control, session)
            content = wire.dumps(wire.answer_fields(answer))
            return 200, content, [_JSON_HEADER, _length(content), *_status_headers(answer, control)]
        return self._batch(fn, keys, key_type, control, session)

    async def _lookup_input(
        self, fn: Function, media_type: str, body: bytes, control: Control, query: bytes, session: Session | None
    ) -> Rendered:
        key_type = _key_type(fn, query) if query else fn.key_type
        if key_type != fn.key_type:
            raise InvalidValue(f"A raw input is looked up by key type `{fn.key_type}`; leave key_type out.")
        _, key = await fn.read(media_type, body)
        return answered(self._pipeline.lookup(fn, key, key_type, control, session), control)

    def _batch(self, fn: Function, keys: Keys, key_type: str, control: Control, session: Session | None) -> Rendered:
        answers = self._pipeline.lookup_many(fn, keys, key_type, control, session)
        content = wire.dumps({"answers": [wire.answer_fields(answer) for answer in answers]})
        return 200, content, [_JSON_HEADER, _length(content), _BATCH, _AGE_0]


def connection_name(client: tuple[str, int] | None) -> str:
    """Return what stands for a device that does not name itself: the address that its connection comes from."""
    return f"{client[0]}:{client[1]}" if client else ""


def _session(fn: Function, device: str, control: Control) -> Session | None:
    return fn.devices.session(device) if device and not control.no_store else None


def _refused(fn: Function | None, error: Exception) -> Rendered:
    """Return the problem to send, counted where the function is known."""
    told = error if isinstance(error, LikewiseError) else unexpected(error)
    if fn is not None:
        fn.metrics.fail(told.slug)
    return render(told)


def answered(answer: Answer | Ticket, control: Control) -> Rendered:
    """Return what to send for an answer whose result is the body."""
    if isinstance(answer, Ticket):
        return 204, b"", _status_headers(answer, control)
    body = answer.result.body
    media_type = answer.result.media_type
    content_type = _JSON_HEADER if media_type == wire.JSON else (b"content-type", media_type.encode("latin-1"))
    return 200, body, [content_type, _length(body), *_status_headers(answer, control)]


def _status_headers(answer: Answer | Ticket, control: Control) -> Headers:
    if isinstance(answer, Ticket):
        status = _PROBED if answer.outcome == "probe" else _MISSED
        return [status, _AGE_0, (b"likewise-ticket", answer.token.encode())]
    headers = [(b"cache-status", wire.cache_status(answer, control)), (b"age", b"%d" % answer.age_s)]
    if answer.entry_id >= 0:
        headers.append((b"likewise-entry", b"%016x" % answer.entry_id))
    return headers


def _length(body: bytes) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % len(body)


def _key_type(fn: Function, query: bytes) -> str:
    for pair in query.decode("latin-1").split("&"):
        name, _, value = pair.partition("=")
        if name == "key_type":
            if value not in fn.dimensions:
                known = ", ".join(f"`{each}`" for each in fn.dimensions)
                raise InvalidValue(f"`{fn.id}` has no key type `{value[:64]}`; it has {known}.")
            return value
    return fn.key_type


def check_length(length: int, limit: int) -> None:
    """Raise TooLarge for a body of more bytes than the limit."""
    if length > limit:
        raise TooLarge(f"The body has {length} bytes, the limit here is {limit}; send less.")


async def read_body(receive: Receive, content_length: bytes, limit: int) -> bytes:
    """Return a request's body. Raises TooLarge before reading where the length says so, else as soon as it shows."""
    if content_length:
        check_length(int(content_length), limit)
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        chunks = [body]
        size = len(body)
        while message.get("more_body", False):
            if size > limit:
                break
            message = await receive()
            if message["type"] == "http.disconnect":
                raise BadRequest("The connection ended before the body did.")
            chunk = message.get("body", b"")
            size += len(chunk)
            chunks.append(chunk)
        body = b"".join(chunks)
    if len(body) > limit:
        raise TooLarge(f"The body has over {limit} bytes, the limit here; send less.")
    return body
