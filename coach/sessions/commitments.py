"""Commitments: a session proposes them, and the user accepts or rejects them. An accepted one becomes one task."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from uuid import UUID, uuid4

from msgspec import Struct, UnsetType
from msgspec.structs import asdict, replace

from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.errors import Conflict, InvalidInput, NotFound
from coach.sessions.repository import session_id_of
from coach.sessions.schemas import Commitment, CommitmentChange, CommitmentStatus
from coach.values.clock import FIRST_DAY, LAST_DAY

_sql = load("sessions")


class _Current(Struct, frozen=True):
    """One row of the query ``commitment_to_change``."""

    status: CommitmentStatus
    title: str
    due_date: date | None
    project_id: UUID | None


DECIDED: Mapping[CommitmentStatus, str] = {
    "proposed": "This commitment has been {}; only one that is proposed can be changed.",
    "accepted": "This commitment has been {}.",
    "rejected": "This commitment has been {}; delete or complete its task instead.",
}
"""Why one that has been decided on cannot become this."""


async def decide(  # noqa: PLR0917 - a decision's worth
    db: Database, user_id: UUID, id_: str, becomes: CommitmentStatus, wanted: CommitmentChange, now: datetime
) -> Commitment:
    """Change one that is proposed. Accepted, it becomes a task. One that is so already is answered as it is.

    :raises NotFound: absent, or another user's. :raises Conflict: it was decided otherwise. :raises InvalidInput:
    """
    commitment_id = session_id_of(id_, "commitment")
    async with db.as_user(user_id) as tx:
        current = await _sql.commitment_to_change.one(tx, _Current, user_id=user_id, id=commitment_id)
        if current is not None and current.status == "proposed":
            agreed = replace(await _wanted(tx, user_id, wanted, current), status=becomes)
            task_id = None
            if becomes == "accepted":
                if agreed.project_id is not None and not await _owns(tx, user_id, agreed.project_id):
                    agreed = replace(agreed, project_id=None)  # proposed, and deleted since
                task_id = await _make_task(tx, user_id, agreed, now)
            await _sql.change_commitment.run(
                tx, user_id=user_id, id=commitment_id, task_id=task_id, now=now, **asdict(agreed)
            )
        elif current is not None and current.status != becomes:
            raise Conflict(DECIDED[becomes].format(current.status))
        found = await _sql.one_commitment.one(tx, Commitment, user_id=user_id, id=commitment_id)
        if found is None:
            raise NotFound("There is no such commitment.")
        return found


async def _make_task(tx: Transaction, user_id: UUID, agreed: _Current, now: datetime) -> UUID:
    row = {"title": agreed.title, "due_date": agreed.due_date, "project_id": agreed.project_id}
    task_id = uuid4()
    await _sql.make_task.run(tx, user_id=user_id, id=task_id, now=now, **row)
    return task_id


async def _owns(tx: Transaction, user_id: UUID, project: UUID) -> bool:
    return await _sql.own_project.value(tx, user_id=user_id, id=project) is not None


async def _wanted(tx: Transaction, user_id: UUID, wanted: CommitmentChange, current: _Current) -> _Current:
    due = current.due_date if isinstance(wanted.due_date, UnsetType) else wanted.due_date
    if due is not None and not FIRST_DAY <= due <= LAST_DAY:
        raise InvalidInput("due_date", f"must be a day from {FIRST_DAY.year} to {LAST_DAY.year}.")
    project = current.project_id
    if not isinstance(wanted.project_id, UnsetType):
        project = wanted.project_id
        if project is not None and not await _owns(tx, user_id, project):
            raise InvalidInput("project_id", "must be the id of a project of yours.")
    return replace(current, title=wanted.checked_title(current.title), due_date=due, project_id=project)
