"""Responses to values: what the protocol allows, and MalformedAnswer for anything else.

A reader may trip over what a server made up in ways that nobody foresaw; the exchange turns any such exception into
a MalformedAnswer. What is checked here is what would pass unnoticed.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any, cast

import httpx

from likewise_client._answer import Answer, Entry, Inserted, Outcome, Page, Ticket
from likewise_client._device.pack import Packed, read_pack
from likewise_client._errors import BY_SLUG, BY_STATUS, MalformedAnswer, Overloaded, ServerProblem
from likewise_client._reply import Reply
from likewise_client._wire import JSON, OCTETS, decode_result, likewise_status, parse_seconds


def read_answer(response: Reply, node: str) -> Answer:
    """Read the answer to an inference, or to a lookup of one key or input."""
    headers = response.headers
    status = likewise_status(headers.get("cache-status", ""))
    ticket = headers.get("likewise-ticket")
    given = Ticket(ticket, node) if ticket else None
    if response.status_code == httpx.codes.NO_CONTENT:
        return Answer("probe" if status.detail == "probe" else "miss", ticket=given, node=node, detail=status.detail)
    if not status.hit and "fwd" not in status.parameters:
        raise MalformedAnswer(
            f"{node} did not say how its answer came about: no likewise server, or a key whose length is a multiple "
            f"of the key type's dimension and was taken for several"
        )
    media_type = headers.get("content-type", OCTETS).partition(";")[0].strip().lower()
    outcome: Outcome = "hit" if status.hit else "miss"
    if status.detail in ("coalesced", "probe", "variant"):
        outcome = cast(Outcome, status.detail)
    return Answer(
        outcome,
        decode_result(response.content, media_type),
        response.content,
        media_type,
        headers.get("likewise-entry"),
        parse_seconds(headers.get("age"), 0.0),
        status.ttl_s,
        status.parameters.get("stored") is True,
        given,
        node,
        status.detail,
        headers.get("likewise-source", ""),
    )


def read_answers(count: int) -> Callable[[Reply, str], list[Answer]]:
    """Return a reader of the answers to so many keys."""

    def read(response: Reply, node: str) -> list[Answer]:
        answers = _list(read_object(response).get("answers"), node)
        if len(answers) != count:
            raise MalformedAnswer(f"{node} did not answer {count} keys one by one")
        return [_read_bulk_answer(answer, node) for answer in answers]

    return read


def _read_bulk_answer(answer: Any, node: str) -> Answer:
    outcome, detail = answer["outcome"], _text(answer.get("detail", ""), node)
    if outcome != "hit":
        given = answer.get("ticket")
        ticket = Ticket(_text(given, node), node) if given else None
        return Answer("probe" if outcome == "probe" else "miss", ticket=ticket, node=node, detail=detail)
    ttl = answer.get("ttl")
    age_s, ttl_s = float(answer.get("age", 0)), None if ttl is None else float(ttl)
    entry = _text(answer["entry"], node)
    if "result_base64" in answer:
        media_type = _text(answer["media_type"], node)
        body = base64.b64decode(answer["result_base64"], validate=True)
        result = decode_result(body, media_type)
    else:
        media_type, result = JSON, answer["result"]
        body = json.dumps(result, separators=(",", ":"), ensure_ascii=False).encode()
    return Answer("hit", result, body, media_type, entry, age_s, ttl_s, node=node, detail=detail)


def read_inserted(count: int) -> Callable[[Reply, str], list[Inserted]]:
    """Return a reader of what became of so many inserts."""

    def read(response: Reply, node: str) -> list[Inserted]:
        entries = _list(read_object(response)["entries"], node)
        if len(entries) != count:
            raise MalformedAnswer(f"{node} confirmed {len(entries)} of {count} inserts")
        return [Inserted(_text_or_none(one["id"], node), one["stored"] is True) for one in entries]

    return read


def read_page(after: str | None) -> Callable[[Reply, str], Page]:
    """Return a reader of the page that was asked for. after: where it begins."""

    def read(response: Reply, node: str) -> Page:
        document = read_object(response)
        entries = tuple(
            Entry(
                _text(one["id"], node),
                _text(one["label"], node),
                _text(one["media_type"], node),
                int(one["size_bytes"]),
                float(one["cost_s"]),
                int(one["use_count"]),
                float(one["age_s"]),
                None if one["ttl_s"] is None else float(one["ttl_s"]),
                tuple(_text(tag, node) for tag in _list(one["tags"], node)),
            )
            for one in _list(document["entries"], node)
        )
        following = _text_or_none(document["next"], node)
        if following is not None and following == after:
            raise MalformedAnswer(f"{node} named a page as the one behind itself")
        return Page(entries, following, node)

    return read


def read_functions(response: Reply, node: str) -> list[dict[str, Any]]:
    """Read the functions that a node serves."""
    found = read_object(response).get("functions")
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise MalformedAnswer(f"{node} did not list its functions")
    return found


def read_count(response: Reply, node: str) -> int:
    """Read how many entries were invalidated."""
    count = read_object(response).get("invalidated")
    if not isinstance(count, int):
        raise MalformedAnswer(f"{node} did not say how many entries it invalidated")
    return count


def read_change(response: Reply, node: str) -> dict[str, Any] | None:
    """Read a stream of server-sent events that ends with a change; None: it ended without one."""
    for line in reversed(response.content.decode("utf-8", "replace").splitlines()):
        if line.startswith("data:"):
            change = json.loads(line[5:])
            _text(change["version"], node)
            _list(change["entries"], node)
            return cast("dict[str, Any]", change)
    return None


def read_packed(response: Reply, node: str) -> tuple[dict[str, Any], list[Packed]]:
    """Read the entries that a device warms up with."""
    try:
        return read_pack(response.content)
    except (ValueError, KeyError, RecursionError) as error:
        raise MalformedAnswer(f"{node} sent no pack of entries: {error}") from error


def read_object(response: Reply, _node: str = "") -> dict[str, Any]:
    """Read a JSON object."""
    try:
        value = json.loads(response.content)
    except (ValueError, RecursionError) as error:
        raise MalformedAnswer(f"not JSON: {response.content[:80]!r}") from error
    if not isinstance(value, dict):
        raise MalformedAnswer(f"not a JSON object: {response.content[:80]!r}")
    return value


def read_problem(response: Reply) -> ServerProblem:
    """Return the error that a response of status 400 or more means."""
    try:
        document = read_object(response)
    except MalformedAnswer:
        document = {"detail": response.content[:200].decode(errors="replace")}
    slug = str(document.get("type", "")).rpartition("/")[2]
    kind = BY_SLUG.get(slug) or BY_STATUS.get(response.status_code, ServerProblem)
    title = str(document.get("title") or httpx.codes.get_reason_phrase(response.status_code) or "Error")
    problem = kind(response.status_code, title, str(document.get("detail") or ""), slug)
    if isinstance(problem, Overloaded):
        problem.retry_after_s = parse_seconds(response.headers.get("retry-after"), time.time())
    return problem


def _list(value: Any, node: str) -> list[Any]:
    if not isinstance(value, list):
        raise MalformedAnswer(f"{node} sent {type(value).__name__} where a list belongs")
    return value


def _text(value: Any, node: str) -> str:
    if not isinstance(value, str):
        raise MalformedAnswer(f"{node} sent {type(value).__name__} where text belongs")
    return value


def _text_or_none(value: Any, node: str) -> str | None:
    return None if value is None else _text(value, node)
