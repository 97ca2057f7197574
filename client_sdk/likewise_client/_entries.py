"""What is inserted, as requests: one result, many, or such as were encoded before."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from numpy.typing import ArrayLike

from likewise_client._answer import Computed, Inserted
from likewise_client._calls import Call, path_of
from likewise_client._errors import InvalidInput
from likewise_client._read import read_inserted
from likewise_client._reply import Reply
from likewise_client._wire import JSON, NPY, encode_input, encode_json, encode_key, encode_result, text_of

MOST_ENTRIES = 500
"""Results in one request; a server takes 1,024 unless told otherwise."""


def insert(function: str, computed: Computed, *, ticket: str | None, durable: bool) -> Call[Inserted]:
    """POST .../entries with one entry. Repeated only where the server cannot have taken it."""
    many = _insert(function, _entry(computed, ticket), 1, durable)

    def read(response: Reply, node: str) -> Inserted:
        return many.read(response, node)[0]

    return replace(cast(Any, many), read=read, operation="insert")


def insert_many(function: str, computed: Sequence[Computed], *, durable: bool) -> Call[list[Inserted]]:
    """POST .../entries with n >= 1 entries. Repeated only where the server cannot have taken them."""
    return _insert(function, {"entries": [_entry(one, one.ticket) for one in computed]}, len(computed), durable)


def encoded_entry(computed: Computed) -> bytes:
    """Return one result to insert as JSON. Raises InvalidInput for what cannot be sent."""
    return encode_json(_entry(computed, computed.ticket))


def body_of(fields: Mapping[str, Any]) -> bytes:
    """Return the bytes of a result from the fields of an insert that carry it."""
    return base64.b64decode(fields["result_base64"]) if "result_base64" in fields else encode_json(fields["result"])


def insert_encoded(function: str, entries: Sequence[bytes]) -> Call[list[Inserted]]:
    """POST .../entries with n >= 1 entries that are JSON already."""
    call = _insert(function, {}, len(entries), durable=False)
    return replace(call, body=b'{"entries":[' + b",".join(entries) + b"]}")


def _insert(function: str, document: dict[str, Any], count: int, durable: bool) -> Call[list[Inserted]]:
    path = path_of(function, "entries", durable="true" if durable else None)
    body, headers = encode_json(document), {"Content-Type": JSON}
    read = read_inserted(count)
    return Call("POST", path, read, body, headers, function, repeatable=False, operation="insert_many")


def _entry(computed: Computed, ticket: str | None) -> dict[str, Any]:
    key, keys, value = computed.key, computed.keys, computed.input
    if sum(part is not None for part in (key, keys, value)) != 1:
        raise InvalidInput("an insert takes exactly one of key, keys (by key type) and input")
    if isinstance(computed.tags, str):
        raise InvalidInput("tags is a list of strings, not one string")
    entry = encode_result(computed.result, computed.result_media_type)
    if value is not None:
        body, input_media_type = encode_input(value, computed.media_type, lists_as=NPY)
        entry.update(input_base64=text_of(body), input_media_type=input_media_type)
    elif keys is not None:
        entry["keys"] = {name: text_of(encode_key(vector)) for name, vector in keys.items()}
    else:
        entry["key"] = text_of(encode_key(cast(ArrayLike, key)))
    optional = {
        "cost_s": computed.cost_s,
        "ttl_s": computed.ttl_s,
        "tags": list(computed.tags) or None,
        "ticket": ticket,
    }
    entry.update({name: part for name, part in optional.items() if part is not None})
    return entry
