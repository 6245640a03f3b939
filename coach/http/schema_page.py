"""The API's description as a page to read: no script, nothing fetched from elsewhere."""

from __future__ import annotations

import html
import json
from typing import Any

from coach.http.static import document

Schema = dict[str, Any]


def render_page(schema: Schema) -> str:
    info = schema["info"]
    groups: dict[str, list[str]] = {}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            if isinstance(operation, dict):
                tag = (operation.get("tags") or ["Other"])[0]
                groups.setdefault(tag, []).append(_operation(path, method, operation, schema))
    body = "".join(f"<h2>{_text(tag)}</h2>{''.join(entries)}" for tag, entries in groups.items())
    return document(
        "API",
        f"<h1>{_text(info['title'])} {_text(info['version'])}</h1><p>{_text(info['description'])}</p>"
        '<p><a href="/schema/openapi.json">OpenAPI 3.1 as JSON</a> · <a href="/problems">Problems</a></p>'
        f"{body}",
    )


def _operation(path: str, method: str, operation: Schema, schema: Schema) -> str:
    parts = [
        f"<h3><code>{method.upper()} {_text(path)}</code> {_text(operation.get('summary', ''))}</h3>",
        f"<p>{_text(operation.get('description', ''))}</p>" if operation.get("description") else "",
        "<p>No token needed.</p>" if operation.get("security") == [] else "",
        _parameters(operation.get("parameters", [])),
    ]
    if "requestBody" in operation:
        parts.append("<h4>Body</h4>" + _content(operation["requestBody"]["content"], schema))
    for status, response in operation["responses"].items():
        if status != "default":
            parts.append(f"<h4>{_text(status)} {_text(response.get('description', ''))}</h4>")
            parts.append(_content(response.get("content", {}), schema))
    return f"<section>{''.join(parts)}</section>"


def _parameters(parameters: list[Schema]) -> str:
    if not parameters:
        return ""
    rows = "".join(
        f"<tr><td><code>{_text(p['name'])}</code></td><td>{_text(p['in'])}{', required' if p.get('required') else ''}"
        f"</td><td>{_text(p.get('description') or _brief(p.get('schema', {})))}</td></tr>"
        for p in parameters
    )
    return f"<table><thead><tr><th>Parameter</th><th>Where</th><th>What</th></tr></thead><tbody>{rows}</tbody></table>"


def _brief(schema: Schema) -> str:
    return ", ".join(f"{key} {value}" for key, value in schema.items() if isinstance(value, str | int))


def _content(content: Schema, schema: Schema) -> str:
    return "".join(_media(name, media, schema) for name, media in content.items())


def _media(name: str, media: Schema, schema: Schema) -> str:
    if "example" not in media and name == "application/problem+json":
        return ""
    shown = media.get("example", _resolved(media.get("schema", {}), schema))
    text = shown if isinstance(shown, str) else json.dumps(shown, indent=2, ensure_ascii=False)
    return f"<p><code>{_text(name)}</code></p><pre>{_text(text)}</pre>"


def _resolved(value: Any, schema: Schema, depth: int = 0) -> Any:
    """Look references up, as deep as a reader wants to see."""
    if isinstance(value, dict) and "$ref" in value and depth < 4:
        name = value["$ref"].rpartition("/")[2]
        return _resolved(schema["components"]["schemas"].get(name, {}), schema, depth + 1)
    if isinstance(value, dict):
        return {key: _resolved(inner, schema, depth) for key, inner in value.items() if key != "title"}
    return [_resolved(inner, schema, depth) for inner in value] if isinstance(value, list) else value


def _text(value: object) -> str:
    return html.escape(str(value))
