"""From claimed rows to what has to be embedded of them: a handful of statements, however many users they are of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from msgspec import Struct

from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.pipeline.corrections import corrected, corrections
from coach.pipeline.queue import Claimed
from coach.pipeline.snippets import (
    AreaRow,
    JournalRow,
    PillarRow,
    ProjectRow,
    Snippet,
    TaskRow,
    of_area,
    of_journal,
    of_pillar,
    of_project,
    of_task,
    task_context,
)
from coach.pipeline.summaries import MetricsRow, of_metrics

_sql = load("pipeline")

MESSAGES = "ai_conversation_memory"
DOMAINS = {
    "pillars": "pillar",
    "areas": "area",
    "projects": "project",
    "tasks": "task",
    "journal_entries": "journal_entry",
    "pillar_metrics": "behavior_summary",
    "area_metrics": "behavior_summary",
}
_BEHAVIORAL = ("journal_entries", "pillar_metrics", "area_metrics")


class Consents(Struct, frozen=True):
    """As far as they decide what is embedded: a row of the query ``hold_person``."""

    remember: bool = True
    task_context: bool = True
    behavioral: bool = True
    metrics: bool = True

    def allow(self, table: str) -> bool:
        if table in _BEHAVIORAL and not self.behavioral:
            return False
        return self.remember and (self.metrics or table not in ("pillar_metrics", "area_metrics"))


class Person(Struct, frozen=True):
    """Whose rows, and the models that they are kept in: the serving one first, then the one that is to follow it."""

    user_id: UUID
    consents: Consents
    timezone: ZoneInfo
    models: tuple[str, ...]


class _PersonRow(Struct, frozen=True):
    """One row of the query ``people``."""

    user_id: UUID
    remember: bool
    task_context: bool
    behavioral: bool
    metrics: bool
    timezone: str
    serving: str | None

    def person(self, target: str) -> Person:
        models = (target,) if self.serving in (None, target) else (self.serving, target)
        consents = Consents(self.remember, self.task_context, self.behavioral, self.metrics)
        return Person(self.user_id, consents, ZoneInfo(self.timezone), models)


class _Known(Struct, frozen=True):
    """One row of the query ``known``: a chunk that ``model`` has a vector of."""

    user_id: UUID
    domain: str
    id: UUID
    chunk: int
    model: str
    content_hash: str | None


class _Message(Struct, frozen=True):
    """One row of the query ``messages``, with the models that it has vectors of."""

    user_id: UUID
    id: UUID
    author: str | None
    content: str
    own_model: str | None
    other_models: list[str]

    @property
    def text(self) -> str:
        return f"{self.author}: {self.content}" if self.author else self.content


class Missing(Struct, frozen=True):
    """A text that ``model`` has no vector of yet; of a message ``chunk`` is 0."""

    plan: int
    model: str
    chunk: int
    title: str
    text: str
    content_hash: str


class Plan(Struct, frozen=True):
    """What becomes of one claimed row. ``outdated``: chunks and models whose vectors go; ``content``: a message's."""

    claimed: Claimed
    updated_at: datetime
    outdated: tuple[tuple[int, str], ...] = ()
    content: str | None = None


class Work(Struct, frozen=True):
    """A batch, read. Each plan finishes its row; ``missing`` are the texts that must be embedded first."""

    people: dict[UUID, Person]
    plans: list[Plan]
    missing: list[Missing]


async def read(db: Database, rows: Sequence[Claimed], target: str) -> Work:
    """What these rows say now. What is edited after this has another version by the time it is to be stored."""
    async with db.as_operator() as tx:
        people = await _people(tx, rows, target)
        texts = await _snippets(tx, rows, people)
        known = await _known(tx, rows)
        messages = await _messages(tx, rows)
    work = Work(people, [], [])
    for row in rows:
        _plan(work, row, texts, known, messages)
    return work


def _plan(work: Work, row: Claimed, texts: _Texts, known: _KnownBy, messages: _MessagesBy) -> None:
    person, place = work.people[row.user_id], len(work.plans)
    if row.table == MESSAGES:
        said = messages.get((row.user_id, row.id)) if person.consents.remember else None
        work.plans.append(Plan(row, row.queued_at, content=said.content if said else None))
        if said is not None:
            missing = [model for model in person.models if model not in (said.own_model, *said.other_models)]
            work.missing.extend(Missing(place, model, 0, "", said.text, "") for model in missing)
        return
    snippets, updated_at = texts.get((row.user_id, row.table, row.id), ([], row.queued_at))
    have_hashes = {
        (each.chunk, each.model): each.content_hash
        for each in known.get((row.user_id, DOMAINS.get(row.table, ""), row.id), [])
        if row.table not in ("pillar_metrics", "area_metrics") or (each.chunk > 0) == (row.table == "pillar_metrics")
    }
    wanted = {snippet.chunk for snippet in snippets}
    work.plans.append(Plan(row, updated_at, tuple(key for key in have_hashes if key[0] not in wanted)))
    for snippet in snippets:
        for model in person.models:
            if have_hashes.get((snippet.chunk, model)) != snippet.content_hash:
                work.missing.append(
                    Missing(place, model, snippet.chunk, snippet.title, snippet.text, snippet.content_hash)
                )


async def _people(tx: Transaction, rows: Sequence[Claimed], target: str) -> dict[UUID, Person]:
    found = await _sql.people.rows(tx, _PersonRow, users=list({row.user_id for row in rows}))
    return {row.user_id: row.person(target) for row in found}


_Texts = dict[tuple[UUID, str, UUID], tuple[list[Snippet], datetime]]
_KnownBy = dict[tuple[UUID, str, UUID], list[_Known]]
_MessagesBy = dict[tuple[UUID, UUID], _Message]


async def _snippets(tx: Transaction, rows: Sequence[Claimed], people: dict[UUID, Person]) -> _Texts:
    texts: _Texts = {}
    for table in DOMAINS:
        allowed = [row for row in rows if row.table == table and people[row.user_id].consents.allow(table)]
        if not allowed:
            continue
        query, users = getattr(_sql, table), [row.user_id for row in allowed]
        for columns in await query.rows(tx, dict, users=users, ids=[row.id for row in allowed]):
            user_id, updated_at = columns.pop("user_id"), columns.pop("updated_at")
            texts[user_id, table, columns["id"]] = (list(_told(table, people[user_id], columns)), updated_at)
    by_owner = await corrections(tx, [(row, DOMAINS[row.table]) for row in rows if row.table in DOMAINS])
    for (user_id, table, id_), (snippets, updated_at) in texts.items():
        if (key := (user_id, DOMAINS[table], id_)) in by_owner:
            texts[user_id, table, id_] = (corrected(snippets, by_owner[key]), updated_at)
    return texts


def _told(table: str, person: Person, columns: dict[str, Any]) -> Iterator[Snippet]:
    """The snippets of one row, whose columns are named as the fields of its struct."""
    match table:
        case "pillars":
            yield of_pillar(PillarRow(**columns))
        case "areas":
            yield of_area(AreaRow(**columns))
        case "projects":
            yield of_project(ProjectRow(**columns))
        case "tasks":
            metadata = columns.pop("task_metadata")
            yield of_task(TaskRow(**columns, context=task_context(metadata) if person.consents.task_context else None))
        case "journal_entries":
            yield from of_journal(JournalRow(**columns))
        case _:
            yield from of_metrics(MetricsRow(**columns, timezone=person.timezone))


async def _known(tx: Transaction, rows: Sequence[Claimed]) -> _KnownBy:
    embedded = [row for row in rows if row.table in DOMAINS]
    known: _KnownBy = {}
    if embedded:
        for each in await _sql.known.rows(
            tx,
            _Known,
            users=[row.user_id for row in embedded],
            domains=[DOMAINS[row.table] for row in embedded],
            ids=[row.id for row in embedded],
        ):
            known.setdefault((each.user_id, each.domain, each.id), []).append(each)
    return known


async def _messages(tx: Transaction, rows: Sequence[Claimed]) -> _MessagesBy:
    said = [row for row in rows if row.table == MESSAGES]
    if not said:
        return {}
    users, ids = [row.user_id for row in said], [row.id for row in said]
    return {(row.user_id, row.id): row for row in await _sql.messages.rows(tx, _Message, users=users, ids=ids)}
