"""From claimed rows to what has to be embedded of them: a handful of statements, however many users they are of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from msgspec import Struct

from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.kinds.base import Record, Snippet, UserContext
from coach.kinds.consents import covering
from coach.kinds.registry import KINDS
from coach.pipeline.corrections import corrected, corrections
from coach.pipeline.queue import QueueRow

_sql = load("pipeline")

MESSAGES = "ai_conversation_memory"


class QueuedUser(Struct, frozen=True):
    """The user of claimed rows, and the models to embed for: the serving one first, then the target."""

    user_id: UUID
    context: UserContext
    models: tuple[str, ...]


class Missing(Struct, frozen=True):
    """A text that ``model`` has no vector of yet; of a message ``chunk`` is 0."""

    plan: int
    model: str
    chunk: int
    title: str
    text: str
    content_hash: str


class RowPlan(Struct, frozen=True):
    """What to do with one claimed row. ``outdated``: chunks and models whose vectors go; ``content``: a message's."""

    claimed: QueueRow
    updated_at: datetime
    outdated: tuple[tuple[int, str], ...] = ()
    content: str | None = None


class Work(Struct, frozen=True):
    """A batch, read. Each plan finishes its row; ``missing`` are the texts that must be embedded first."""

    users: dict[UUID, QueuedUser]
    plans: list[RowPlan]
    missing: list[Missing]


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


_Texts = dict[tuple[UUID, str, UUID], tuple[list[Snippet], datetime]]
_Known = dict[tuple[UUID, str, UUID], list[KnownText]]
_Messages = dict[tuple[UUID, UUID], Message]


async def read_rows(db: Database, rows: Sequence[QueueRow], target: str) -> Work:
    """Read what these rows say now. A row that is edited later has another version when it is stored."""
    async with db.as_operator() as tx:
        users = await _users(tx, rows, target)
        texts = await _snippets(tx, rows, users)
        known = await _known(tx, rows)
        messages = await _messages(tx, rows)
    work = Work(users, [], [])
    for row in rows:
        if row.table == MESSAGES:
            _plan_message(work, row, messages.get((row.user_id, row.id)))
        else:
            _plan_entity(work, row, texts, known)
    return work


def _plan_message(work: Work, row: QueueRow, message: Message | None) -> None:
    user, place = work.users[row.user_id], len(work.plans)
    if message is None or not user.context.consents >= covering(MESSAGES):
        work.plans.append(RowPlan(row, row.queued_at))
        return
    work.plans.append(RowPlan(row, row.queued_at, content=message.content))
    have = (message.own_model, *message.other_models)
    work.missing.extend(Missing(place, model, 0, "", message.text, "") for model in user.models if model not in have)


def _plan_entity(work: Work, row: QueueRow, texts: _Texts, known: _Known) -> None:
    user, place = work.users[row.user_id], len(work.plans)
    snippets, updated_at = texts.get((row.user_id, row.table, row.id), ([], row.queued_at))
    kind = KINDS.get(row.table)
    have = {
        (text.chunk, text.model): text.content_hash
        for text in known.get((row.user_id, kind.kind if kind else "", row.id), ())
        if kind is not None and kind.owns_chunk(text.chunk)
    }
    wanted = {snippet.chunk for snippet in snippets}
    work.plans.append(RowPlan(row, updated_at, tuple(key for key in have if key[0] not in wanted)))
    work.missing.extend(
        Missing(place, model, snippet.chunk, snippet.title, snippet.text, snippet.content_hash)
        for snippet in snippets
        for model in user.models
        if have.get((snippet.chunk, model)) != snippet.content_hash
    )


async def _users(tx: Transaction, rows: Sequence[QueueRow], target: str) -> dict[UUID, QueuedUser]:
    found = await _sql.users_of.rows(tx, UserRow, users=list({row.user_id for row in rows}))
    return {
        user.user_id: QueuedUser(
            user.user_id,
            UserContext(ZoneInfo(user.timezone), frozenset(user.consents)),
            (target,) if user.serving in (None, target) else (user.serving, target),
        )
        for user in found
    }


async def _snippets(tx: Transaction, rows: Sequence[QueueRow], users: dict[UUID, QueuedUser]) -> _Texts:
    texts: _Texts = {}
    for name, kind in KINDS.items():
        allowed = [r for r in rows if r.table == name and kind.is_allowed(users[r.user_id].context.consents)]
        if not allowed:
            continue
        keys = {"users": [row.user_id for row in allowed], "ids": [row.id for row in allowed]}
        for row in await _sql.read_entities.rows(tx, EntityRow, queue_name=name, **keys):
            record = Record(row.id, row.updated_at, row.columns)
            snippets = list(kind.snippets(record, users[row.user_id].context))
            texts[row.user_id, name, row.id] = (snippets, row.updated_at)
    by_owner = await corrections(tx, [(row, KINDS[row.table].kind) for row in rows if row.table in KINDS])
    for (user_id, name, id_), (snippets, updated_at) in texts.items():
        if (key := (user_id, KINDS[name].kind, id_)) in by_owner:
            texts[user_id, name, id_] = (corrected(snippets, by_owner[key]), updated_at)
    return texts


async def _known(tx: Transaction, rows: Sequence[QueueRow]) -> _Known:
    embedded = [row for row in rows if row.table in KINDS]
    known: _Known = {}
    if embedded:
        for text in await _sql.known.rows(
            tx,
            KnownText,
            users=[row.user_id for row in embedded],
            domains=[KINDS[row.table].kind for row in embedded],
            ids=[row.id for row in embedded],
        ):
            known.setdefault((text.user_id, text.domain, text.id), []).append(text)
    return known


async def _messages(tx: Transaction, rows: Sequence[QueueRow]) -> _Messages:
    claimed = [row for row in rows if row.table == MESSAGES]
    if not claimed:
        return {}
    keys = {"users": [row.user_id for row in claimed], "ids": [row.id for row in claimed]}
    return {(message.user_id, message.id): message for message in await _sql.messages.rows(tx, Message, **keys)}
