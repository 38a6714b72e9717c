"""The description of the gateway's addresses, as `/openapi.json` tells it.

Bodies are described as far as the gateway reads them, and no further: whatever else a client sends is passed on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from core import wire

Schema = dict[str, Any]

MAX_ID_CHARACTERS: Final = 200
"""Of the exchange's or completion's id in feedback."""

_STRING: Final[Schema] = {"type": "string"}
_STRING_OR_NULL: Final[Schema] = {"type": ["string", "null"]}
_BOOLEAN_OR_NULL: Final[Schema] = {"type": ["boolean", "null"]}
_COUNT_OR_NULL: Final[Schema] = {"type": ["integer", "null"], "minimum": 0, "maximum": wire.MAX_COUNT}
_NUMBER_OR_NULL: Final[Schema] = {"type": ["number", "null"]}
_ARRAY_OR_NULL: Final[Schema] = {"type": ["array", "null"]}
_OBJECT_OR_NULL: Final[Schema] = {"type": ["object", "null"]}
_ALTERNATIVES: Final[Schema] = {"type": ["integer", "null"], "minimum": 0, "maximum": wire.MAX_TOP_LOGPROBS}
_STREAM_OPTIONS: Final[Schema] = {"type": ["object", "null"], "properties": {"include_usage": _BOOLEAN_OR_NULL}}

_BODIES: Final[dict[str, tuple[Schema, tuple[str, ...]]]] = {
    "/v1/chat/completions": (
        {
            "messages": {
                "type": "array",
                "minItems": 1,
                "items": {"type": "object", "additionalProperties": True},
            },
            "stream": _BOOLEAN_OR_NULL,
            "stream_options": _STREAM_OPTIONS,
            "n": _COUNT_OR_NULL,
            "logprobs": _BOOLEAN_OR_NULL,
            "top_logprobs": _ALTERNATIVES,
            "tools": _ARRAY_OR_NULL,
            "functions": _ARRAY_OR_NULL,
            "user": _STRING_OR_NULL,
            "safety_identifier": _STRING_OR_NULL,
            "max_tokens": _COUNT_OR_NULL,
            "max_completion_tokens": _COUNT_OR_NULL,
        },
        ("messages",),
    ),
    "/v1/completions": (
        {
            "prompt": {},
            "stream": _BOOLEAN_OR_NULL,
            "stream_options": _STREAM_OPTIONS,
            "n": _COUNT_OR_NULL,
            "best_of": _COUNT_OR_NULL,
            "logprobs": _COUNT_OR_NULL,
            "echo": _BOOLEAN_OR_NULL,
            "suffix": _STRING_OR_NULL,
            "user": _STRING_OR_NULL,
            "max_tokens": _COUNT_OR_NULL,
        },
        (),
    ),
    "/v1/responses": (
        {
            "input": {"type": ["string", "array"]},
            "stream": _BOOLEAN_OR_NULL,
            "include": _ARRAY_OR_NULL,
            "top_logprobs": _ALTERNATIVES,
            "user": _STRING_OR_NULL,
            "safety_identifier": _STRING_OR_NULL,
            "prompt_cache_key": _STRING_OR_NULL,
            "max_output_tokens": _COUNT_OR_NULL,
            "tools": _ARRAY_OR_NULL,
            "text": _OBJECT_OR_NULL,
            "background": _BOOLEAN_OR_NULL,
            "store": _BOOLEAN_OR_NULL,
            "previous_response_id": _STRING_OR_NULL,
            "metadata": _OBJECT_OR_NULL,
            "temperature": _NUMBER_OR_NULL,
            "top_p": _NUMBER_OR_NULL,
            "parallel_tool_calls": _BOOLEAN_OR_NULL,
        },
        ("input",),
    ),
    "/v1/embeddings": ({"input": {"type": ["string", "array"]}, "user": _STRING_OR_NULL}, ("input",)),
}

_ERROR: Final[Schema] = {
    "type": "object",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "additionalProperties": False,
            "properties": {
                "message": {"type": "string", "minLength": 1},
                "type": {"type": "string", "minLength": 1},
                "param": _STRING_OR_NULL,
                "code": _STRING_OR_NULL,
            },
        }
    },
}
_FEEDBACK: Final[Schema] = {
    "type": "object",
    "required": ["exchange", "label"],
    "additionalProperties": False,
    "properties": {
        "exchange": {"type": "string", "minLength": 1, "maxLength": MAX_ID_CHARACTERS},
        "label": _STRING,
        "model": _STRING_OR_NULL,
        "comment": _STRING,
    },
}

_SAID: Final = {
    "400": "The request cannot be understood; `param` names the field at fault.",
    "401": "No API key, or none that is valid here.",
    "403": "The API key may not use this task.",
    "404": "There is no such model.",
    "408": "The request did not come whole in time.",
    "413": "The body is too large.",
    "429": "Too much is under way, or a limit or a budget is used up; see `retry-after` and `x-should-retry`.",
    "500": "A defect of the gateway; its log knows more.",
    "502": "Whoever should have answered failed.",
    "503": "Nobody can answer at the moment; see `retry-after`.",
    "504": "Nobody answered in time.",
}
_TO_MODELS: Final = tuple(_SAID)
_TO_FEEDBACK: Final = ("400", "401", "403", "404", "408", "413", "500", "503")
_TO_LIST: Final = ("401", "500", "503")
_KEY: Final[Schema] = {"security": [{"key": []}, {}]}


def describe(paths: Iterable[str]) -> Schema:
    """The OpenAPI document of a gateway whose models answer at `paths`."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tutelage gateway", "version": "1"},
        "paths": {path: {"post": _inference(path)} for path in sorted(paths)} | _others(),
        "components": {
            "schemas": {"Error": _ERROR, "Feedback": _FEEDBACK},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _inference(path: str) -> Schema:
    properties, required = _BODIES.get(path, ({}, ()))
    body: Schema = {
        "type": "object",
        "required": ["model", *required],
        "properties": {"model": _STRING, **properties},
        "additionalProperties": True,
    }
    answers = _content("application/json", {"type": "object"}) | _content("text/event-stream", {})
    said = {"200": {"description": "The answer, whole or as a stream of events.", "content": answers}}
    # An upstream may refuse with whatever status it likes, and that is passed on.
    return _operation(body, said, _TO_MODELS) | {"responses": said | _errors(*_TO_MODELS) | {"default": _error("")}}


def _others() -> Schema:
    stored: Schema = {"type": "object", "required": ["id", "object", "exchange", "model", "label"]}
    models: Schema = {"type": "object", "required": ["object", "data"]}
    model: Schema = {"type": "object", "required": ["id", "object", "created", "owned_by"]}
    ready: Schema = {"type": "object", "required": ["status"]}
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    feedback = _operation({"$ref": "#/components/schemas/Feedback"}, {"201": _json("Stored.", stored)}, _TO_FEEDBACK)
    one = _operation(None, {"200": _json("The task.", model)}, ("403", "404", *_TO_LIST))
    metrics = {"description": "Prometheus' text format.", "content": _content("text/plain", _STRING)}
    return {
        "/v1/models": {"get": _operation(None, {"200": _json("The tasks and their aliases.", models)}, _TO_LIST)},
        "/v1/models/{name}": {"get": one | {"parameters": [name]}},
        "/v1/feedback": {"post": feedback},
        "/healthz": {"get": {"responses": {"200": _json("This process lives.", ready)} | _errors("500")}},
        "/readyz": {"get": {"responses": {"200": _json("Tasks can be answered.", ready)} | _errors("500", "503")}},
        "/metrics": {"get": {"responses": {"200": metrics} | _errors("500", "503")}},
    }


def _operation(body: Schema | None, said: Schema, errors: Iterable[str]) -> Schema:
    operation: Schema = _KEY | {"responses": said | _errors(*errors)}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": _content("application/json", body)}
    return operation


def _errors(*statuses: str) -> Schema:
    return {status: _error(_SAID[status]) for status in statuses}


def _error(description: str) -> Schema:
    return _json(description or "Refused by whoever was asked.", {"$ref": "#/components/schemas/Error"})


def _json(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": _content("application/json", schema)}


def _content(kind: str, schema: Schema) -> Schema:
    return {kind: {"schema": schema}}
