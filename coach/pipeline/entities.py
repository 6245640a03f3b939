"""From claimed rows to what has to be embedded of them: a handful of statements, however many users they are of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.errors import EmbedderUnavailable
from coach.kinds.base import Record, Snippet, UserContext
from coach.kinds.consents import covering
from coach.kinds.registry import KINDS
from coach.pipeline.embedding import Outcome
from coach.pipeline.queue import QueueRow

_sql, _memory = load("pipeline"), load("memory")

MESSAGES = "ai_conversation_memory"


class QueuedUser(Struct, frozen=True):
    """The user of claimed rows, and the models to embed for: the serving one first, then the target."""

    user_id: UUID
    context: UserContext
    models: tuple[str, ...]


class Text(Struct):
    """A text that ``model`` has no vector of yet, and what came of embedding it; of a message ``chunk`` is 0.

    ``outcome`` is None as long as it was not embedded: its model may not be asked any more.
    """

    model: str
    chunk: int
    title: str
    text: str
    content_hash: str
    outcome: Outcome | None = None


class RowPlan(Struct):
    """What to do with one claimed row: ``texts`` must be embedded first, then it is finished.

    ``outdated``: chunks and models whose vectors go; ``content``: a message's.
    """

    claimed: QueueRow
    user: QueuedUser
    updated_at: datetime
    texts: list[Text] = []
    outdated: list[tuple[int, str]] = []
    content: str | None = None

    @property
    def fault(self) -> str | None:
        """Why a text of it was refused: such a row stays in the queue."""
        return next((str(text.outcome) for text in self.texts if isinstance(text.outcome, EmbedderUnavailable)), None)


class UserRow(Struct, frozen=True):
    """Of ``users_of``: ``consents`` are the names of those that are given."""

    user_id: UUID
    consents: list[str]
    timezone: str
    serving: str | None


class EntityRow(Struct, frozen=True):
    """Of ``read_entities``: the columns by name, and the parents' names by their kinds."""

    user_id: UUID
    id: UUID
    updated_at: datetime
    columns: dict[str, Any]


class KnownText(Struct, frozen=True):
    """A chunk that ``model`` has a vector of."""

    user_id: UUID
    domain: str
    id: UUID
    chunk: int
    model: str
    content_hash: str | None


class Message(Struct, frozen=True):
    """A message to embed, and the models that it has vectors of already."""

    user_id: UUID
    id: UUID
    author: str | None
    content: str
    own_model: str | None
    other_models: list[str]

    @property
    def text(self) -> str:
        return f"{self.author}: {self.content}" if self.author else self.content


class Correction(Struct, frozen=True):
    """Another wording of a memory, or None where it was deleted. It overrides what the row says now."""

    user_id: UUID
    domain: str
    id: UUID
    content: str | None

    def apply(self, snippets: list[Snippet]) -> list[Snippet]:
        """One snippet with that wording in the place of the first, or none."""
        if self.content is None or not snippets:
            return []
        return [msgspec.structs.replace(min(snippets, key=lambda each: each.chunk), text=self.content)]


_Users = dict[UUID, QueuedUser]


async def read_rows(db: Database, rows: Sequence[QueueRow], target: str) -> list[RowPlan]:
    """Read what these rows say now. A row that is edited later has another version when it is stored."""
    entities = [row for row in rows if row.table in KINDS]
    messages = [row for row in rows if row.table == MESSAGES]
    async with db.as_operator() as tx:
        users = await _users(tx, rows, target)
        plans = [
            *(await _message_plans(tx, messages, users) if messages else ()),
            *(await _entity_plans(tx, entities, users) if entities else ()),
        ]
    unknown = [RowPlan(row, users[row.user_id], row.queued_at) for row in rows if row.table not in (MESSAGES, *KINDS)]
    return [*plans, *unknown]


def _keys(rows: Sequence[QueueRow]) -> dict[str, list[UUID]]:
    return {"users": [row.user_id for row in rows], "ids": [row.id for row in rows]}


async def _message_plans(tx: Transaction, rows: Sequence[QueueRow], users: _Users) -> list[RowPlan]:
    found = {(each.user_id, each.id): each for each in await _sql.messages.rows(tx, Message, **_keys(rows))}
    plans = []
    for row in rows:
        plans.append(plan := RowPlan(row, users[row.user_id], row.queued_at))
        message = found.get((row.user_id, row.id))
        if message is not None and plan.user.context.consents >= covering(MESSAGES):
            have = (message.own_model, *message.other_models)
            plan.content = message.content
            plan.texts = [Text(model, 0, "", message.text, "") for model in plan.user.models if model not in have]
    return plans


async def _entity_plans(tx: Transaction, rows: Sequence[QueueRow], users: _Users) -> list[RowPlan]:
    domains = [KINDS[row.table].kind for row in rows]
    known: dict[tuple[UUID, str, UUID], list[KnownText]] = {}
    for text in await _sql.known.rows(tx, KnownText, domains=domains, **_keys(rows)):
        known.setdefault((text.user_id, text.domain, text.id), []).append(text)
    corrections = {
        (each.user_id, each.domain, each.id): each
        for each in await _memory.corrections.rows(tx, Correction, domains=domains, **_keys(rows))
    }
    texts = await _snippets(tx, rows, users)
    plans = []
    for row, domain in zip(rows, domains, strict=True):
        key = (row.user_id, domain, row.id)
        snippets, updated_at = texts.get((row.table, row.user_id, row.id), ([], row.queued_at))
        if key in corrections:
            snippets = corrections[key].apply(snippets)
        plans.append(_entity_plan(row, users[row.user_id], updated_at, snippets, known.get(key, ())))
    return plans


def _entity_plan(
    row: QueueRow, user: QueuedUser, updated_at: datetime, snippets: Sequence[Snippet], known: Sequence[KnownText]
) -> RowPlan:
    owned = [text for text in known if KINDS[row.table].owns_chunk(text.chunk)]
    have = {(text.chunk, text.model): text.content_hash for text in owned}
    wanted = {snippet.chunk for snippet in snippets}
    missing = [
        Text(model, snippet.chunk, snippet.title, snippet.text, snippet.content_hash)
        for snippet in snippets
        for model in user.models
        if have.get((snippet.chunk, model)) != snippet.content_hash
    ]
    return RowPlan(row, user, updated_at, missing, [key for key in have if key[0] not in wanted])


async def _users(tx: Transaction, rows: Sequence[QueueRow], target: str) -> _Users:
    found = await _sql.users_of.rows(tx, UserRow, users=list({row.user_id for row in rows}))
    return {
        user.user_id: QueuedUser(
            user.user_id,
            UserContext(ZoneInfo(user.timezone), frozenset(user.consents)),
            (target,) if user.serving in (None, target) else (user.serving, target),
        )
        for user in found
    }


async def _snippets(
    tx: Transaction, rows: Sequence[QueueRow], users: _Users
) -> dict[tuple[str, UUID, UUID], tuple[list[Snippet], datetime]]:
    """By table, user and entity: what its row says, and since when."""
    texts = {}
    for name, kind in KINDS.items():
        allowed = [r for r in rows if r.table == name and kind.is_allowed(users[r.user_id].context.consents)]
        if not allowed:
            continue
        for row in await _sql.read_entities.rows(tx, EntityRow, queue_name=name, **_keys(allowed)):
            record = Record(row.id, row.updated_at, row.columns)
            snippets = list(kind.snippets(record, users[row.user_id].context))
            texts[name, row.user_id, row.id] = (snippets, row.updated_at)
    return texts
