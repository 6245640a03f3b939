"""What the coach remembers, over HTTP."""

from __future__ import annotations

from litestar import Router, delete, get, patch
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation

from coach.conversations import correcting, memory
from coach.conversations.memory import Memory, MemoryChange, MemoryPage
from coach.database.pool import Database
from coach.errors import EmbedderUnavailable, NotFound
from coach.http.declared import declares
from coach.http.lists import DEFAULT_LIMIT, Cursor, Limit, SourceKind
from coach.identity.guards import CurrentUser
from coach.kinds.registry import one_of_kinds
from coach.retrieval.context import Retriever
from coach.values.clock import utc_now

Db = NamedDependency[Database]


@get("/", summary="What the coach remembers", **declares())
async def memories(
    user_id: CurrentUser,
    db: Db,
    source: SourceKind = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> MemoryPage:
    """Newest first: what was made of your rows, and what was said. All that a search can bring, and nothing else."""
    return await memory.listed(db, user_id, source=one_of_kinds(source, "source"), limit=limit, cursor=cursor)


@patch(
    "/{source:str}/{memory_id:str}",
    summary="Correct a memory",
    **declares(
        MemoryChange,
        example={"content": "The knee has healed since May."},
        problems=(NotFound, EmbedderUnavailable),
    ),
)
async def correct(
    *,
    sent: NamedDependency[MemoryChange],
    source: FromPath[str],
    memory_id: FromPath[str],
    user_id: CurrentUser,
    db: Db,
    retriever: NamedDependency[SkipValidation[Retriever]],
) -> Memory:
    """Your wording is what is retrieved from now on, also when the row behind it changes."""
    return await correcting.correct(db, retriever, user_id, source, memory_id, change=sent, now=utc_now())


@delete("/{source:str}/{memory_id:str}", summary="Delete a memory", **declares(problems=(NotFound,)))
async def forget(source: FromPath[str], memory_id: FromPath[str], user_id: CurrentUser, db: Db) -> None:
    """It is never retrieved again. A row of yours that it was made of stays as it is; a message becomes a tombstone."""
    await memory.forget(db, user_id, source, memory_id, utc_now())


memory_router = Router("/api/memory", route_handlers=[memories, correct, forget], tags=["Memory"])
