"""Coaching sessions and commitments over HTTP. A session begins and goes on in the chat itself."""

from __future__ import annotations

from typing import Annotated

from litestar import Router, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from coach.database.pool import Database
from coach.errors import Conflict, NotFound
from coach.http.declared import declares
from coach.http.lists import DEFAULT_LIMIT, Cursor, Limit
from coach.identity.guards import CurrentUser
from coach.sessions import commitments, repository
from coach.sessions.schemas import Commitment, CommitmentChange, SessionDetail, SessionPage
from coach.values.clock import utc_now

Db = NamedDependency[Database]
OVERRIDES = {"title": "Book the MRI", "due_date": "2026-12-04"}


@get("/", summary="Your coaching sessions", **declares())
async def sessions(
    *,
    user_id: CurrentUser,
    db: Db,
    conversation_id: Annotated[str | None, QueryParameter(description="Only those of this conversation.")] = None,
    active: Annotated[bool | None, QueryParameter(description="Only those that run, or only the others.")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> SessionPage:
    """Newest first."""
    return await repository.listed(db, user_id, conversation_id, active, limit, cursor)


@get("/{session_id:str}", summary="One coaching session", **declares(problems=(NotFound,)))
async def session(session_id: FromPath[str], user_id: CurrentUser, db: Db) -> SessionDetail:
    """With the steps that it took, its summary, and the commitments that came of it."""
    return await repository.one(db, user_id, session_id)


@patch(
    "/{commitment_id:str}",
    summary="Edit a commitment",
    **declares(CommitmentChange, example=OVERRIDES, problems=(NotFound, Conflict)),
)
async def change(
    sent: NamedDependency[CommitmentChange], commitment_id: FromPath[str], user_id: CurrentUser, db: Db
) -> Commitment:
    """While it is proposed. What is left out stays."""
    return await commitments.decide(db, user_id, commitment_id, "proposed", sent, utc_now())


@post(
    "/{commitment_id:str}/accept",
    status_code=200,
    summary="Make a task of a commitment",
    **declares(CommitmentChange, example=OVERRIDES, is_optional=True, problems=(NotFound, Conflict)),
)
async def accept(
    sent: NamedDependency[CommitmentChange], commitment_id: FromPath[str], user_id: CurrentUser, db: Db
) -> Commitment:
    """The body may override title, due date and project, or be left out. Accepting again makes no second task."""
    return await commitments.decide(db, user_id, commitment_id, "accepted", sent, utc_now())


@post(
    "/{commitment_id:str}/reject",
    status_code=200,
    summary="Refuse a commitment",
    **declares(problems=(NotFound, Conflict)),
)
async def reject(commitment_id: FromPath[str], user_id: CurrentUser, db: Db) -> Commitment:
    """It stays to be seen, and becomes no task."""
    return await commitments.decide(db, user_id, commitment_id, "rejected", CommitmentChange(), utc_now())


sessions_router = Router("/api/sessions", route_handlers=[sessions, session], tags=["Coaching sessions"])
commitments_router = Router("/api/commitments", route_handlers=[change, accept, reject], tags=["Coaching sessions"])
