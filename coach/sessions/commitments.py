"""Commitments: a session proposes them, and the user accepts or rejects them. An accepted one becomes one task."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID, uuid4

from msgspec import Struct, UnsetType
from msgspec.structs import asdict, replace

from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.errors import Conflict, InvalidInput, NotFound
from coach.sessions.repository import session_id_of
from coach.sessions.schemas import Commitment, CommitmentChange, CommitmentStatus

_sql = load("sessions")


class _Current(Struct, frozen=True):
    """One row of the query ``commitment_to_change``."""

    status: CommitmentStatus
    title: str
    due_date: date | None
    project_id: UUID | None


async def change(db: Database, user_id: UUID, id_: str, wanted: CommitmentChange, now: datetime) -> Commitment:
    """:raises NotFound: absent, or another user's. :raises Conflict: it has been decided on. :raises InvalidInput:"""
    commitment_id = session_id_of(id_, "commitment")
    async with db.as_user(user_id) as tx:
        current = await _locked(tx, user_id, commitment_id)
        if current.status != "proposed":
            raise Conflict(f"This commitment has been {current.status}; only one that is proposed can be changed.")
        await _store(tx, user_id, commitment_id, await _wanted(tx, user_id, wanted, current), None, now)
        return await _one(tx, user_id, commitment_id)


async def accept(db: Database, user_id: UUID, id_: str, wanted: CommitmentChange, now: datetime) -> Commitment:
    """Make its task, with what is given instead of what was proposed. Accepted before, it is answered as it is.

    :raises NotFound: absent, or another user's. :raises Conflict: it was rejected. :raises InvalidInput:
    """
    commitment_id = session_id_of(id_, "commitment")
    async with db.as_user(user_id) as tx:
        current = await _locked(tx, user_id, commitment_id)
        if current.status == "rejected":
            raise Conflict("This commitment has been rejected.")
        if current.status == "proposed":
            agreed = replace(await _wanted(tx, user_id, wanted, current), status="accepted")
            if agreed.project_id is not None and not await _owns(tx, user_id, agreed.project_id):
                agreed = replace(agreed, project_id=None)  # proposed, and deleted since
            task_id = uuid4()
            await _sql.make_task.run(
                tx,
                user_id=user_id,
                id=task_id,
                title=agreed.title,
                due_date=agreed.due_date,
                project_id=agreed.project_id,
                now=now,
            )
            await _store(tx, user_id, commitment_id, agreed, task_id, now)
        return await _one(tx, user_id, commitment_id)


async def reject(db: Database, user_id: UUID, id_: str, now: datetime) -> Commitment:
    """:raises NotFound: absent, or another user's. :raises Conflict: it was accepted."""
    commitment_id = session_id_of(id_, "commitment")
    async with db.as_user(user_id) as tx:
        current = await _locked(tx, user_id, commitment_id)
        if current.status not in ("proposed", "rejected"):
            raise Conflict("This commitment has been accepted; delete or complete its task instead.")
        if current.status == "proposed":
            await _store(tx, user_id, commitment_id, replace(current, status="rejected"), None, now)
        return await _one(tx, user_id, commitment_id)


async def _locked(tx: Transaction, user_id: UUID, commitment_id: UUID) -> _Current:
    row = await _sql.commitment_to_change.one(tx, _Current, user_id=user_id, id=commitment_id)
    if row is None:
        raise NotFound("There is no such commitment.")
    return row


async def _one(tx: Transaction, user_id: UUID, commitment_id: UUID) -> Commitment:
    found = await _sql.one_commitment.one(tx, Commitment, user_id=user_id, id=commitment_id)
    if found is None:
        raise NotFound("There is no such commitment.")
    return found


async def _owns(tx: Transaction, user_id: UUID, project: UUID) -> bool:
    return await _sql.own_project.value(tx, user_id=user_id, id=project) is not None


async def _wanted(tx: Transaction, user_id: UUID, wanted: CommitmentChange, current: _Current) -> _Current:
    due = current.due_date if isinstance(wanted.due_date, UnsetType) else wanted.due_date
    project = current.project_id
    if not isinstance(wanted.project_id, UnsetType):
        project = wanted.project_id
        if project is not None and not await _owns(tx, user_id, project):
            raise InvalidInput("project_id", "must be the id of a project of yours.")
    return replace(current, title=wanted.checked_title(current.title), due_date=due, project_id=project)


async def _store(  # noqa: PLR0917 - a row's worth
    tx: Transaction, user_id: UUID, id_: UUID, becomes: _Current, task_id: UUID | None, now: datetime
) -> None:
    await _sql.change_commitment.run(tx, user_id=user_id, id=id_, task_id=task_id, now=now, **asdict(becomes))
