"""The page, and the problems' pages: from memory, with what a cache needs."""

from __future__ import annotations

import hashlib
import html
from functools import cache
from pathlib import Path
from typing import Any

from litestar import Request, Response, get
from litestar.params import FromPath

from coach.errors import NotFound
from coach.http.catalogue import KINDS, Kind

FOLDER = Path(__file__).parent.parent / "static"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@cache
def _file(name: str) -> tuple[bytes, str, str]:
    """Content, media type and entity tag of one of our few files, read once."""
    path = FOLDER / name
    if path.parent != FOLDER or path.suffix not in TYPES or not path.is_file():
        raise NotFound("There is nothing at this address.")
    content = path.read_bytes()
    return content, TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:20]}"'


def _serve(request: Request[Any, Any, Any], name: str) -> Response[bytes]:
    content, media_type, tag = _file(name)
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(b"", status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


@get("/", include_in_schema=False, sync_to_thread=False)
def page(request: Request[Any, Any, Any]) -> Response[bytes]:
    return _serve(request, "index.html")


@get("/static/{name:str}", include_in_schema=False, sync_to_thread=False)
def asset(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    return _serve(request, name)


@get("/problems", include_in_schema=False, sync_to_thread=False)
def problem_list() -> Response[str]:
    entries = "".join(f'<li><a href="/problems/{k.slug}">{k.slug}</a> – {_text(k.title)}</li>' for k in KINDS.values())
    return _document("Problems", f"<h1>Problems</h1><ul>{entries}</ul>")


@get("/problems/{slug:str}", include_in_schema=False, sync_to_thread=False)
def problem_page(slug: FromPath[str]) -> Response[str]:
    kind = KINDS.get(slug)
    if kind is None:
        raise NotFound("There is no such problem.")
    return _document(kind.title, _problem(kind))


def _problem(kind: Kind) -> str:
    return (
        f"<h1>{_text(kind.title)}</h1><p><code>/problems/{kind.slug}</code> · status {kind.status}</p>"
        f'<p>{_text(kind.advice)}</p><p><a href="/problems">All problems</a> · <a href="/schema">The API</a></p>'
    )


def document(title: str, body: str) -> str:
    """A plain page of ours in the page's own style; ``body`` is markup."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(title)} – Aurum Coach</title>"
        '<link rel="icon" href="/static/icon.svg"><link rel="stylesheet" href="/static/document.css"></head>'
        f"<body><main>{body}</main></body></html>"
    )


def _document(title: str, body: str) -> Response[str]:
    return Response(document(title, body), media_type=TYPES[".html"], headers={"Cache-Control": "public, max-age=300"})


def _text(value: str) -> str:
    return html.escape(value)


HANDLERS = (page, asset, problem_list, problem_page)
