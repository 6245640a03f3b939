"""The bodies of these routes, for the API's description: they are read strictly, past the framework."""

from __future__ import annotations

from typing import Any

import msgspec

from coach.chat.schemas import MAX_TEXT
from coach.conversations.arriving import MAX_MESSAGES, MAX_NAME
from coach.conversations.memory import MemoryChange
from coach.conversations.schemas import MAX_CORRECTION, MAX_REASON, MAX_TITLE, ConversationChange, Feedback

Schema = dict[str, Any]

IMPORT_EXAMPLE: Schema = {
    "conversations": [
        {
            "id": "before-2025",
            "title": "The knee",
            "created_at": "2025-03-01T12:00:00Z",
            "messages": [
                {
                    "id": "q1",
                    "role": "user",
                    "name": "Maya",
                    "content": "My knee hurts on the hills.",
                    "created_at": "2025-03-01T12:00:00Z",
                },
                {
                    "id": "a1",
                    "role": "assistant",
                    "content": "Then walk down for a week.",
                    "created_at": "2025-03-01T12:00:09Z",
                },
            ],
        }
    ]
}

_ID: Schema = {"type": "string", "pattern": "^[A-Za-z0-9._:~-]{1,128}$"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_MESSAGE: Schema = {
    "type": "object",
    "required": ["id", "role", "content"],
    "additionalProperties": False,
    "properties": {
        "id": _ID,
        "role": {"enum": ["user", "assistant"]},
        "name": {"type": ["string", "null"], "maxLength": MAX_NAME},
        "content": {"type": "string", "minLength": 1, "maxLength": MAX_TEXT},
        "created_at": {**_TIME, "description": "Left out: just after the one before it."},
        "parent_id": {
            "type": ["string", "null"],
            "description": "What it answers, where there are branches. Left out: the one before it in time.",
        },
    },
}
_IMPORT: Schema = {
    "type": "object",
    "description": f"Up to {MAX_MESSAGES} messages; ChatGPT's conversations.json is taken as it is, too.",
    "required": ["conversations"],
    "additionalProperties": False,
    "properties": {
        "conversations": {
            "type": "array",
            "maxItems": MAX_MESSAGES,
            "items": {
                "type": "object",
                "required": ["id", "messages"],
                "additionalProperties": False,
                "properties": {
                    "id": _ID,
                    "title": {"type": ["string", "null"], "maxLength": MAX_TITLE},
                    "created_at": _TIME,
                    "current_message_id": {**_ID, "description": "The end of the branch that is shown."},
                    "messages": {"type": "array", "items": _MESSAGE},
                },
            },
        }
    },
}
_LENGTHS = {"title": MAX_TITLE, "reason": MAX_REASON, "correction": MAX_CORRECTION, "content": MAX_TEXT}


def describe_conversations(schema: Schema) -> None:
    """Add the bodies to the generated description."""
    paths = schema["paths"]
    one, fed_back = "/api/conversations/{conversation_id}", "/messages/{message_id}/feedback"
    _add(schema, paths[one]["patch"], ConversationChange, {"title": "The knee", "archived": False})
    _add(schema, paths[f"{one}{fed_back}"]["post"], Feedback, {"rating": "down", "reason": "Too long."})
    changed = {"content": "The knee has healed since May."}
    _add(schema, paths["/api/memory/{source}/{memory_id}"]["patch"], MemoryChange, changed)
    # Read under the address of one conversation, which is no address for a POST otherwise.
    imported = paths[one].pop("post")
    imported["parameters"] = [each for each in imported["parameters"] if each["in"] != "path"]
    imported["requestBody"] = _body(_IMPORT, IMPORT_EXAMPLE)
    paths["/api/conversations/import"] = {"post": imported}


def _add(schema: Schema, operation: Schema, kind: type, example: Schema) -> None:
    (described,), components = msgspec.json.schema_components([kind], ref_template="#/components/schemas/{name}")
    for component in components.values():
        for name, each in component.get("properties", {}).items():
            if name in _LENGTHS:
                each["maxLength"] = _LENGTHS[name]
    schema["components"]["schemas"].update(components)
    operation["requestBody"] = _body(described, example)


def _body(described: Schema, example: Schema) -> Schema:
    return {"required": True, "content": {"application/json": {"schema": described, "example": example}}}
