"""An open turn: its rows, and what was read when it opened."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from msgspec import Struct

from coach.chat.choice import Choice
from coach.chat.events import Quota
from coach.models.base import Role
from coach.stages.stages import SessionState
from coach.values.text import escape


class FirstLook(Struct, frozen=True):
    """One row of the query ``opening``: user and conversation, read before anything is locked."""

    monthly_limit: int
    running: int
    timezone: str
    has_consented: bool
    conversation_id: UUID | None
    leaf_id: UUID | None
    is_incognito: bool
    session: list[Any] | None


class Taken(Struct, frozen=True):
    """Units of the month that are taken, and those of them that belong to running turns, this one included."""

    units: int
    running: int


class Conversation(Struct, frozen=True):
    """The conversation's row, made or locked."""

    id: UUID
    leaf_id: UUID | None
    is_incognito: bool
    is_new: bool


class Reservation(Struct, frozen=True):
    """The rows of an open turn and the unit it holds: all that its ending needs."""

    user_id: UUID
    conversation_id: UUID
    answer_id: UUID
    interaction_id: UUID
    month: date
    limit: int


class PastMessage(Struct, frozen=True):
    """A message of the branch that leads to the question. ``is_ours``: an answer as a model gave it here."""

    id: UUID
    role: Role
    text: str
    is_ours: bool = False

    @property
    def as_data(self) -> str:
        """What came from elsewhere, as an answer too, can no more forge a prompt's delimiters than a source can."""
        return self.text if self.is_ours or self.role == "user" else escape(self.text)


class Opened(Struct, frozen=True):
    """A turn whose question is stored and whose unit is reserved. Keys are ids on the wire.

    ``may_embed`` says whether its texts may reach the embedder. ``history`` is newest first.
    """

    reservation: Reservation
    choice: Choice
    conversation_key: str
    question_id: UUID
    question_key: str
    answer_key: str
    feature: str
    text: str
    quota: Quota
    timezone: ZoneInfo
    may_embed: bool
    started: datetime
    session: SessionState | None = None
    history: Sequence[PastMessage] = ()

    @property
    def user_id(self) -> UUID:
        return self.reservation.user_id

    @property
    def conversation_id(self) -> UUID:
        return self.reservation.conversation_id

    @property
    def answer_id(self) -> UUID:
        return self.reservation.answer_id
