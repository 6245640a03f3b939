"""The page and its files, and the problems' pages. Each has one address, and there are no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from litestar import Request, Response, get

from coach.http.catalogue import KINDS
from coach.public.documents import Document, answer, document, render

FOLDER = Path(__file__).parent.parent / "static"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def _documents() -> dict[str, Document]:
    files = {
        path.name: document(path.read_bytes(), TYPES[path.suffix]) for path in FOLDER.iterdir() if path.suffix in TYPES
    }
    problems = {f"/problems/{kind.slug}": render("problem.html", kind.title, kind=kind) for kind in KINDS.values()}
    return {
        "/": files["index.html"],
        **{f"/static/{name}": file for name, file in files.items()},
        "/problems": render("problems.html", "Problems", kinds=KINDS.values()),
        **problems,
    }


DOCUMENTS = _documents()


@get(list(DOCUMENTS), include_in_schema=False, sync_to_thread=False)
def page(request: Request[Any, Any, Any]) -> Response[bytes]:
    return answer(request, DOCUMENTS[request.scope["path_template"]])
