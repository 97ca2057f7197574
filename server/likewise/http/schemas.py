"""JSON Schemas of what goes over the wire, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from likewise.http.entries import MAX_TAGS, TAG_LENGTH
from likewise.results.check import MEDIA_TYPE, MEDIA_TYPE_LENGTH

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
SECONDS: Schema = {"type": ["number", "null"], "description": "Seconds; null: without end"}
RESULT: Schema = {"description": "The result, any JSON"}


def listed(items: Schema, **more: Any) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items, **more}


def closed(**properties: Schema) -> Schema:
    """Return the schema of an object with exactly these members."""
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }


def _object(required: str, **properties: Schema) -> Schema:
    return {"type": "object", "required": required.split(), "properties": properties}


TITLES = {
    "400": "Malformed, or not what its media type says",
    "401": "No access key, an unknown one, or one is needed since a proxy forwarded the request",
    "403": "Not with this access key, or not from this host or origin without one",
    "404": "Unknown function or version",
    "409": "Not in this state",
    "413": "Over a limit",
    "415": "A media type that is not taken here",
    "422": "Well-formed, but unacceptable",
    "500": "The model failed, or something nobody foresaw",
    "503": "Overloaded, or the journal cannot be written",
    "504": "only-if-cached, and nothing safe to reuse; or Request-Timeout passed before it was computed",
}
"""What a problem's status says of a request."""

PROBLEM = _object(
    "type title status detail",
    type={"type": "string", "format": "uri"},
    title=TEXT,
    status={"type": "integer", "minimum": 400, "maximum": 599},
    detail=TEXT,
)
ENTRY_ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{16}$"}
NUMBERS = listed({"type": "number"}, minItems=1, description="Numbers, or lists of such lists of one length")
KEY = listed({"type": "number"}, minItems=1)
_WRITTEN_KEY: Schema = {"anyOf": [KEY, {**TEXT, "format": "byte", "description": "Little-endian float32, base64"}]}
_MEDIA_TYPE: Schema = {"type": "string", "pattern": f"^{MEDIA_TYPE}$", "maxLength": MEDIA_TYPE_LENGTH}
_AGE: Schema = {"type": "integer", "minimum": 0}

ANSWER = _object(
    "outcome",
    outcome={"enum": ["hit", "miss", "probe"]},
    entry=ENTRY_ID,
    age=_AGE,
    ttl={"type": ["integer", "null"]},
    result=RESULT,
    result_base64=TEXT,
    media_type=TEXT,
    ticket=TEXT,
)
_ENTRY: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "key": _WRITTEN_KEY,
        "keys": {"type": "object", "minProperties": 1, "additionalProperties": _WRITTEN_KEY},
        "input_base64": {**TEXT, "format": "byte"},
        "input_media_type": TEXT,
        "result": RESULT,
        "result_base64": {**TEXT, "format": "byte"},
        "media_type": _MEDIA_TYPE,
        "cost_s": {"type": "number", "minimum": 0, "maximum": 86400, "default": 0.1},
        "ttl_s": {"type": "number", "exclusiveMinimum": 0},
        "tags": listed({"type": "string", "minLength": 1, "maxLength": TAG_LENGTH}, maxItems=MAX_TAGS),
        "ticket": {"type": "string", "maxLength": 64},
    },
    "allOf": [
        {
            "oneOf": [
                {"required": ["key"]},
                {"required": ["keys"]},
                {"required": ["input_base64", "input_media_type"]},
            ]
        },
        {"oneOf": [{"required": ["result"]}, {"required": ["result_base64", "media_type"]}]},
    ],
}
ENTRIES: Schema = {"oneOf": [_ENTRY, closed(entries=listed(_ENTRY, minItems=1))]}
INSERTED = closed(entries=listed(closed(id={"oneOf": [ENTRY_ID, {"type": "null"}]}, stored={"type": "boolean"})))
PAGE = closed(
    entries=listed(
        closed(
            id=ENTRY_ID,
            label=TEXT,
            media_type=TEXT,
            size_bytes=COUNT,
            cost_s={"type": "number"},
            use_count=COUNT,
            age_s={"type": "number"},
            ttl_s=SECONDS,
            tags=listed(TEXT),
        )
    ),
    next={"oneOf": [ENTRY_ID, {"type": "null"}]},
)
_TABLE: Schema = {"type": "object"}
DESCRIPTION = _object(
    "name version description input model result keys reuse capacity entries",
    name=TEXT,
    version={"type": "integer", "minimum": 1},
    description=TEXT,
    input=_TABLE,
    model={"type": ["object", "null"]},
    result=_TABLE,
    keys=listed(_object("name extractor metric dimension", name=TEXT, dimension={"type": "integer", "minimum": 1})),
    reuse=_TABLE,
    capacity=_TABLE,
    entries=COUNT,
)
_DIGEST: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
VARIANTS = closed(
    function=TEXT,
    fingerprint=TEXT,
    input={"enum": ["image", "audio", "array", "bytes"]},
    result=_TABLE,
    cost_s={"type": ["number", "null"], "description": "Seconds that the full model takes here; null: not known yet"},
    variants=listed(
        closed(
            name=TEXT,
            file=TEXT,
            packed_bytes=COUNT,
            packed_sha256=_DIGEST,
            bytes=COUNT,
            sha256=_DIGEST,
            takes={"enum": ["input", "key"]},
            cost={"type": "number"},
            memory_bytes={"type": ["integer", "null"]},
            agreement={"type": "number", "minimum": 0, "maximum": 1},
            origin=TEXT,
            prepare=_TABLE,
        )
    ),
)
STATISTICS = _object(
    "uptime_s pid functions journal",
    uptime_s={"type": "number"},
    pid=COUNT,
    functions={"type": "object", "description": "By name@version", "additionalProperties": _TABLE},
    journal=_TABLE,
)
NAME: Schema = {"type": "string", "pattern": "^[a-z0-9][a-z0-9_.-]{0,63}$"}
SPEC: Schema = {
    "type": "object",
    "description": "A function whose results devices compute; docs/functions.md has all that a spec may say",
    "required": ["input", "keys"],
    "additionalProperties": False,
    "properties": {
        "description": {"type": "string", "maxLength": 1000},
        "input": closed(kind={"const": "array"}),
        "keys": listed(
            {
                **_object(
                    "extractor dimension",
                    name=NAME,
                    extractor={"const": "vector"},
                    metric={"enum": ["cosine", "l2"]},
                    dimension={"type": "integer", "minimum": 1, "maximum": 4096},
                ),
                "additionalProperties": False,
            },
            minItems=1,
            maxItems=1,
        ),
        "capacity": {
            "type": "object",
            "properties": {"entries": {"type": ["integer", "null"], "minimum": 1}},
            "additionalProperties": False,
        },
    },
}
