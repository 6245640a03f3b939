"""The body of a change of preferences, for the API's description: it is read past the framework."""

from __future__ import annotations

from typing import Any

import msgspec

from coach.privacy.schemas import CLOCK, PreferencesChange

Schema = dict[str, Any]

_EXAMPLE: Schema = {"track_search_queries": True, "data_retention_days": 180, "quiet_from": "22:30"}


def describe_preferences(schema: Schema) -> None:
    """Add it to the generated description."""
    (described,), components = msgspec.json.schema_components(
        [PreferencesChange], ref_template="#/components/schemas/{name}"
    )
    for name in ("quiet_from", "quiet_until"):
        components["PreferencesChange"]["properties"][name] |= {"pattern": f"^{CLOCK}$"}
    schema["components"]["schemas"].update(components)
    content = {"application/json": {"schema": described, "example": _EXAMPLE}}
    schema["paths"]["/api/me/preferences"]["patch"]["requestBody"] = {"required": True, "content": content}
