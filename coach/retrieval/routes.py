"""The combined retrieval alone, over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from litestar import Router, get
from litestar.di import NamedDependency
from litestar.openapi.spec import Example
from litestar.params import QueryParameter
from msgspec import UNSET, Struct, UnsetType

from coach.database.pool import Database
from coach.errors import EmbedderUnavailable, InvalidInput
from coach.http.declared import declares
from coach.http.lists import SourceKind
from coach.identity.guards import CurrentUser
from coach.kinds.registry import one_of_kinds
from coach.retrieval.base import Receipt, Source
from coach.retrieval.context import Retriever
from coach.retrieval.search import Scope
from coach.values.text import shorten

SNIPPET = 1_000
MAX_QUESTION = 2_000


class Found(Struct):
    """One row that bears on the question; of memory also where it was said."""

    source_id: str
    title: str
    snippet: str
    score: float
    updated_at: datetime
    conversation_id: str | UnsetType = UNSET
    message_id: str | UnsetType = UNSET


class SearchResult(Struct):
    """Best first. ``context`` is the receipt: what was read, what a consent kept out."""

    items: list[Found]
    context: Receipt


@get("/", summary="Search what the coach knows", **declares(problems=(EmbedderUnavailable,)))
async def search(
    *,
    user_id: CurrentUser,
    db: NamedDependency[Database],
    retriever: NamedDependency[Retriever],
    q: Annotated[
        str,
        QueryParameter(description="The question, up to 2,000 characters.", examples=[Example(value="my knee")]),
    ],
    domain: SourceKind = None,
    limit: Annotated[int, QueryParameter(ge=1, le=200)] = 10,
) -> SearchResult:
    """By meaning and by words, over life data and past conversations."""
    context = await retriever.combined_context(
        db,
        user_id,
        await retriever.consented_question(db, user_id, _question(q)),
        Scope(limit, None if (kind := one_of_kinds(domain, "domain")) is None else (kind,), is_ranking=True),
    )
    return SearchResult([_found(source) for source in context.sources], context.receipt)


def _question(q: str) -> str:
    if not q.strip() or len(q) > MAX_QUESTION:
        raise InvalidInput("q", f"must have 1 to {MAX_QUESTION:,} characters.")
    return q


def _found(source: Source) -> Found:
    found = Found(
        source_id=source.source_id,
        title=source.title,
        snippet=shorten(source.text, SNIPPET),
        score=round(source.score, 4),
        updated_at=source.updated_at,
    )
    if source.conversation_id is not None:
        found.conversation_id, found.message_id = source.conversation_id, source.message_id or UNSET
    return found


search_router = Router("/api/search", route_handlers=[search], tags=["Memory"])
