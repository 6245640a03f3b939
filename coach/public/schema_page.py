"""The API's description as a page to read: no script, nothing fetched from elsewhere."""

from __future__ import annotations

import html
import json
from typing import Any

from coach.public.pages import document

Schema = dict[str, Any]


def render_page(schema: Schema) -> str:
    info = schema["info"]
    groups: dict[str, list[str]] = {tag: [] for tag in ("Chat", "Memory", "The user's own")}
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
        if status.startswith("2"):
            parts.append(f"<h4>{_text(status)} {_text(response.get('description', ''))}</h4>")
            parts.append(_content(response.get("content", {}), schema))
    parts.append(_problems(operation["responses"]))
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


def _problems(responses: Schema) -> str:
    named = [(slug, status) for status, response in responses.items() for slug in response.get("x-problems", ())]
    links = ", ".join(f'<a href="/problems/{_text(slug)}">{_text(slug)}</a> {_text(status)}' for slug, status in named)
    return f"<p>Problems: {links}</p>" if links else ""


def _brief(schema: Schema) -> str:
    return ", ".join(f"{key} {value}" for key, value in schema.items() if isinstance(value, str | int))


def _content(content: Schema, schema: Schema) -> str:
    return "".join(_media(name, media, schema) for name, media in content.items())


def _media(name: str, media: Schema, schema: Schema) -> str:
    shown = media.get("example", _shape(media.get("schema", {}), schema))
    text = shown if isinstance(shown, str) else json.dumps(shown, indent=2, ensure_ascii=False)
    return f"<p><code>{_text(name)}</code></p><pre>{_text(text)}</pre>"


def _shape(value: Schema, schema: Schema) -> Any:
    """A JSON schema as the thing it describes, with types where the values would be."""
    if "$ref" in value:
        return _shape(schema["components"]["schemas"].get(value["$ref"].rpartition("/")[2], {}), schema)
    if "properties" in value:
        return {name: _shape(inner, schema) for name, inner in value["properties"].items()}
    if "items" in value:
        return [_shape(value["items"], schema)]
    for choices in ("oneOf", "anyOf"):
        if choices in value:
            return _shape(next((c for c in value[choices] if c.get("type") != "null"), {}), schema)
    if "enum" in value:
        return " | ".join(map(str, value["enum"]))
    return value.get("format") or value.get("type", "any")


def _text(value: object) -> str:
    return html.escape(str(value))
