"""The API's description as a page to read: no script, nothing fetched from elsewhere."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from coach.public.documents import Document, render

Schema = dict[str, Any]


def render_page(schema: Schema) -> Document:
    groups: dict[str, list[tuple[str, str, Schema]]] = {tag: [] for tag in ("Chat", "Memory", "The user's own")}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            if isinstance(operation, dict):
                groups.setdefault((operation.get("tags") or ["Other"])[0], []).append((method, path, operation))
    shown = partial(_shown, schema["components"]["schemas"])
    return render("schema.html", "API", info=schema["info"], groups=groups, shown=shown, meaning=_meaning)


def _meaning(parameter: Schema) -> str:
    """Its description, or what its schema says in words and figures."""
    brief = (f"{key} {value}" for key, value in parameter.get("schema", {}).items() if isinstance(value, str | int))
    return parameter.get("description") or ", ".join(brief)


def _shown(named: Schema, media: Schema) -> str:
    shown = media.get("example", _shape(media.get("schema", {}), named))
    return shown if isinstance(shown, str) else json.dumps(shown, indent=2, ensure_ascii=False)


def _shape(value: Schema, named: Schema) -> Any:
    """A JSON schema as the thing it describes, with types where the values would be."""
    if "$ref" in value:
        return _shape(named.get(value["$ref"].rpartition("/")[2], {}), named)
    if "properties" in value:
        return {name: _shape(inner, named) for name, inner in value["properties"].items()}
    if "items" in value:
        return [_shape(value["items"], named)]
    for choices in ("oneOf", "anyOf"):
        if choices in value:
            return _shape(next((c for c in value[choices] if c.get("type") != "null"), {}), named)
    if "enum" in value:
        return " | ".join(map(str, value["enum"]))
    return value.get("format") or value.get("type", "any")
