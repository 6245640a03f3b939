"""A row that cannot be read, embedded or stored costs no other row anything: neither an attempt nor a second's wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from psycopg import AsyncConnection

from coach.database.pool import Database
from coach.errors import NotAllDone
from coach.nudges.repository import make_nudges
from coach.pipeline.queue import ATTEMPTS
from coach.pipeline.worker import Worker
from coach.retrieval.base import Vector
from coach.retrieval.wordllama import WordllamaEmbedder
from tests.conftest import UNBOUND
from tests.integration.pipeline.conftest import PipelineUser

Make = Callable[[], Awaitable[PipelineUser]]
QUEUED = "select attempts, not_before = 'infinity', last_error from embedding_queue where user_id = %(me)s"


@pytest.fixture(autouse=True)
async def _boundless(owner: AsyncConnection[Any]) -> None:
    """Without the bounds that keep such rows out."""
    await owner.execute(UNBOUND)


async def bad_task(person: PipelineUser, owner: AsyncConnection[Any]) -> None:
    """One that Python cannot read: it was changed when time ends."""
    await owner.execute(
        "insert into tasks (user_id, name, updated_at) values (%s, 'Endless', 'infinity')", (person.id,)
    )


@pytest.mark.parametrize("column", ["updated_at", "task_metadata"])
async def test_an_unreadable_row_costs_the_others_of_its_batch_nothing(
    column: str, ann: PipelineUser, someone: Make, worker: Worker, owner: AsyncConnection[Any]
) -> None:
    ben = await someone()
    await ann.does("insert into tasks (user_id, name) select %(me)s, 'Task ' || n from generate_series(1, 40) n")
    await ben.adds_task("His own")
    if column == "updated_at":
        await bad_task(ben, owner)
    else:
        await ben.adds_task("Endless", task_metadata=f'{{"n": {"9" * 5_000}}}', description="x")

    await worker.work()

    assert len(await ann.remembered()) == 40
    assert (await ann.queued(), await ben.remembered()) == ([], ["His own. Task. Open, medium priority."])
    ((attempts, is_dead, error),) = await ben.rows(QUEUED)
    assert (attempts, is_dead) == (1, False)
    assert error.startswith("It could not be read (")
    assert "999" not in error


async def test_an_unreadable_row_ends_as_a_dead_letter_and_the_next_edit_mends_it(
    ann: PipelineUser, worker: Worker, owner: AsyncConnection[Any]
) -> None:
    await bad_task(ann, owner)
    for _ in range(ATTEMPTS):
        await owner.execute("update embedding_queue set not_before = now() where user_id = %s", (ann.id,))
        await worker.work()
    assert [(attempts, dead) for attempts, dead, _ in await ann.rows(QUEUED)] == [(ATTEMPTS, True)]

    await ann.does("update tasks set name = 'Mended'")  # which touches updated_at
    await worker.work()

    assert await ann.remembered() == ["Mended. Task. Open, medium priority."]


@pytest.mark.parametrize("code", ["program_limit_exceeded", "statement_too_complex", "data_exception", "P0001"])
async def test_a_row_that_the_database_will_not_store_is_charged_alone(
    code: str, ann: PipelineUser, someone: Make, worker: Worker, owner: AsyncConnection[Any]
) -> None:
    """A tsvector that is too long has a code of the class that a lost connection has."""
    ben = await someone()
    await owner.execute(
        f"""
        create or replace function refuse_poison() returns trigger language plpgsql as $$
        begin
            if new.title = 'Poison' then
                raise exception 'too much' using errcode = '{code}';
            end if;
            return new;
        end
        $$;
        drop trigger if exists refuse on user_metadata_embeddings;
        create trigger refuse before insert on user_metadata_embeddings for each row execute function refuse_poison();
    """.encode()
    )
    for person in (ann, ben):
        await person.adds_task("Rest the knee")
    await ann.adds_task("Poison")

    await worker.work()

    assert len(await ann.remembered()) == len(await ben.remembered()) == 1
    assert [attempts for attempts, _, error in await ann.rows(QUEUED) if "refused" in error] == [1]


async def test_a_text_that_breaks_the_embedder_costs_its_own_row_alone(
    ann: PipelineUser, someone: Make, worker_db: Database
) -> None:
    class Fragile(WordllamaEmbedder):
        async def embed_documents(self, texts: Sequence[str]) -> Vector:
            if any("Poison" in text for text in texts):
                raise UnicodeError("of a tokenizer")
            return await super().embed_documents(texts)

    ben = await someone()
    for person in (ann, ben):
        await person.adds_task("Rest the knee")
    await ann.adds_task("Poison")

    await Worker(worker_db, Fragile()).work()

    assert len(await ann.remembered()) == len(await ben.remembered()) == 1
    assert await ann.rows(QUEUED) == [(1, False, "It could not be embedded (UnicodeError).")]


async def test_a_batch_is_embedded_in_parts(ann: PipelineUser, worker_db: Database, monkeypatch: Any) -> None:
    sizes = list[int]()

    class Counting(WordllamaEmbedder):
        async def embed_documents(self, texts: Sequence[str]) -> Vector:
            sizes.append(len(texts))
            return await super().embed_documents(texts)

    monkeypatch.setattr("coach.pipeline.worker.PART", 10)
    await ann.does("insert into tasks (user_id, name) select %(me)s, 'Task ' || n from generate_series(1, 25) n")

    await Worker(worker_db, Counting()).work()

    assert sizes == [10, 10, 5]
    assert len(await ann.remembered()) == 25


async def test_a_row_that_breaks_the_nudges_of_its_user_breaks_nobody_elses(
    ann: PipelineUser, someone: Make, worker_db: Database, owner: AsyncConnection[Any]
) -> None:
    ben, now = await someone(), datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    for person in (ann, ben):
        await person.adds_task("Book the MRI", due_date="2026-11-20")
        await person.does(
            "insert into commitments (user_id, title, due_date, status, task_id)"
            " select %(me)s, name, due_date, 'accepted', id from tasks"
        )
    await owner.execute(
        f"""
        create function refuse_nudge() returns trigger language plpgsql as $$
        begin
            if new.user_id = '{ben.id}' then
                perform 'infinity'::timestamptz::date - '1 day'::interval, 1 / 0;
            end if;
            return new;
        end
        $$;
        create trigger refuse before insert on nudges for each row execute function refuse_nudge();
    """.encode()
    )

    with pytest.raises(NotAllDone, match=r"\(nudging: 1\)"):
        await make_nudges(worker_db, now)

    nudges = "select kind from nudges where user_id = %(me)s"
    assert (await ann.rows(nudges), await ben.rows(nudges)) == ([("overdue_commitment",)], [])
