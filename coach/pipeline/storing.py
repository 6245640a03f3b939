"""Storing what was embedded: one transaction a user, under their consents as they are by then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

from coach.database.operators import yielding_transaction
from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.kinds.registry import kind_of
from coach.pipeline.entities import MESSAGES, Missing, QueuedUser, RowPlan
from coach.pipeline.queue import Batch, QueueRow
from coach.realtime.pushes import store_pushes
from coach.retrieval.base import Vector, halfvec

_sql = load("pipeline")


class Embedded(Struct, frozen=True):
    """One text with its vector; without one where its model has given it up, or cannot be asked any more."""

    missing: Missing
    vector: Vector | None


class EmbeddedRow(Struct, frozen=True):
    """What of a row can be stored. One that is not ``is_whole`` has a text that was refused, and stays in the queue."""

    plan: RowPlan
    texts: Sequence[Embedded]
    is_whole: bool = True


async def store(db: Database, batch: Batch, person: QueuedUser, ready: Sequence[EmbeddedRow], now: datetime) -> int:
    """Store and finish what is still as it was claimed and read; the rest stays in the queue, uncharged, due at once.

    Returns how many rows were finished. The locks are taken in the order that sql/migrations/0012_processing.sql names.

    :raises DatabaseBusy: an open transaction holds the lock; nothing was stored.
    """
    user_id = person.user_id
    async with yielding_transaction(db) as tx:
        consents = await _sql.lock_consents.value(tx, user_id=user_id)
        if frozenset(consents) != person.context.consents:
            await _sql.release_rows.run(tx, user_id=user_id, token=batch.token, not_before="-infinity")
            return 0
        if await _serving(tx, person) != person.models[0]:
            await _sql.release_rows.run(tx, user_id=user_id, token=batch.token, not_before="-infinity")
            return 0
        held = await _hold(tx, user_id, batch, [each.plan.claimed for each in ready])
        still = [each for each in ready if (each.plan.claimed.table, each.plan.claimed.id) in held]
        await _write(tx, person, still)
        finished = [each for each in still if each.is_whole]
        for each in finished:
            if each.plan.claimed.expands:
                row = each.plan.claimed
                await _sql.expand.run(tx, user_id=user_id, entity_table=row.table, entity_id=row.id, now=now)
        done = [each.plan.claimed for each in finished]
        await _sql.finish.run(tx, user_id=user_id, tables=[row.table for row in done], ids=[row.id for row in done])
        told = list(_audit_line(user_id, finished, now))
        await _sql.log_audit.run_each(tx, told)
        await store_pushes(tx, user_id, [{"type": "data-changed", "domain": domain} for domain in _domains(told)])
    return len(finished)


async def _serving(tx: Transaction, person: QueuedUser) -> str | None:
    """The serving model, locked against a switch. A user whose account was deleted is not registered."""
    serving: str | None = await _sql.lock_serving_model.value(tx, user_id=person.user_id)
    if serving is None:
        await _sql.register.run(tx, user_id=person.user_id, model=person.models[-1])
        serving = await _sql.lock_serving_model.value(tx, user_id=person.user_id)
    return serving


async def _hold(tx: Transaction, user_id: UUID, batch: Batch, rows: Sequence[QueueRow]) -> set[tuple[str, UUID]]:
    messages = [row.id for row in rows if row.table == MESSAGES]
    if messages:
        await _sql.lock_messages.run(tx, user_id=user_id, ids=messages)
    held = await _sql.hold.rows(
        tx,
        tuple,
        user_id=user_id,
        token=batch.token,
        tables=[row.table for row in rows],
        ids=[row.id for row in rows],
        versions=[row.version for row in rows],
    )
    return set(held)


async def _write(tx: Transaction, person: QueuedUser, ready: Sequence[EmbeddedRow]) -> None:
    """The serving model's vectors first: a change of model that copies one waits there and sees both."""
    serving = person.models[0]
    snippets, messages, seconds = list[Any](), list[Any](), list[Any]()
    outdated = [_place(each.plan, chunk, model) for each in ready for chunk, model in each.plan.outdated]
    for each, text in [(row, text) for row in ready for text in row.texts]:
        row, missing = each.plan.claimed, text.missing
        if row.table == MESSAGES:
            if text.vector is not None:
                (messages if missing.model == serving else seconds).append(
                    {
                        "user_id": row.user_id,
                        "id": row.id,
                        "content": each.plan.content,
                        "embedding": halfvec(text.vector),
                        "model": missing.model,
                    }
                )
        elif text.vector is None:
            outdated.append(_place(each.plan, missing.chunk, missing.model))
        else:
            snippets.append(
                _place(each.plan, missing.chunk, missing.model)
                | {
                    "title": missing.title,
                    "text": missing.text,
                    "embedding": halfvec(text.vector),
                    "content_hash": missing.content_hash,
                    "updated_at": each.plan.updated_at,
                }
            )
    snippets.sort(key=lambda values: values["model"] != serving)
    for query, values in (
        (_sql.drop_snippet, outdated),
        (_sql.store_snippet, snippets),
        (_sql.store_message, messages),
        (_sql.store_target_vector, seconds),
    ):
        if values:
            await query.run_each(tx, values)


def _place(plan: RowPlan, chunk: int, model: str) -> dict[str, Any]:
    row = plan.claimed
    return {
        "user_id": row.user_id,
        "domain_tag": kind_of(row.table),
        "entity_id": row.id,
        "chunk": chunk,
        "model": model,
    }


def _domains(told: Sequence[dict[str, Any]]) -> Iterator[str]:
    return iter(dict.fromkeys(kind_of(line["table_name"]) for line in told))


def _audit_line(user_id: UUID, finished: Sequence[EmbeddedRow], now: datetime) -> Iterator[dict[str, Any]]:
    """One line a table: when its oldest change was queued, when all were done. None where no text changed."""
    queued: dict[str, list[datetime]] = {}
    for each in finished:
        if each.texts or each.plan.outdated:
            queued.setdefault(each.plan.claimed.table, []).append(each.plan.claimed.queued_at)
    for table, moments in queued.items():
        yield {
            "user_id": user_id,
            "kind": "metadata_embedding_completed",
            "table_name": table,
            "since": min(moments),
            "status": "completed",
            "error": None,
            "rows": len(moments),
            "now": now,
        }
