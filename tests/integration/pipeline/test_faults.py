"""An embedder that fails in every way there is: nobody's row is lost, and only a poisoned one is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY

from coach.database.pool import Database
from coach.errors import EmbedderUnavailable
from coach.pipeline.queue import ATTEMPTS
from coach.pipeline.worker import Worker
from coach.retrieval.base import Vector
from coach.retrieval.wordllama import WordllamaEmbedder
from coach.testing.stub_provider import StubProvider
from coach.testing.stub_script import Body, Embeddings, Stall, Status
from tests.integration.pipeline.conftest import Held, PipelineUser, until

ATTEMPTED = "select max(attempts) from embedding_queue where user_id = %(me)s"
DEAD = """
    select t.name from embedding_queue q join tasks t on t.user_id = q.user_id and t.id = q.entity_id
    where q.user_id = %(me)s and q.not_before = 'infinity'
"""


class Fussy(WordllamaEmbedder):
    """An endpoint that refuses whatever has the word poison in it, and with it the whole request."""

    calls = 0

    async def embed_documents(self, texts: Sequence[str]) -> Vector:
        self.calls += 1
        if any("poison" in text for text in texts):
            raise EmbedderUnavailable("The embedder answered with 400.")
        return await super().embed_documents(texts)


def counted() -> tuple[float, float, float]:
    """Rows done and failed, and pauses, as Prometheus hears of them."""
    names = (
        ("coach_embedded_rows_total", {"outcome": "done"}),
        ("coach_embedded_rows_total", {"outcome": "failed"}),
        ("coach_embedder_pauses_total", {}),
    )
    done, failed, pauses = (REGISTRY.get_sample_value(name, labels) or 0.0 for name, labels in names)
    return done, failed, pauses


@pytest.mark.parametrize(
    "step",
    [
        Status(500), Status(503, retry_after=1), Status(429, retry_after="1"), Status(429), Status(401), Status(402),
        Status(404), Stall(headers=False), Body("[]"), Embeddings(missing=1), Embeddings(width=4000),
    ],
    ids=lambda step: f"{type(step).__name__}-{getattr(step, 'code', '')}",
)  # fmt: skip
async def test_an_upstream_that_is_away_costs_no_row_an_attempt(
    ann: PipelineUser, stub_worker: Worker, model_stub: StubProvider, step: Any
) -> None:
    await ann.adds_task("Buy shoes")
    if isinstance(step, Stall):
        stub_worker._embedder._timeout = 0.5  # type: ignore[attr-defined]
    model_stub.embeddings_always(step)
    before, began = counted(), monotonic()

    await stub_worker.work()

    assert counted() == (*before[:2], before[2] + 1)
    assert await ann.rows(ATTEMPTED) == [(0,)]
    assert await ann.remembered() == []
    assert stub_worker._paused_until > began + (1 if getattr(step, "retry_after", None) else 0.5)
    model_stub.embeddings_always(Embeddings())
    await until(lambda: _remembers(stub_worker, ann))


async def _remembers(worker: Worker, person: PipelineUser) -> bool:
    await worker.work()
    return len(await person.remembered()) == 1


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def held_worker(worker_db: Database, held: Held) -> Worker:
    return Worker(worker_db, held)


async def tried_before(person: PipelineUser, times: int) -> None:
    id_ = await person.adds_task(f"Tried {times} times")
    await person.does("update embedding_queue set attempts = %(times)s where entity_id = %(id)s", id=id_, times=times)


async def test_an_upstream_that_wants_to_be_left_alone_is_not_asked_for_what_else_is_due(
    ann: PipelineUser, stub_worker: Worker, model_stub: StubProvider
) -> None:
    await ann.adds_task("Buy shoes")
    for times in (3, 5):
        await tried_before(ann, times)
    model_stub.embeddings_always(Status(429, retry_after="30"))

    await stub_worker.work()

    assert model_stub.embedding_calls == 1
    assert await ann.rows(ATTEMPTED) == [(5,)]


async def test_no_lease_runs_while_its_rows_wait_for_others(ann: PipelineUser, held_worker: Worker, held: Held) -> None:
    """It would end before their turn came, and others would take and charge them again and again."""
    await ann.adds_task("Buy shoes")
    await tried_before(ann, 5)
    working = asyncio.create_task(held_worker.work())
    await held.is_asked.wait()

    assert await ann.rows(ATTEMPTED) == [(5,)]
    held.go_on.set()
    await working
    assert len(await ann.remembered()) == 2


async def test_a_refused_text_alone_becomes_a_dead_letter(
    ann: PipelineUser, someone: Callable[[], Awaitable[PipelineUser]], worker_db: Database
) -> None:
    ben, embedder = await someone(), Fussy()
    worker = Worker(worker_db, embedder)
    for number in range(40):
        await (ann if number % 2 else ben).adds_task(f"Task {number}")
    await ann.adds_task("This is poison")

    before = counted()
    await worker.work()

    assert len(await ann.remembered()) == len(await ben.remembered()) == 20
    assert embedder.calls < 40
    assert counted() == (before[0] + 40, before[1] + 1, before[2])
    for _ in range(ATTEMPTS):
        await ann.does("update embedding_queue set not_before = now() where not_before < 'infinity'")
        await worker.work()
    assert await ann.rows(DEAD) == [("This is poison",)]
    assert [kind for kind, _, _ in await ann.audit()].count("metadata_embedding_error") == 2

    await ann.does("update tasks set name = 'Antidote' where name = 'This is poison'")
    await worker.work()
    assert len(await ann.remembered()) == 21
    assert await ann.queued() == []


async def test_a_row_that_ends_every_worker_is_given_up_at_the_claim(ann: PipelineUser, worker: Worker) -> None:
    await ann.adds_task("Deadly")
    await ann.adds_task("Harmless")
    await ann.does(
        "update embedding_queue q set attempts = 8, leased_until = now() - interval '1 second', lease_token = %(t)s"
        " from tasks t where t.user_id = q.user_id and t.id = q.entity_id and t.name = 'Deadly'",
        t=uuid4(),
    )

    await worker.work()

    assert await ann.rows(DEAD) == [("Deadly",)]
    assert await ann.remembered() == ["Harmless. Task. Open, medium priority."]


async def test_an_edit_while_the_embedder_works_is_embedded_next(
    ann: PipelineUser, held_worker: Worker, held: Held
) -> None:
    await ann.adds_task("Old")
    working = asyncio.create_task(held_worker.work())
    await held.is_asked.wait()

    await ann.does("update tasks set name = 'New'")
    held.go_on.set()
    await working

    assert await ann.remembered() == []
    assert await ann.queued() == [("tasks", 2)]
    await held_worker.work()
    assert await ann.remembered() == ["New. Task. Open, medium priority."]


@pytest.mark.parametrize("what", ["delete from tasks", "consent"])
async def test_what_goes_while_the_embedder_works_stays_away(
    ann: PipelineUser, held_worker: Worker, held: Held, what: str
) -> None:
    await ann.adds_task("Old")
    working = asyncio.create_task(held_worker.work())
    await held.is_asked.wait()

    if what == "consent":
        what = "insert into user_analytics_preferences (user_id, record_rag_snippets) values (%(me)s, false)"
    await ann.does(what)
    held.go_on.set()
    await working

    assert await ann.remembered() == []
    assert await ann.queued() == []


@pytest.mark.parametrize("is_cut_off", [False, True], ids=["told to stop", "cut off"])
async def test_a_stop_gives_back_what_it_cannot_finish(
    ann: PipelineUser, stub_worker: Worker, model_stub: StubProvider, monkeypatch: pytest.MonkeyPatch, is_cut_off: bool
) -> None:
    monkeypatch.setattr("coach.pipeline.worker.STOP_GRACE", 0.1)
    await ann.adds_task("Buy shoes")
    model_stub.embeddings_always(Stall(headers=False))
    running = asyncio.create_task(stub_worker.run())
    await model_stub.until(lambda stub: stub.embedding_calls == 1)

    running.cancel() if is_cut_off else stub_worker.stop()
    await asyncio.wait({running}, timeout=20)

    assert running.done(), "it waits for the provider's answer, which never comes"
    assert await ann.rows(
        "select attempts, lease_token, leased_until < now() from embedding_queue where user_id = %(me)s"
    ) == [(0, None, True)]


async def test_two_workers_share_the_work_and_do_nothing_twice(
    ann: PipelineUser, worker_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # They store for one person: on a slow machine the one would give way to the other, and embed its rows again.
    monkeypatch.setattr("coach.database.operators.LOCK_TIMEOUT", "60s")
    await ann.does("insert into tasks (user_id, name) select %(me)s, 'T' || n from generate_series(1, 1200) n")
    counting = [Fussy(), Fussy()]
    workers = [Worker(worker_db, embedder) for embedder in counting]

    for _ in range(4):
        await asyncio.gather(*(worker.work() for worker in workers))

    assert len(await ann.remembered()) == 1200
    assert await ann.queued() == []
    assert sum(embedder.calls for embedder in counting) <= 6


async def test_an_import_delays_no_edit_of_another_user(
    ann: PipelineUser, someone: Callable[[], Awaitable[PipelineUser]], worker: Worker
) -> None:
    ben = await someone()
    await ben.does("insert into tasks (user_id, name) select %(me)s, 'T' || n from generate_series(1, 3000) n")
    await ann.adds_task("Mine")

    await worker.work()

    assert len(await ann.remembered()) == 1
