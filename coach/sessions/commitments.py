"""Commitments: what a session proposed, and what their owner makes of it. Accepted, each becomes one task."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid4

from msgspec import UnsetType

from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.errors import Conflict, InvalidInput, NotFound
from coach.sessions.repository import identified
from coach.sessions.schemas import Commitment, CommitmentChange

_sql = load("sessions")


async def change(db: Database, user_id: UUID, id_: str, wanted: CommitmentChange, now: datetime) -> Commitment:
    """:raises NotFound: absent, or another user's. :raises Conflict: it has been decided on. :raises InvalidInput:"""
    commitment_id = identified(id_, "commitment")
    async with db.as_user(user_id) as tx:
        status, *current = await _locked(tx, user_id, commitment_id)
        if status != "proposed":
            raise Conflict(f"This commitment has been {status}; only one that is proposed can be changed.")
        title, due, project = await _wanted(tx, user_id, wanted, current)
        await _store(tx, user_id, commitment_id, title, due, project, "proposed", None, now)
        return await _one(tx, user_id, commitment_id)


async def accept(db: Database, user_id: UUID, id_: str, wanted: CommitmentChange, now: datetime) -> Commitment:
    """Make its task, with what is given instead of what was proposed. Accepted before, it is answered as it is.

    :raises NotFound: absent, or another user's. :raises Conflict: it was rejected. :raises InvalidInput:
    """
    commitment_id = identified(id_, "commitment")
    async with db.as_user(user_id) as tx:
        status, *current = await _locked(tx, user_id, commitment_id)
        if status == "rejected":
            raise Conflict("This commitment has been rejected.")
        if status == "proposed":
            title, due, project = await _wanted(tx, user_id, wanted, current)
            if project is not None and await _sql.own_project(tx, user_id=user_id, id=project) is None:
                project = None  # proposed, and deleted since
            task_id = uuid4()
            await _sql.make_task(
                tx, user_id=user_id, id=task_id, title=title, due_date=due, project_id=project, now=now
            )
            await _store(tx, user_id, commitment_id, title, due, project, "accepted", task_id, now)
        return await _one(tx, user_id, commitment_id)


async def reject(db: Database, user_id: UUID, id_: str, now: datetime) -> Commitment:
    """:raises NotFound: absent, or another user's. :raises Conflict: it was accepted."""
    commitment_id = identified(id_, "commitment")
    async with db.as_user(user_id) as tx:
        status, *current = await _locked(tx, user_id, commitment_id)
        if status not in ("proposed", "rejected"):
            raise Conflict("This commitment has been accepted; delete or complete its task instead.")
        if status == "proposed":
            title, due, project = current
            await _store(tx, user_id, commitment_id, title, due, project, "rejected", None, now)
        return await _one(tx, user_id, commitment_id)


async def _locked(tx: Transaction, user_id: UUID, commitment_id: UUID) -> Any:
    row = await _sql.commitment_to_change(tx, user_id=user_id, id=commitment_id)
    if row is None:
        raise NotFound("There is no such commitment.")
    return row


async def _one(tx: Transaction, user_id: UUID, commitment_id: UUID) -> Commitment:
    return Commitment(*await _sql.one_commitment(tx, user_id=user_id, id=commitment_id))


async def _wanted(
    tx: Transaction, user_id: UUID, wanted: CommitmentChange, current: Any
) -> tuple[str, date | None, UUID | None]:
    title, due, project = current
    if not isinstance(wanted.due_date, UnsetType):
        due = wanted.due_date
    if not isinstance(wanted.project_id, UnsetType):
        project = wanted.project_id
        if project is not None and await _sql.own_project(tx, user_id=user_id, id=project) is None:
            raise InvalidInput("project_id", "must be the id of a project of yours.")
    return wanted.checked_title(title), due, project


async def _store(  # noqa: PLR0917 - a row's worth
    tx: Transaction,
    user_id: UUID,
    id_: UUID,
    title: str,
    due: date | None,
    project: UUID | None,
    status: str,
    task_id: UUID | None,
    now: datetime,
) -> None:
    await _sql.change_commitment(
        tx,
        user_id=user_id,
        id=id_,
        title=title,
        due_date=due,
        project_id=project,
        status=status,
        task_id=task_id,
        now=now,
    )
