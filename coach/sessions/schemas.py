"""Sessions and commitments on the wire."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from coach.conversations.schemas import bounded
from coach.errors import InvalidInput
from coach.stages.stages import Cause, Kind
from coach.values.text import up_to

MAX_TITLE = 200

CommitmentStatus = Literal["proposed", "accepted", "rejected", "done"]


class Session(Struct):
    """``status`` is ``active``, then ``ending`` until the summary is made, then ``ended``.

    ``stages`` are those of its kind, in order; ``stage`` is where it stands, or stood when it ended. ``proposed``
    counts the commitments without a decision.
    """

    id: UUID
    conversation_id: str | None
    kind: Kind
    stage: str
    stages: tuple[str, ...]
    status: Literal["active", "ending", "ended"]
    summary: str | None
    started_at: datetime
    ended_at: datetime | None
    proposed: int


class Step(Struct):
    """``cause``: ``started``, ``advanced`` and ``ended`` are the user's commands, ``judged`` is the model's
    judgement."""

    stage: str
    cause: Cause
    at: datetime


class Commitment(Struct):
    """``project_id`` and ``due_date`` go into the task. ``done``: that task is completed."""

    id: UUID
    session_id: UUID | None
    title: str
    due_date: date | None
    project_id: UUID | None
    project: str | None
    status: CommitmentStatus
    task_id: UUID | None
    created_at: datetime
    updated_at: datetime


class SessionDetail(Session, kw_only=True):
    """A session with the way it took and what came of it."""

    steps: list[Step]
    commitments: list[Commitment]


class SessionPage(Struct):
    """Newest first."""

    items: list[Session]
    next_cursor: str | None = None


class CommitmentChange(Struct, forbid_unknown_fields=True):
    """What is left out stays; null takes a due date or a project away."""

    title: Annotated[str, up_to(MAX_TITLE, least=1)] | UnsetType = UNSET
    due_date: date | UnsetType | None = UNSET
    project_id: UUID | UnsetType | None = UNSET

    def checked_title(self, current: str) -> str:
        """The title on one line.

        :raises InvalidInput: empty, too long, or with a NUL.
        """
        if isinstance(self.title, UnsetType):
            return current
        title = " ".join(bounded(self.title, "title", MAX_TITLE).split())
        if not title:
            raise InvalidInput("title", f"must have 1 to {MAX_TITLE} characters.")
        return title


class SessionPush(Struct, tag_field="type", tag="session"):
    """What open sockets hear when a session has changed."""

    session: SessionDetail
