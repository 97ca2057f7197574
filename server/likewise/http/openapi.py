"""The OpenAPI document: what FastAPI makes of its routes, with bodies, answers, problems and the hot routes."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from likewise.features.decode import MEDIA_TYPES
from likewise.http.devices import Report, WarmUp
from likewise.http.pack import MEDIA_TYPE as PACK
from likewise.http.schemas import (
    ANSWER,
    DESCRIPTION,
    ENTRIES,
    ENTRY_ID,
    INSERTED,
    KEY,
    NAME,
    NUMBERS,
    PAGE,
    PROBLEM,
    RESULT,
    SPEC,
    STATISTICS,
    TITLES,
    VARIANTS,
    closed,
    listed,
)
from likewise.http.variants import MEDIA_TYPE as MODEL
from likewise.http.wire import DEVICE_BYTES, SECONDS, STREAM_NAME

FUNCTION = "/v1/functions/{name}"
JSON, KEYS, TOML = "application/json", "application/octet-stream", "application/toml"

_STATUS = {"description": "How the answer came about (RFC 9211)", "schema": {"type": "string"}}
_AGE = {"description": "Seconds since the result was computed", "schema": {"type": "integer", "minimum": 0}}
_HEADERS = {
    "Cache-Status": _STATUS,
    "Age": _AGE,
    "Likewise-Source": {"description": "The variant of the model that computed it", "schema": {"type": "string"}},
    "Likewise-Entry": {"description": "The entry behind it", "schema": ENTRY_ID},
}
_TICKET = {
    "Cache-Status": _STATUS,
    "Age": _AGE,
    "Likewise-Ticket": {"description": "Name it when inserting", "schema": {"type": "string"}},
}
_RETRY = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer", "minimum": 1}}}


def _ok(schema: dict[str, Any], description: str = "Done") -> dict[str, Any]:
    return {"description": description, "content": {JSON: {"schema": schema}}}


def _binary() -> dict[str, Any]:
    return {"schema": {"type": "string", "format": "binary"}}


def _problems(statuses: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status in statuses.split():
        content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        found[status] = {"description": TITLES[status], "content": content}
        if status == "503":
            found[status]["headers"] = _RETRY
    return found


_ADDRESS = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "`name`, or `name@version`",
    "schema": {"type": "string", "minLength": 1},
}
_CONTROL = {
    "name": "Cache-Control",
    "in": "header",
    "description": "no-cache, no-store, only-if-cached, max-age, min-fresh (RFC 9111)",
    "schema": {"type": "string"},
}
_DEVICE = {
    "name": "Likewise-Device",
    "in": "header",
    "description": "What the device calls itself; without it, each connection is taken for a device",
    "schema": {"type": "string", "maxLength": DEVICE_BYTES},
}
_STREAM = {
    "name": "Likewise-Stream",
    "in": "header",
    "description": "The camera that the input is the next frame of; then `;frame=N` and `;late=drop` where wanted",
    "schema": {"type": "string", "pattern": f"^{STREAM_NAME.pattern}( *; *(frame=[0-9]{{1,15}}|late=drop))*$"},
}
_TIMEOUT = {
    "name": "Request-Timeout",
    "in": "header",
    "description": "Seconds after which the answer is of no use: what waits for the model then is not computed",
    "schema": {"type": "string", "pattern": f"^{SECONDS}$"},
}
_BROUGHT = {
    "name": "Likewise-Ticket",
    "in": "header",
    "description": "That of a lookup of the input's key that found nothing: what is computed settles it",
    "schema": {"type": "string", "maxLength": 64},
}
_LEASE = {
    "name": "Likewise-Lease",
    "in": "header",
    "description": "`want`, or the lease that the device holds, with its reports; see docs/protocol.md",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,32}$"},
}
_PROJECTION = {
    "name": "Likewise-Projection",
    "in": "header",
    "description": "Digest of the file by which the device projects keys: radii are among such keys, where it is known",
    "schema": {"type": "string"},
}
_KEY_TYPE = {
    "name": "key_type",
    "in": "query",
    "description": "Of which key type the keys are; the function's first without it",
    "schema": {"type": "string"},
}
_EVERY_INPUT = {each: _binary() for kinds in MEDIA_TYPES.values() for each in kinds}

_INFER = {
    "tags": ["hot"],
    "operationId": "infer",
    "summary": "Return the result for a raw input, from reuse or from the model",
    "parameters": [_ADDRESS, _CONTROL, _DEVICE, _STREAM, _TIMEOUT, _BROUGHT, _LEASE, _PROJECTION],
    "requestBody": {"required": True, "content": {**_EVERY_INPUT, JSON: {"schema": NUMBERS}}},
    "responses": {
        "200": {"description": "The result", "headers": _HEADERS, "content": {"*/*": {}}},
        **_problems("400 401 403 404 409 413 415 422 500 503 504"),
    },
}
_LOOKUP = {
    "tags": ["hot"],
    "operationId": "lookup",
    "summary": "Return what is safe to reuse for one or many keys, or a raw input; never computes",
    "parameters": [_ADDRESS, _CONTROL, _DEVICE, _KEY_TYPE, _LEASE, _PROJECTION],
    "requestBody": {
        "required": True,
        "content": {
            **_EVERY_INPUT,
            KEYS: _binary(),
            JSON: {"schema": {"oneOf": [closed(key=KEY), closed(keys=listed(KEY, minItems=1))]}},
        },
    },
    "responses": {
        "200": {
            "description": "The result; for keys in JSON and for many keys, a document",
            "headers": _HEADERS,
            "content": {JSON: {"schema": {"anyOf": [ANSWER, closed(answers=listed(ANSWER)), RESULT]}}, "*/*": {}},
        },
        "204": {"description": "Nothing is safe to reuse", "headers": _TICKET},
        **_problems("400 401 403 404 413 415 422 500 503"),
    },
}
_FORM = {
    "type": "object",
    "required": ["spec"],
    "properties": {"spec": {"type": "string", "description": "What function.toml holds"}},
    "propertyNames": {"pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"},
    "additionalProperties": {"type": "string", "format": "binary", "description": "A file that the spec names"},
}

_OPERATIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("/livez", "get"): {"responses": {"200": _ok(closed(alive={"type": "boolean"}))}, "security": [{}]},
    ("/readyz", "get"): {
        "responses": {
            "200": _ok({"$ref": "#/components/schemas/Readiness"}),
            "503": _ok({"$ref": "#/components/schemas/Readiness"}, "Not yet"),
        },
        "security": [{}],
    },
    ("/metrics", "get"): {
        "responses": {
            "200": {"description": "All metrics", "content": {"text/plain": {"schema": {"type": "string"}}}},
            **_problems("400 401 403 500"),
        }
    },
    ("/v1/stats", "get"): {"responses": {"200": _ok(STATISTICS), **_problems("400 401 403 500")}},
    ("/v1/functions", "get"): {
        "responses": {"200": _ok(closed(functions=listed(DESCRIPTION))), **_problems("400 401 403 500")}
    },
    (FUNCTION, "get"): {"responses": {"200": _ok(DESCRIPTION), **_problems("400 401 403 404 500")}},
    (FUNCTION, "put"): {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": _FORM},
                TOML: {"schema": {"type": "string"}},
                JSON: {"schema": SPEC},
            },
        },
        "responses": {
            "200": _ok(DESCRIPTION, "Replaced"),
            "201": _ok(DESCRIPTION, "New"),
            **_problems("400 401 403 409 413 415 422 500 503"),
        },
    },
    (FUNCTION, "delete"): {"responses": {"204": {"description": "Removed"}, **_problems("400 401 403 404 500 503")}},
    (f"{FUNCTION}/entries", "post"): {
        "requestBody": {"required": True, "content": {JSON: {"schema": ENTRIES}}},
        "responses": {"201": _ok(INSERTED), **_problems("400 401 403 404 413 415 422 500 503")},
    },
    (f"{FUNCTION}/entries", "get"): {"responses": {"200": _ok(PAGE), **_problems("400 401 403 404 500")}},
    (f"{FUNCTION}/entries", "delete"): {
        "responses": {
            "200": _ok(closed(invalidated={"type": "integer", "minimum": 0})),
            **_problems("400 401 403 404 500 503"),
        }
    },
}


_VERSION = {"type": "string", "description": "The state that the function is in"}
_OPERATIONS |= {
    (f"{FUNCTION}/leases/{{lease}}", "post"): {
        "requestBody": {"required": False, "content": {JSON: {"schema": Report.model_json_schema()}}},
        "responses": {"200": _ok(closed(live={"type": "boolean"})), **_problems("400 401 403 404 413 415 422 500")},
    },
    (f"{FUNCTION}/changes", "get"): {
        "responses": {
            "200": _ok(closed(version=_VERSION, reset={"type": "boolean"}, entries=listed(ENTRY_ID))),
            **_problems("400 401 403 404 500 503"),
        }
    },
    (f"{FUNCTION}/files/{{sha256}}", "get"): {
        "responses": {
            "200": {"description": "The file", "content": {KEYS: _binary()}},
            **_problems("400 401 403 404 500"),
        }
    },
    (f"{FUNCTION}/variants", "get"): {"responses": {"200": _ok(VARIANTS), **_problems("400 401 403 404 500")}},
    (f"{FUNCTION}/variants/{{file}}", "get"): {
        "responses": {
            "200": {
                "description": "The file, packed",
                "headers": {"ETag": {"description": "Its SHA-256", "schema": {"type": "string"}}},
                "content": {MODEL: _binary()},
            },
            "304": {"description": "If-None-Match names it"},
            **_problems("400 401 403 404 500"),
        }
    },
    (f"{FUNCTION}/warm-up", "post"): {
        "parameters": [_ADDRESS, _PROJECTION],
        "requestBody": {"required": False, "content": {JSON: {"schema": WarmUp.model_json_schema()}}},
        "responses": {
            "200": {"description": "Entries, best first", "content": {PACK: _binary()}},
            **_problems("400 401 403 404 413 415 422 500"),
        },
    },
}


def document(api: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of the application."""
    made = get_openapi(title="likewise", version="1", routes=api.routes)
    paths: dict[str, Any] = made["paths"]
    for path, methods in paths.items():
        for method, operation in methods.items():
            operation.update(_OPERATIONS[path, method])
            address = {**_ADDRESS, "schema": NAME} if method == "put" else _ADDRESS
            operation["parameters"] = [
                address if each["name"] == "name" else each for each in operation.get("parameters", ())
            ]
    paths[f"{FUNCTION}/infer"] = {"post": _INFER}
    paths[f"{FUNCTION}/lookup"] = {"post": _LOOKUP}
    progress = {"type": "object", "additionalProperties": {"type": "string"}}
    readiness = closed(ready={"type": "boolean"}, missing=progress, degraded=progress)
    made["components"] = {
        "schemas": {"Problem": PROBLEM, "Readiness": readiness},
        "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
    }
    made["security"] = [{}, {"key": []}]
    return made


def complete(api: FastAPI) -> None:
    """Let the application serve this document, made once."""

    def made() -> dict[str, Any]:
        if api.openapi_schema is None:
            api.openapi_schema = document(api)
        return api.openapi_schema

    api.openapi = made  # type: ignore[method-assign]
