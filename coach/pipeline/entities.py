"""From claimed rows to what has to be embedded of them: a handful of statements, however many users they are of."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.errors import EmbedderUnavailable
from coach.kinds.base import EntityKind, Record, Snippet, UserContext, pieces
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
    """Of ``read_entities``: ``columns`` is JSON, of the columns by name and the parents' names by their kinds."""

    user_id: UUID
    id: UUID
    updated_at: datetime
    columns: str


class KnownTexts(Struct, frozen=True):
    """What has a vector of an entity, as JSON: chunk, model and hash of each."""

    user_id: UUID
    domain: str
    id: UUID
    texts: str


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


_Key = tuple[UUID, str, UUID]
_known_texts = msgspec.json.Decoder(list[tuple[int, str, str | None]]).decode


class Found(Struct, frozen=True):
    """What the database says of claimed rows: by user, and by user, table or domain, and entity."""

    users: dict[UUID, QueuedUser]
    messages: dict[_Key, Message]
    entities: dict[_Key, EntityRow]
    known: dict[_Key, str]
    corrections: dict[_Key, Correction]


async def read_rows(db: Database, rows: Sequence[QueueRow], target: str) -> list[RowPlan]:
    """Read what these rows say now. A row that is edited later has another version when it is stored."""
    async with db.as_operator() as tx:
        users = await _users(tx, rows, target)
        found = Found(users, {}, {}, {}, {})
        if messages := _keys([row for row in rows if row.table == MESSAGES]):
            found.messages.update(
                ((m.user_id, MESSAGES, m.id), m) for m in await _sql.messages.rows(tx, Message, **messages)
            )
        for name, kind in KINDS.items():
            allowed = [
                row for row in rows if row.table == name and kind.is_allowed(users[row.user_id].context.consents)
            ]
            if keys := _keys(allowed):
                read = await _sql.read_entities.rows(tx, EntityRow, queue_name=name, **keys)
                found.entities.update(((each.user_id, name, each.id), each) for each in read)
        if keys := _keys(entities := [row for row in rows if row.table in KINDS]):
            domains = [KINDS[row.table].kind for row in entities]
            known = await _sql.known.rows(tx, KnownTexts, domains=domains, **keys)
            found.known.update(((each.user_id, each.domain, each.id), each.texts) for each in known)
            corrections = await _memory.corrections.rows(tx, Correction, domains=domains, **keys)
            found.corrections.update(((each.user_id, each.domain, each.id), each) for each in corrections)
    # Cutting and hashing 500 long entries takes seconds, in which the server has others to answer.
    return await asyncio.to_thread(lambda: [_plan(row, found) for row in rows])


def _keys(rows: Sequence[QueueRow]) -> dict[str, list[UUID]]:
    return {"users": [row.user_id for row in rows], "ids": [row.id for row in rows]} if rows else {}


def _plan(row: QueueRow, found: Found) -> RowPlan:
    if row.table in KINDS:
        return _entity_plan(row, found, KINDS[row.table])
    plan = RowPlan(row, found.users[row.user_id], row.queued_at)
    message = found.messages.get((row.user_id, row.table, row.id))
    if message is not None and plan.user.context.consents >= covering(MESSAGES):
        have = (message.own_model, *message.other_models)
        plan.content = message.content
        plan.texts = [Text(model, 0, "", message.text, "") for model in plan.user.models if model not in have]
    return plan


def _entity_plan(row: QueueRow, found: Found, kind: EntityKind) -> RowPlan:
    plan, key = RowPlan(row, found.users[row.user_id], row.queued_at), (row.user_id, kind.kind, row.id)
    snippets: list[Snippet] = []
    if entity := found.entities.get((row.user_id, row.table, row.id)):
        record = Record(entity.id, entity.updated_at, msgspec.json.decode(entity.columns))
        snippets = [piece for snippet in kind.snippets(record, plan.user.context) for piece in pieces(snippet)]
        plan.updated_at = entity.updated_at
    if key in found.corrections:
        snippets = found.corrections[key].apply(snippets)
    known = _known_texts(found.known.get(key, "[]"))
    have = {(chunk, model): content_hash for chunk, model, content_hash in known if kind.owns_chunk(chunk)}
    wanted = {snippet.chunk: snippet.content_hash for snippet in snippets}
    plan.texts = [
        Text(model, snippet.chunk, snippet.title, snippet.text, wanted[snippet.chunk])
        for snippet in snippets
        for model in plan.user.models
        if have.get((snippet.chunk, model)) != wanted[snippet.chunk]
    ]
    plan.outdated = [place for place in have if place[0] not in wanted]
    return plan


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
