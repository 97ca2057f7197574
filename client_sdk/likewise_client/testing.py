"""A likewise server for the tests of apps: in memory, no sockets, no waiting.

    server = FakeServer()
    server.function("signs", compute=lambda body: {"label": "stop"}, radius=0.5)
    client = Client(transport=server)
    assert client.infer("signs", b"...", media_type="image/png").outcome == "miss"
    assert server.calls[-1].route == "infer"

It speaks the protocol of the real one as far as the client does. A raw input is its own key: an array is
compared by distance, other bytes only with themselves. Reuse is decided by a fixed radius.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import httpx
import numpy as np

from likewise_client._errors import BY_SLUG
from likewise_client._fake import FakeFunction, Key, RefusedError, StoredEntry, input_key, json_key, vector
from likewise_client._fake_lease import LEASE, description, told, wants_probe, warm_up
from likewise_client._wire import JSON, OCTETS, encode_json

__all__ = ["FakeFunction", "FakeServer", "RecordedCall"]


@dataclass(frozen=True)
class RecordedCall:
    """One request that reached the server."""

    node: str
    """Base URL it was sent to."""
    method: str
    function: str
    """As addressed; empty for routes without one."""
    route: str
    """Last part of the path: infer, lookup, entries, functions or stats."""
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes


class FakeServer(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """One or several nodes that share all entries, as a transport for Client and AsyncClient."""

    def __init__(self, *, access_key: str | None = None, clock: Callable[[], float] = time.time) -> None:
        """Serve nothing yet. access_key: demand it. clock: seconds, for ages and expiry."""
        self.calls: list[RecordedCall] = []
        self._functions: dict[str, FakeFunction] = {}
        self._access_key = access_key
        self._clock = clock
        self._stopped: set[str] = set()
        self._failures: list[Callable[[], httpx.Response]] = []
        self._lock = threading.RLock()

    def function(
        self,
        name: str,
        compute: Callable[[bytes], Any] | None = None,
        *,
        radius: float = 0.0,
        ttl_s: float = 3600.0,
        dimension: int | None = None,
    ) -> FakeFunction:
        """Serve a function, or replace it with an empty one."""
        self._functions[name] = FakeFunction(name, compute, radius, ttl_s, dimension)
        return self._functions[name]

    def stop(self, node: str | None = None) -> None:
        """Refuse connections to a node, or to all."""
        self._stopped.add(_base(httpx.URL(node)) if node else "*")

    def start(self, node: str | None = None) -> None:
        """Accept connections to a node again, or to all."""
        if node:
            self._stopped.discard(_base(httpx.URL(node)))
        else:
            self._stopped.clear()

    def fail(
        self, problem: int | Exception, *, slug: str = "", times: int = 1, retry_after_s: float | None = None
    ) -> None:
        """Fail the next requests: with a status (and slug), or by raising, such as httpx.ReadTimeout("slow")."""

        def once() -> httpx.Response:
            if isinstance(problem, Exception):
                raise problem
            return _problem(RefusedError(problem, slug or "failed", "as the test wants", retry_after_s))

        self._failures.extend([once] * times)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request of Client."""
        return self._answer(request, request.read())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request of AsyncClient."""
        return self._answer(request, await request.aread())

    def _answer(self, request: httpx.Request, body: bytes) -> httpx.Response:
        node = _base(request.url)
        if self._stopped & {node, "*"}:
            raise httpx.ConnectError("connection refused", request=request)
        parts = [unquote(part) for part in request.url.raw_path.decode().partition("?")[0].split("/")[1:]]
        function = parts[2] if len(parts) > 2 else ""
        call = RecordedCall(
            node, request.method, function, parts[-1], dict(request.headers), dict(request.url.params), body
        )
        with self._lock:
            self.calls.append(call)
            if self._failures:
                return self._failures.pop(0)()
            try:
                return self._route(call)
            except RefusedError as problem:
                return _problem(problem)

    def _route(self, call: RecordedCall) -> httpx.Response:
        if self._access_key is not None and call.headers.get("authorization") != f"Bearer {self._access_key}":
            raise RefusedError(401, "unauthorized", "Send an access key.")
        if not call.function:
            return self._overview(call)
        if call.route == call.function and call.method in ("PUT", "DELETE"):
            return self._register(call) if call.method == "PUT" else self._unregister(call)
        function = self._functions.get(call.function.partition("@")[0])
        if function is None:
            raise RefusedError(404, "unknown-function", f"There is no function {call.function!r}.")
        routes = {
            ("POST", "infer"): self._infer,
            ("POST", "lookup"): self._lookup,
            ("POST", "entries"): self._insert,
            ("GET", "entries"): self._page,
            ("POST", "warm-up"): self._warm_up,
            ("DELETE", "entries"): self._invalidate,
        }
        if (call.method, call.route) == ("GET", call.function):
            return _json(description(function))
        if (call.method, call.route) == ("POST", LEASE):
            return _json({"live": False})
        if (call.method, call.route) not in routes:
            raise RefusedError(404, "not-found", f"{call.method} {call.route} is not served here.")
        return told(function, call.headers, routes[call.method, call.route](function, call))

    def _overview(self, call: RecordedCall) -> httpx.Response:
        functions = self._functions.values()
        if call.route == "functions":
            listed = [{"name": f.name, "version": 1, "entries": len(f.entries)} for f in functions]
            return _json({"functions": listed})
        if call.route == "stats":
            return _json({"functions": {f"{f.name}@1": {"requests": dict(f.counts)} for f in functions}})
        raise RefusedError(404, "not-found", f"{call.route} is not served here.")

    def _register(self, call: RecordedCall) -> httpx.Response:
        """Serve a function that devices compute, whatever the spec says of a model: nothing runs it here."""
        replaced = call.function in self._functions
        self.function(call.function)
        return _json({"name": call.function, "version": 1, "entries": 0}, 200 if replaced else 201)

    def _unregister(self, call: RecordedCall) -> httpx.Response:
        if self._functions.pop(call.function, None) is None:
            raise RefusedError(404, "unknown-function", f"There is no function {call.function!r}.")
        return httpx.Response(204)

    def _page(self, function: FakeFunction, call: RecordedCall) -> httpx.Response:
        now = self._clock()
        after, limit = call.query.get("after"), int(call.query.get("limit", 100))
        live = [entry for entry in function.entries if entry.expires_at > now]
        start = next((at + 1 for at, entry in enumerate(live) if entry.id == after), 0)
        rows = [
            {
                "id": entry.id,
                "label": entry.body.decode(errors="replace"),
                "media_type": entry.media_type,
                "size_bytes": len(entry.body),
                "cost_s": 0.1,
                "use_count": 0,
                "age_s": now - entry.created_at,
                "ttl_s": entry.expires_at - now,
                "tags": list(entry.tags),
            }
            for entry in live[start : start + limit]
        ]
        return _json({"entries": rows, "next": rows[-1]["id"] if start + limit < len(live) else None})

    def _infer(self, function: FakeFunction, call: RecordedCall) -> httpx.Response:
        control = {part.strip() for part in call.headers.get("cache-control", "").split(",")}
        key = input_key(call.body, call.headers.get("content-type", ""))
        asked_before = function.tickets.pop(call.headers.get("likewise-ticket", ""), None)
        function.redeemed += asked_before == call.node
        skips = control & {"no-cache", "no-store"} or asked_before is not None or wants_probe(call.headers)
        found = None if skips else self._nearest(function, key, None, call)
        probing = found is not None and "only-if-cached" not in control and function.takes_probe()
        if found and not probing:
            exact = isinstance(key, bytes) or any(np.array_equal(key, other) for other in found.keys.values())
            return self._hit(function, found, "; detail=exact" if exact else "")
        if "only-if-cached" in control:
            raise RefusedError(504, "not-cached", "Nothing is safe to reuse.")
        if function.compute is None:
            raise RefusedError(422, "invalid-value", f"{function.name} has no model: look up and insert.")
        try:
            body = encode_json(function.compute(call.body))
        except Exception as error:
            raise RefusedError(500, "model-failed", str(error)) from error
        if asked_before is None:
            function.counts["probe" if probing else "miss"] += 1
        headers = {"Content-Type": JSON, "Age": "0", "Cache-Status": "likewise; fwd=bypass"}
        if "no-store" not in control:
            entry = function.store({"": key}, body, JSON, function.ttl_s, (), self._clock())
            forward = "request" if "no-cache" in control else "miss"
            headers["Cache-Status"] = f"likewise; fwd={forward}; stored" + ("; detail=probe" if probing else "")
            headers["Likewise-Entry"] = entry.id
        return httpx.Response(200, headers=headers, content=body)

    def _lookup(self, function: FakeFunction, call: RecordedCall) -> httpx.Response:
        media_type = call.headers.get("content-type", "")
        key_type = call.query.get("key_type")
        if media_type != OCTETS:
            return self._look_up_one(function, call, input_key(call.body, media_type), key_type)
        numbers = vector(call.body)
        dimension = function.dimension or len(numbers)
        if len(numbers) == 0 or len(numbers) % dimension:
            detail = f"The key has {len(numbers)} numbers, the function takes {dimension}."
            raise RefusedError(422, "invalid-value", detail)
        rows = numbers.reshape(-1, dimension)
        if len(rows) == 1:
            return self._look_up_one(function, call, rows[0], key_type)
        return _json({"answers": [self._bulk_answer(function, call, row, key_type) for row in rows]})

    def _look_up_one(
        self, function: FakeFunction, call: RecordedCall, key: Key, key_type: str | None
    ) -> httpx.Response:
        found = self._nearest(function, key, key_type, call)
        probing = found is not None and (wants_probe(call.headers) or function.takes_probe())
        if found and not probing:
            return self._hit(function, found)
        function.counts["probe" if probing else "miss"] += 1
        detail = "probe" if probing else "none"
        headers = {
            "Cache-Status": f"likewise; fwd=miss; detail={detail}",
            "Likewise-Ticket": function.new_ticket(call.node),
        }
        return httpx.Response(204, headers=headers)

    def _bulk_answer(
        self, function: FakeFunction, call: RecordedCall, key: Key, key_type: str | None
    ) -> dict[str, Any]:
        found = self._nearest(function, key, key_type, call)
        outcome = "miss" if found is None else "probe" if function.takes_probe() else "hit"
        function.counts[outcome] += 1
        if found is None or outcome == "probe":
            return {"outcome": outcome, "ticket": function.new_ticket(call.node)}
        now = self._clock()
        answer = {"outcome": "hit", "entry": found.id, "age": now - found.created_at, "ttl": found.expires_at - now}
        if found.media_type == JSON:
            return {**answer, "result": json.loads(found.body)}
        text = base64.b64encode(found.body).decode()
        return {**answer, "result_base64": text, "media_type": found.media_type}

    def _insert(self, function: FakeFunction, call: RecordedCall) -> httpx.Response:
        document = json.loads(call.body)
        return _json(
            {"entries": [self._insert_one(function, call.node, one) for one in document.get("entries", [document])]},
            status=201,
        )

    def _insert_one(self, function: FakeFunction, node: str, one: Mapping[str, Any]) -> dict[str, Any]:
        function.redeemed += function.tickets.pop(one.get("ticket", ""), None) == node
        if "input_base64" in one:
            keys = {"": input_key(base64.b64decode(one["input_base64"]), one["input_media_type"])}
        else:
            keys = {name: json_key(value) for name, value in one.get("keys", {"": one.get("key")}).items()}
        if function.dimension is None and "input_base64" not in one:
            function.dimension = len(next(iter(keys.values())))
        if "result_base64" in one:
            body, media_type = base64.b64decode(one["result_base64"]), one["media_type"]
        else:
            body, media_type = encode_json(one["result"]), JSON
        ttl_s = min(float(one.get("ttl_s", function.ttl_s)), function.ttl_s)
        kept = function.store(keys, body, media_type, ttl_s, one.get("tags", ()), self._clock())
        return {"id": kept.id, "stored": True}

    def _warm_up(self, function: FakeFunction, call: RecordedCall) -> httpx.Response:
        return httpx.Response(200, content=warm_up(function, call.body, self._clock()))

    def _invalidate(self, function: FakeFunction, call: RecordedCall) -> httpx.Response:
        query = call.query
        kept = [
            entry
            for entry in function.entries
            if not (query.get("all") or entry.id == query.get("id") or query.get("tag") in entry.tags)
        ]
        count = len(function.entries) - len(kept)
        function.entries[:] = kept
        function.changes += count > 0
        return _json({"invalidated": count})

    def _nearest(
        self, function: FakeFunction, key: Key, key_type: str | None, call: RecordedCall
    ) -> StoredEntry | None:
        return function.nearest(key, key_type, call.headers.get("cache-control", ""), self._clock())

    def _hit(self, function: FakeFunction, entry: StoredEntry, detail: str = "") -> httpx.Response:
        function.counts["hit"] += 1
        now = self._clock()
        headers = {
            "Content-Type": entry.media_type,
            "Age": str(int(now - entry.created_at)),
            "Cache-Status": f"likewise; hit; ttl={int(entry.expires_at - now)}{detail}",
            "Likewise-Entry": entry.id,
        }
        return httpx.Response(200, headers=headers, content=entry.body)


def _base(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode()}"


def _json(document: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, headers={"Content-Type": JSON}, content=encode_json(document))


def _problem(problem: RefusedError) -> httpx.Response:
    kind = BY_SLUG.get(problem.slug)
    document = {
        "type": f"https://likewise.dev/problems/{problem.slug}",
        "title": kind.__name__ if kind else problem.slug.capitalize(),
        "status": problem.status,
        "detail": problem.detail,
    }
    headers = {"Content-Type": "application/problem+json"}
    if problem.retry_after_s is not None:
        headers["Retry-After"] = f"{problem.retry_after_s:g}"
    return httpx.Response(problem.status, headers=headers, content=encode_json(document))
