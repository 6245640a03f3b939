"""Storing what was embedded: one transaction a user, under their consents as they are by then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from coach.database.operators import yielding_transaction
from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.errors import EmbedderUnavailable
from coach.kinds.registry import kind_of
from coach.pipeline.entities import MESSAGES, QueuedUser, RowPlan
from coach.pipeline.queue import ATTEMPTS, Batch, QueueRow, audit_line
from coach.realtime.pushes import store_pushes
from coach.retrieval.base import halfvec

_sql = load("pipeline")


async def store(db: Database, batch: Batch, plans: Sequence[RowPlan], now: datetime) -> int:
    """Store and finish what is still as it was claimed and read; the rest stays in the queue, uncharged, due at once.

    ``plans`` are of one user. Returns how many rows were finished. The locks are taken in the order that
    sql/migrations/0012_processing.sql names.

    :raises DatabaseBusy: an open transaction holds the lock; nothing was stored.
    """
    user = plans[0].user
    user_id = user.user_id
    async with yielding_transaction(db) as tx:
        consents = await _sql.lock_consents.value(tx, user_id=user_id)
        if frozenset(consents) != user.context.consents or await _serving(tx, user) != user.models[0]:
            await _sql.release_rows.run(tx, user_id=user_id, token=batch.token, not_before="-infinity")
            return 0
        held = await _hold(tx, user_id, batch, [plan.claimed for plan in plans])
        still = [plan for plan in plans if (plan.claimed.table, plan.claimed.id) in held]
        await _write(tx, user, still)
        finished = [plan for plan in still if plan.fault is None]
        done = [plan.claimed for plan in finished]
        for row in done:
            if row.expands:
                await _sql.expand.run(tx, user_id=user_id, entity_table=row.table, entity_id=row.id, now=now)
        await _sql.finish.run(tx, user_id=user_id, tables=[row.table for row in done], ids=[row.id for row in done])
        lines = list(_audit_lines(user_id, finished, now))
        await _sql.log_audit.run_each(tx, lines)
        domains = dict.fromkeys(kind_of(line["table_name"]) for line in lines)
        await store_pushes(tx, user_id, [{"type": "data-changed", "domain": domain} for domain in domains])
    return len(finished)


async def _serving(tx: Transaction, user: QueuedUser) -> str | None:
    """The serving model, locked against a switch. A user whose account was deleted is not registered."""
    serving: str | None = await _sql.lock_serving_model.value(tx, user_id=user.user_id, model=user.models[-1])
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


async def _write(tx: Transaction, user: QueuedUser, plans: Sequence[RowPlan]) -> None:
    """The serving model's vectors first: a change of model that copies one waits there and sees both."""
    serving = user.models[0]
    snippets, messages, seconds = list[Any](), list[Any](), list[Any]()
    outdated = [_place(plan, chunk, model) for plan in plans for chunk, model in plan.outdated]
    for row_plan, text in [(plan, text) for plan in plans for text in plan.texts]:
        is_message, place = row_plan.claimed.table == MESSAGES, _place(row_plan, text.chunk, text.model)
        match text.outcome:
            case EmbedderUnavailable() if row_plan.claimed.attempts < ATTEMPTS:
                pass
            case EmbedderUnavailable() | None:
                # Of a dead letter, and of a model that cannot be asked, the old text must not be found for ever.
                outdated += [] if is_message else [place]
            case vector if is_message:
                (messages if text.model == serving else seconds).append(
                    {
                        "user_id": user.user_id, "id": row_plan.claimed.id, "content": row_plan.content,
                        "embedding": halfvec(vector), "model": text.model,
                    }
                )  # fmt: skip
            case vector:
                snippets.append(
                    place
                    | {
                        "title": text.title, "text": text.text, "embedding": halfvec(vector),
                        "content_hash": text.content_hash, "updated_at": row_plan.updated_at,
                    }
                )  # fmt: skip
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
        "user_id": row.user_id, "domain_tag": kind_of(row.table), "entity_id": row.id, "chunk": chunk, "model": model,
    }  # fmt: skip


def _audit_lines(user_id: UUID, finished: Sequence[RowPlan], now: datetime) -> Iterator[dict[str, Any]]:
    """One line a table: when its oldest change was queued, when all were done. None where no text changed."""
    queued: dict[str, list[datetime]] = {}
    for plan in finished:
        if plan.texts or plan.outdated:
            queued.setdefault(plan.claimed.table, []).append(plan.claimed.queued_at)
    for table, moments in queued.items():
        yield audit_line(user_id, table, min(moments), now, rows=len(moments))
