"""The bodies that belong to sessions, for the API's description: they are read past the framework."""

from __future__ import annotations

from typing import Any

import msgspec

from coach.sessions.schemas import MAX_TITLE, CommitmentChange
from coach.stages.stages import KINDS

Schema = dict[str, Any]

SESSION_COMMAND: Schema = {
    "type": "object",
    "description": "What this message wants of the conversation's coaching session.",
    "required": ["type"],
    "properties": {
        "type": {"enum": ["start", "advance", "end"]},
        "kind": {"enum": list(KINDS), "description": "With start."},
    },
}
_EXAMPLE: Schema = {"title": "Book the MRI", "due_date": "2026-12-04"}


def describe_sessions(schema: Schema) -> None:
    """Add the bodies to the generated description."""
    (described,), components = msgspec.json.schema_components(
        [CommitmentChange], ref_template="#/components/schemas/{name}"
    )
    components["CommitmentChange"]["properties"]["title"] |= {"minLength": 1, "maxLength": MAX_TITLE}
    schema["components"]["schemas"].update(components)
    content = {"application/json": {"schema": described, "example": _EXAMPLE}}
    one = "/api/commitments/{commitment_id}"
    schema["paths"][one]["patch"]["requestBody"] = {"required": True, "content": content}
    schema["paths"][f"{one}/accept"]["post"]["requestBody"] = {"required": False, "content": content}
