"""From claimed rows to what has to be embedded of them: a handful of statements, however many users they are of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
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
    """As far as they decide what is embedded, in the order of the queries ``people`` and ``hold_person``."""

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
        people = {person.user_id: person async for person in _people(tx, rows, target)}
        texts = await _snippets(tx, rows, people)
        known = await _known(tx, rows)
        messages = await _messages(tx, rows)
    work = Work(people, [], [])
    for row in rows:
        _plan(work, row, texts, known, messages)
    return work


def _plan(work: Work, row: Claimed, texts: _Texts, known: _Known, messages: dict[tuple[UUID, UUID], Any]) -> None:
    person, place = work.people[row.user_id], len(work.plans)
    if row.table == MESSAGES:
        said = messages.get((row.user_id, row.id)) if person.consents.remember else None
        work.plans.append(Plan(row, row.queued_at, content=said and said[1]))
        if said is not None:
            author, content, *have = said
            text = f"{author}: {content}" if author else content
            work.missing.extend(
                Missing(place, model, 0, "", text, "") for model in person.models if model not in _flat(have)
            )
        return
    snippets, updated_at = texts.get((row.user_id, row.table, row.id), ([], row.queued_at))
    have_hashes = {
        (chunk, model): content_hash
        for chunk, model, content_hash in known.get((row.user_id, DOMAINS.get(row.table, ""), row.id), [])
        if row.table not in ("pillar_metrics", "area_metrics") or (chunk > 0) == (row.table == "pillar_metrics")
    }
    wanted = {snippet.chunk for snippet in snippets}
    work.plans.append(Plan(row, updated_at, tuple(key for key in have_hashes if key[0] not in wanted)))
    for snippet in snippets:
        for model in person.models:
            if have_hashes.get((snippet.chunk, model)) != snippet.content_hash:
                work.missing.append(
                    Missing(place, model, snippet.chunk, snippet.title, snippet.text, snippet.content_hash)
                )


def _flat(have: Sequence[Any]) -> list[str]:
    own, others = have
    return [own, *others]


async def _people(tx: Transaction, rows: Sequence[Claimed], target: str) -> AsyncIterator[Person]:
    users = list({row.user_id for row in rows})
    async for user_id, remember, context, behavioral, metrics, zone, serving in _sql.people(tx, users=users):
        models = (target,) if serving in (None, target) else (serving, target)
        yield Person(user_id, Consents(remember, context, behavioral, metrics), ZoneInfo(zone), models)


_Texts = dict[tuple[UUID, str, UUID], tuple[list[Snippet], datetime]]
_Known = dict[tuple[UUID, str, UUID], list[tuple[int, str, str | None]]]


async def _snippets(tx: Transaction, rows: Sequence[Claimed], people: dict[UUID, Person]) -> _Texts:
    texts: _Texts = {}
    for table in DOMAINS:
        allowed = [row for row in rows if row.table == table and people[row.user_id].consents.allow(table)]
        if not allowed:
            continue
        found = getattr(_sql, table)(tx, users=[row.user_id for row in allowed], ids=[row.id for row in allowed])
        async for user_id, id_, updated_at, *columns in found:
            texts[user_id, table, id_] = (list(_told(table, people[user_id], id_, columns)), updated_at)
    by_owner = await corrections(tx, [(row, DOMAINS[row.table]) for row in rows if row.table in DOMAINS])
    for (user_id, table, id_), (snippets, updated_at) in texts.items():
        if (key := (user_id, DOMAINS[table], id_)) in by_owner:
            texts[user_id, table, id_] = (corrected(snippets, by_owner[key]), updated_at)
    return texts


def _told(table: str, person: Person, id_: UUID, columns: Sequence[Any]) -> Iterator[Snippet]:
    """The snippets of one row, whose columns stand as in the query of its table's name."""
    match table:
        case "pillars":
            yield of_pillar(PillarRow(id_, *columns))
        case "areas":
            yield of_area(AreaRow(id_, *columns))
        case "projects":
            yield of_project(ProjectRow(id_, *columns))
        case "tasks":
            context = task_context(columns[9]) if person.consents.task_context else None
            yield of_task(TaskRow(*[id_, *columns[:9], context, *columns[10:]]))
        case "journal_entries":
            title, content, mood, energy, tags, day = columns
            yield from of_journal(JournalRow(id_, title or "", content or "", mood, energy, tuple(tags or ()), day))
        case _:
            name, kind, metrics = columns
            yield from of_metrics(MetricsRow(id_, name, kind, metrics, person.timezone))


async def _known(tx: Transaction, rows: Sequence[Claimed]) -> _Known:
    embedded = [row for row in rows if row.table in DOMAINS]
    known: _Known = {}
    if embedded:
        async for user_id, domain, id_, chunk, model, content_hash in _sql.known(
            tx,
            users=[row.user_id for row in embedded],
            domains=[DOMAINS[row.table] for row in embedded],
            ids=[row.id for row in embedded],
        ):
            known.setdefault((user_id, domain, id_), []).append((chunk, model, content_hash))
    return known


async def _messages(tx: Transaction, rows: Sequence[Claimed]) -> dict[tuple[UUID, UUID], Any]:
    said = [row for row in rows if row.table == MESSAGES]
    if not said:
        return {}
    found = _sql.messages(tx, users=[row.user_id for row in said], ids=[row.id for row in said])
    return {(user_id, id_): columns async for user_id, id_, *columns in found}
