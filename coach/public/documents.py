"""What does not change while the server runs: bytes made once, with an entity tag."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

import jinja2
from litestar import Request, Response
from msgspec import Struct


class Document(Struct, frozen=True):
    """What is served under one address. ``caching`` is its Cache-Control."""

    content: bytes
    media_type: str
    caching: str
    tag: str


def document(content: bytes, media_type: str, caching: str = "no-cache") -> Document:
    return Document(content, media_type, caching, f'"{hashlib.sha256(content).hexdigest()[:20]}"')


def render(template: str, title: str, **values: Any) -> Document:
    """A page of ours; what is put into a template is escaped."""
    return document(
        _templates().get_template(template).render(title=title, **values).encode(), "text/html", "public, max-age=300"
    )


@cache
def _templates() -> jinja2.Environment:
    loader = jinja2.PackageLoader("coach.public")
    return jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)


def answer(request: Request[Any, Any, Any], found: Document) -> Response[bytes]:
    """304 to whoever has it already (RFC 9110, section 13.1.2)."""
    headers = {"ETag": found.tag, "Cache-Control": found.caching}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if known & {found.tag, "*"}:
        return Response(b"", status_code=304, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=headers)
