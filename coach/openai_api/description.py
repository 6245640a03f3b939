"""``/v1`` in the API's description: bodies and answers that a generator cannot see."""

from __future__ import annotations

from typing import Any

import msgspec

from coach.openai_api.chunks import Completion
from coach.openai_api.errors import OpenAIError
from coach.openai_api.models import MODELS
from coach.openai_api.schemas import MOST_STOPS, MOST_TOKENS

Schema = dict[str, Any]

_MODEL: Schema = {"enum": list(MODELS)}
_METADATA: Schema = {
    "type": "object",
    "properties": {"conversation_id": {"type": "string", "description": "Where the turn is stored."}},
}
_TEXT_PARTS: Schema = {
    "type": "array",
    "items": {"type": "object", "properties": {"type": {"type": "string"}, "text": {"type": "string"}}},
}
_MESSAGE: Schema = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {
        "role": {"enum": ["system", "developer", "user", "assistant"]},
        "content": {"oneOf": [{"type": "string"}, _TEXT_PARTS]},
    },
}
_SHARED: Schema = {
    "model": _MODEL,
    "stream": {"type": "boolean", "default": False},
    "temperature": {"type": "number", "description": "Brought between 0 and 2."},
    "top_p": {"type": "number", "description": "Brought between 0 and 1."},
    "metadata": _METADATA,
}
_LENGTH: Schema = {"type": "integer", "description": f"Brought between 1 and {MOST_TOKENS:,}."}

COMPLETION: Schema = {
    "type": "object",
    "description": "OpenAI's. What is not listed is ignored, or refused by its name where silence would mislead.",
    "required": ["model", "messages"],
    "properties": {
        **_SHARED,
        "messages": {"type": "array", "minItems": 1, "items": _MESSAGE, "description": "Ends with the user's."},
        "stream_options": {"type": "object", "properties": {"include_usage": {"type": "boolean"}}},
        "stop": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": MOST_STOPS}]},
        "seed": {"type": "integer"},
        "max_tokens": _LENGTH,
        "max_completion_tokens": _LENGTH,
    },
}
RESPONSE: Schema = {
    "type": "object",
    "description": COMPLETION["description"],
    "required": ["model", "input"],
    "properties": {
        **_SHARED,
        "input": {"oneOf": [{"type": "string"}, {"type": "array", "items": _MESSAGE}]},
        "instructions": {"type": "string", "description": "Read as the user's data, like system messages."},
        "store": {"type": "boolean", "default": True},
        "previous_response_id": {"type": "string", "description": "What was said up to it comes first."},
        "conversation": {"type": "string", "description": "What was said in it comes first."},
        "max_output_tokens": _LENGTH,
    },
}
_EXAMPLES: dict[str, Schema] = {
    "/v1/chat/completions": {"model": "coach", "messages": [{"role": "user", "content": "What now?"}]},
    "/v1/responses": {"model": "coach", "input": "What now?"},
}
_STREAMS = {
    "/v1/chat/completions": "Chunks, one a data: line, then [DONE].",
    "/v1/responses": "Typed events with sequence numbers.",
}
_HEADERS = {
    "X-Conversation-ID": "The conversation in which the turn is stored; left out, one a day.",
    "Idempotency-Key": "A request with a key that was seen is a repeat: it gets the same answer and costs nothing.",
}


def describe(schema: Schema) -> None:
    """Complete what stands under ``/v1`` in ``schema``."""
    _, components = msgspec.json.schema_components(
        [OpenAIError, Completion], ref_template="#/components/schemas/{name}"
    )
    schema["components"]["schemas"].update(components)
    for path, operations in schema["paths"].items():
        if path.startswith("/v1/"):
            for operation in operations.values():
                operation["responses"]["default"] = _refused()
    for path, body in (("/v1/chat/completions", COMPLETION), ("/v1/responses", RESPONSE)):
        operation = schema["paths"][path]["post"]
        content = {"application/json": {"schema": body, "example": _EXAMPLES[path]}}
        operation["requestBody"] = {"required": True, "content": content}
        operation["parameters"] = [*operation.get("parameters", []), *map(_header, _HEADERS)]
        operation["responses"]["200"] = _answered(path)


def _header(name: str) -> Schema:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
        "description": _HEADERS[name],
    }


def _answered(path: str) -> Schema:
    is_chat = path == "/v1/chat/completions"
    whole = {"$ref": "#/components/schemas/Completion"} if is_chat else {"type": "object"}
    return {
        "description": "The answer: one object, or with stream: true a stream, whatever Accept says.",
        "content": {
            "application/json": {"schema": whole},
            "text/event-stream": {"schema": {"type": "string", "description": _STREAMS[path]}},
        },
    }


def _refused() -> Schema:
    return {
        "description": "A refusal in OpenAI's shape; code and param say which.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/OpenAIError"}}},
    }
