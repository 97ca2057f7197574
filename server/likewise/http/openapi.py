"""The hot routes in the OpenAPI document, which FastAPI makes for the others."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from likewise.features.decode import MEDIA_TYPES
from likewise.http.wire import DEVICE_BYTES

_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}
_PROBLEMS = {
    "400": "Malformed, or not what its media type says",
    "401": "No access key, or an unknown one",
    "403": "Not with this access key",
    "404": "Unknown function or version",
    "413": "Over a limit",
    "415": "A media type that the function does not take",
    "422": "Well-formed, but unacceptable",
    "500": "The model failed",
    "503": "The queue for inference is full",
    "504": "only-if-cached, and nothing safe to reuse",
}
_HEADERS = {
    "Cache-Status": {"description": "How the answer came about (RFC 9211)", "schema": {"type": "string"}},
    "Age": {"description": "Seconds since the result was computed", "schema": {"type": "integer", "minimum": 0}},
    "Likewise-Entry": {"description": "The entry behind it", "schema": {"type": "string", "pattern": "^[0-9a-f]{16}$"}},
}
_TICKET = {
    "Cache-Status": _HEADERS["Cache-Status"],
    "Age": _HEADERS["Age"],
    "Likewise-Ticket": {"description": "Name it when inserting", "schema": {"type": "string"}},
}


def _binary() -> dict[str, Any]:
    return {"schema": {"type": "string", "format": "binary"}}


def _parameters(*more: dict[str, Any]) -> list[dict[str, Any]]:
    name = {
        "name": "name",
        "in": "path",
        "required": True,
        "description": "`name`, or `name@version`",
        "schema": {"type": "string"},
    }
    control = {
        "name": "Cache-Control",
        "in": "header",
        "description": "no-cache, no-store, only-if-cached, max-age, min-fresh (RFC 9111)",
        "schema": {"type": "string"},
    }
    device = {
        "name": "Likewise-Device",
        "in": "header",
        "description": "What the device calls itself; without it, each connection is taken for a device",
        "schema": {"type": "string", "maxLength": DEVICE_BYTES},
    }
    return [name, control, device, *more]


def _responses(ok: dict[str, Any]) -> dict[str, Any]:
    problems = {
        status: {"description": text, "content": {"application/problem+json": {"schema": _PROBLEM}}}
        for status, text in _PROBLEMS.items()
    }
    return {**ok, **problems}


def _infer() -> dict[str, Any]:
    inputs = {each: _binary() for kinds in MEDIA_TYPES.values() for each in kinds}
    return {
        "tags": ["hot"],
        "operationId": "infer",
        "summary": "Return the result for a raw input, from reuse or from the model",
        "parameters": _parameters(),
        "requestBody": {"required": True, "content": inputs},
        "responses": _responses({"200": {"description": "The result", "headers": _HEADERS, "content": {"*/*": {}}}}),
    }


def _lookup() -> dict[str, Any]:
    key = {"type": "array", "items": {"type": "number"}}
    body = {
        "type": "object",
        "properties": {"key": key, "keys": {"type": "array", "items": key}},
        "minProperties": 1,
        "maxProperties": 1,
    }
    answer = {
        "type": "object",
        "required": ["outcome"],
        "properties": {
            "outcome": {"enum": ["hit", "miss", "probe"]},
            "entry": {"type": "string"},
            "age": {"type": "integer"},
            "ttl": {"type": ["integer", "null"]},
            "result": {},
            "result_base64": {"type": "string"},
            "media_type": {"type": "string"},
            "ticket": {"type": "string"},
        },
    }
    key_type = {"name": "key_type", "in": "query", "schema": {"type": "string"}}
    inputs = {each: _binary() for kinds in MEDIA_TYPES.values() for each in kinds if each != "application/json"}
    several = {"type": "object", "properties": {"answers": {"type": "array", "items": answer}}}
    return {
        "tags": ["hot"],
        "operationId": "lookup",
        "summary": "Return what is safe to reuse for one or many keys, or a raw input; never computes",
        "parameters": _parameters(key_type),
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": _binary(), "application/json": {"schema": body}, **inputs},
        },
        "responses": _responses(
            {
                "200": {
                    "description": "The result; for keys in JSON and for many keys, a document",
                    "headers": _HEADERS,
                    "content": {"application/json": {"schema": {"anyOf": [answer, several, {}]}}, "*/*": {}},
                },
                "204": {"description": "Nothing is safe to reuse", "headers": _TICKET},
            }
        ),
    }


def complete(api: FastAPI) -> None:
    """Let the application's OpenAPI document include the hot routes, problems and access keys."""

    def document() -> dict[str, Any]:
        if api.openapi_schema is None:
            made = get_openapi(title="likewise", version="1", routes=api.routes)
            made["paths"]["/v1/functions/{name}/infer"] = {"post": _infer()}
            made["paths"]["/v1/functions/{name}/lookup"] = {"post": _lookup()}
            made.setdefault("components", {})["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            made["security"] = [{}, {"key": []}]
            api.openapi_schema = made
        return api.openapi_schema

    api.openapi = document  # type: ignore[method-assign]
