"""The two hot routes, `infer` and `lookup`, as plain ASGI in front of FastAPI's router.

They share decoding, access control, limits, metrics and problem documents with the rest; they only skip what a router
and a dependency injector would add to every request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from likewise.access import Principal
from likewise.errors import BadRequest, InvalidValue, LikewiseError, TooLarge, UnsupportedMediaType
from likewise.function.function import Function
from likewise.http import wire
from likewise.http.admission import fields_of
from likewise.http.answers import Rendered, answered, refused
from likewise.http.edge import Edge
from likewise.http.exchange import CAME
from likewise.http.leased import FIELD, Lessee, lessee
from likewise.http.limits import Limits
from likewise.http.lookups import INLINE_BYTES, Asker, Later, Lookups
from likewise.http.problems import in_words
from likewise.http.relays import Relays
from likewise.http.turns import HEAVY
from likewise.requests import Answer, Control, Ticket
from likewise.types import Session

__all__ = ["PREFIX", "Begun", "Head", "Hot", "Rendered", "answered", "connection_name", "read_body"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

PREFIX = "/v1/functions/"


@dataclass(frozen=True, slots=True)
class Begun:
    """What is left to do for a request that cannot be answered at once; access checked, body read, policy asked."""

    fn: Function
    control: Control
    rest: Coroutine[Any, Any, Answer] | Later
    """Has to be awaited: the policy counts on the result."""


@dataclass(slots=True)
class Lately:
    """What requests with one head lately were, whoever sent them."""

    load: int = HEAVY
    """How much work, as `TakesTurns` has it of one connection."""


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
    lately: Lately


class Hot:
    """ASGI application: answers the hot routes itself and hands everything else on."""

    def __init__(self, edge: Edge, rest: Asgi, limits: Limits) -> None:
        self.edge = edge
        self.limits = limits
        self.rest = rest
        """Answers everything but the hot routes."""
        self._pipeline = edge.pipeline
        self._registry = edge.registry
        self._access = edge.access
        self._max_body_bytes = edge.max_body_bytes
        self._relays = Relays(edge.registry, edge.pipeline, edge.workers) if edge.workers is not None else None
        self._lookups = Lookups(edge.pipeline, edge.max_keys_per_lookup, edge.max_answer_bytes)
        self.heads: dict[bytes, Head] = {}
        """Heads as they come over the wire, less the digits of their length; filled and bounded by the protocol."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI scope."""
        if scope["type"] == "http":
            if scope["method"] == "POST":
                path: str = scope["path"]
                if path.startswith(PREFIX):
                    if path.endswith("/infer"):
                        return await self._serve(path[14:-6], True, scope, receive, send)
                    if path.endswith("/lookup"):
                        return await self._serve(path[14:-7], False, scope, receive, send)
            elif scope["method"] == "HEAD":  # whoever sends the answer leaves its body out
                scope = {**scope, "method": "GET"}
        elif scope["type"] == "lifespan":
            send = in_words(send)
        return await self.rest(scope, receive, send)

    async def _serve(self, address: str, infers: bool, scope: Scope, receive: Receive, send: Send) -> None:
        fn: Function | None = None
        try:
            fields = fields_of(scope["headers"])
            principal = self.edge.admit(fields, "infer")
            if fields.get(b"content-encoding", b"identity") not in (b"", b"identity"):
                raise UnsupportedMediaType("Content-Encoding is not supported here; send the body as it is.")
            fn = self._registry.get(address)
            control = wire.parse_control(fields.get(b"cache-control", b""))
            if infers:
                control = wire.with_stream(control, fields.get(b"likewise-stream", b""))
                control = wire.with_timeout(control, fields.get(b"request-timeout", b""))
            media_type = wire.media_type(fields.get(b"content-type", b""))
            device = wire.device(fields.get(b"likewise-device", b""))
            session = _session(fn, device, connection_name(scope.get("client")), control, principal)
            query = b"" if infers else scope["query_string"]
            key_type = _key_type(fn, query) if query else fn.key_type
            limit = self._limit(fn, infers, media_type, key_type)
            body = await read_body(receive, fields.get(b"content-length", b""), limit)
            now = perf_counter()
            asker = Asker(wire.after(control, now - scope.get(CAME, now)), session)
            tenant = lessee(fn, fields, None if control.no_store else asker.session, self._pipeline)
            relayed = self._relayed(fn, media_type, body, asker, principal) if infers and tenant is None else None
            if relayed is not None:
                status, content, headers = await relayed
            elif tenant is not None:
                status, content, headers = await self._serve_lessee(
                    tenant, fn, infers, media_type, body, key_type, asker
                )
            elif infers:
                ticket = fields.get(b"likewise-ticket", b"").decode("latin-1") if principal.may_insert else ""
                answer = await self._pipeline.answer(fn, media_type, body, asker.control, asker.session, ticket)
                status, content, headers = answered(answer, control)
            elif media_type in (wire.KEYS, wire.JSON):
                found = self._lookup(fn, media_type, body, key_type, asker)
                status, content, headers = found if isinstance(found, tuple) else await found
            else:
                status, content, headers = await self._lookup_input(fn, media_type, body, key_type, asker)
        except Exception as error:  # nothing a device sends may end the server
            status, content, headers = refused(fn, error)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _serve_lessee(
        self, tenant: Lessee, fn: Function, infers: bool, media_type: str, body: bytes, key_type: str, asker: Asker
    ) -> Rendered:
        """Answer a device that has a lease, or wants one. Leases are about the primary key type, one key at a time."""
        control = tenant.control(asker.control)
        answer: Answer | Ticket
        try:
            if infers:
                answer = await self._pipeline.answer(fn, media_type, body, control, asker.session)
            elif media_type != wire.KEYS or key_type != fn.key_type:
                raise InvalidValue(
                    f"Likewise-Lease goes with a raw input, or with one key of `{fn.key_type}` in bytes; leave it out."
                )
            else:
                key = fn.key_types[key_type].from_bytes(body, 1)[0]
                answer = self._pipeline.lookup(fn, key, key_type, control, asker.session)
        except BaseException:
            tenant.refuse()
            raise
        status, content, headers = answered(answer, asker.control)
        return status, content, [*headers, *tenant.headers(answer)]

    def _limit(self, fn: Function, infers: bool, media_type: str, key_type: str) -> int:
        """Return the most bytes that a body may have."""
        if infers or media_type not in (wire.KEYS, wire.JSON):
            return fn.max_body_bytes
        if media_type == wire.JSON:
            return min(self._max_body_bytes, self._lookups.json_limit(fn.key_types[key_type].dimension))
        return self._max_body_bytes

    def head(self, scope: Scope) -> Head | None:
        """Return the head of a request that can be answered as it arrives: no more is said than what is needed."""
        path = scope["path"]
        if scope["method"] != "POST" or not path.startswith(PREFIX):
            return None
        address, _, verb = path[14:].rpartition("/")
        if verb not in ("infer", "lookup"):
            return None
        infers = verb == "infer"
        try:
            found = fields_of(scope["headers"])
            media_type = wire.media_type(found.get(b"content-type", b""))
            if (
                len(found) < len(scope["headers"])
                or found.get(b"connection", b"keep-alive").lower() != b"keep-alive"
                or found.get(b"content-encoding", b"identity") not in (b"", b"identity")
                or not (infers or media_type in (wire.KEYS, wire.JSON))
                or found.keys() & {b"transfer-encoding", b"upgrade", b"expect", b"likewise-ticket", FIELD}
            ):
                return None
            if not found.get(b"authorization"):
                self.edge.origins.check(found)
            control = wire.parse_control(found.get(b"cache-control", b""))
            if infers:
                control = wire.with_stream(control, found.get(b"likewise-stream", b""))
                control = wire.with_timeout(control, found.get(b"request-timeout", b""))
                if control.stream is not None and control.stream.number >= 0:
                    return None  # another head for each frame
            device = wire.device(found.get(b"likewise-device", b""))
            if infers:
                max_bytes = self._registry.get(address).reader.inline_bytes
            else:
                max_bytes = self._max_body_bytes if media_type == wire.KEYS else INLINE_BYTES
        except LikewiseError:
            return None
        authorization = found.get(b"authorization", b"")
        query = scope["query_string"]
        return Head(address, infers, media_type, authorization, control, query, device, max_bytes, Lately())

    def answer_now(self, head: Head, body: bytes, connection: str, waited_s: float = 0.0) -> Answer | Rendered | Begun:
        """Answer a whole request: the answer itself for most hits, else what to send, or what is left to do for it.

        connection: stands for the device where the head does not name it. waited_s: since the request came.
        Never raises.
        """
        fn: Function | None = None
        try:
            principal = self._access.check(head.authorization, "infer")
            fn = self._registry.get(head.address)
            control = wire.after(head.control, waited_s) if waited_s else head.control
            session = _session(fn, head.device, connection, control, principal)
            if head.infers:
                check_length(len(body), fn.max_body_bytes)
                if control.stream is not None:
                    relayed = self._relayed(fn, head.media_type, body, Asker(control, session), principal)
                    if relayed is not None:
                        return Begun(fn, control, relayed)
                begun = self._pipeline.begin(fn, head.media_type, body, control, session)
                return begun if isinstance(begun, Answer) else Begun(fn, control, begun)
            key_type = _key_type(fn, head.query) if head.query else fn.key_type
            if head.media_type == wire.KEYS:
                key = fn.key_types[key_type].plain(body)
                if key is not None:
                    answer = self._pipeline.lookup(fn, key, key_type, control, session)
                    return answer if type(answer) is Answer else answered(answer, control)
            found = self._lookup(fn, head.media_type, body, key_type, Asker(control, session))
            return found if isinstance(found, tuple) else Begun(fn, control, found)
        except Exception as error:  # nothing a device sends may end the server
            return refused(fn, error)

    def refuse(self, head: Head, error: LikewiseError) -> Rendered:
        """Return the answer to a request that is not even read."""
        try:
            return refused(self._registry.get(head.address), error)
        except LikewiseError:  # it was registered when the head came first
            return refused(None, error)

    async def finish(self, begun: Begun) -> Answer | Rendered:
        """Return the answer to what `answer_now` began, or what to send for it. Never raises."""
        try:
            return await begun.rest
        except Exception as error:  # as above
            return refused(begun.fn, error)

    def _relayed(self, fn: Function, media_type: str, body: bytes, asker: Asker, principal: Principal) -> Later | None:
        """Return what awaits another worker's answer to a frame of a stream that it keeps; None: answer it here."""
        if self._relays is None:
            return None
        owner = self._relays.owner(fn, asker.control, principal.account)
        if owner is None:
            return None
        return self._relays.infer(owner, fn, media_type, body, asker.control, asker.session)

    def _lookup(self, fn: Function, media_type: str, body: bytes, key_type: str, asker: Asker) -> Rendered | Later:
        if media_type == wire.JSON:
            return self._lookups.json(fn, body, key_type, asker)
        return self._lookups.binary(fn, body, key_type, asker)

    async def _lookup_input(self, fn: Function, media_type: str, body: bytes, key_type: str, asker: Asker) -> Rendered:
        if key_type != fn.key_type:
            raise InvalidValue(f"A raw input is looked up by key type `{fn.key_type}`; leave key_type out.")
        found = await self._pipeline.lookup_input(fn, media_type, body, asker.control, asker.session)
        return answered(found, asker.control)


def connection_name(client: tuple[str, int] | None) -> str:
    """Return what stands for a device that does not name itself: the address that its connection comes from."""
    return f"{client[0]}:{client[1]}" if client else ""


def _session(fn: Function, device: str, connection: str, control: Control, principal: Principal) -> Session | None:
    """Return the session of whoever asks; None where it is not known.

    device: the name that it gives itself; where that is empty, the connection stands for it.
    One that is to leave no trace is not remembered; what it has computed counts for its account all the same.
    """
    if control.no_store:
        return Session(-1, principal.account, principal.may_insert)
    if not (device or connection):
        return None
    if device:
        return fn.devices.get(device, principal.account, principal.may_insert)
    return fn.devices.get(connection, principal.account, principal.may_insert, connection)


def _key_type(fn: Function, query: bytes) -> str:
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name == "key_type":
            if value not in fn.key_types:
                known = ", ".join(f"`{each}`" for each in fn.key_types)
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
    if message["type"] == "http.disconnect":
        raise BadRequest("The connection ended before the body did.")
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
