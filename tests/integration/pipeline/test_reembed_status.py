"""``coach reembed --status`` as an operator runs it, while a real change of model is under way."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from coach.database.pool import Database
from coach.pipeline.worker import Worker
from tests.integration.pipeline.conftest import PipelineUser, until
from tests.integration.pipeline.test_messages import grown_old, says
from tests.integration.pipeline.test_reembed import ALL, A, B, finished, models
from tests.live.processes import run_coach

Status = Callable[..., str]


@pytest.fixture
def status(worker_url: str) -> Status:
    """``status("--json", COACH_EMBEDDING_MODEL=…)``: what it prints."""

    def run(*options: str, **environment: str) -> str:
        given = os.environ | {"COACH_DATABASE_URL": worker_url} | environment
        done = run_coach(["reembed", "--status", *options], given)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


async def test_before_any_worker_it_says_that_there_was_none(status: Status) -> None:
    assert "No worker has run yet" in status()
    assert json.loads(status("--json"))["target"] is None


async def test_a_running_change_is_reported_as_text_and_as_json(
    ann: PipelineUser, worker_db: Database, status: Status
) -> None:
    await ann.does("insert into tasks (user_id, name) select %(me)s, 'Task ' || n from generate_series(1, 399) n")
    await says(ann, "My knee hurts.")
    await grown_old(ann)
    await finished(Worker(worker_db, A, build=ALL.get))
    worker = Worker(worker_db, B, build=ALL.get)
    await worker.work()  # 250 of the 400

    told = status(COACH_EMBEDDING_MODEL="model-c", COACH_OPENAI_API_KEY="k")
    data: dict[str, Any] = json.loads(status("--json"))

    assert "To model-b, begun" in told
    assert "[##################............] 62%  250 of 400 texts" in told
    assert "0 of 1 users switched" in told
    assert "model-a: 1 users still, 250 of 400 texts filled in" in told
    assert "Nothing moved" in told
    assert "worker_model_is_not_target" in told
    assert "COACH_EMBEDDING_MODEL is model-c here, but the worker that started last has model-b" in told
    assert data["models"] == [
        {"model": "model-a", "users": 1, "filling": 0, "vectors": 400, "filled": 250, "waiting": 0, "given_up": 0}
    ]
    assert (data["target"], data["texts_done"], data["texts"]) == ("model-b", 250, 400)
    assert (data["is_complete"], data["is_moving"], data["seconds_left"]) == (False, False, None)

    await ann.adds_task("One that waits")
    assert "1 rows of theirs wait in the queue" in status()

    await finished(worker)
    assert "All 1 users are served from model-b, by 401 vectors." in status()
    assert json.loads(status("--json"))["is_complete"]


async def test_what_moves_has_a_pace_and_an_end(
    ann: PipelineUser, worker_db: Database, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coach.pipeline.reembed.FILL", 10)  # a minute's work, however late somebody asks
    await ann.does("insert into tasks (user_id, name) select %(me)s, 'More ' || n from generate_series(1, 2000) n")
    await finished(Worker(worker_db, A, build=ALL.get))

    class Slow(type(B)):  # type: ignore[misc]
        async def embed_documents(self, texts: Any) -> Any:
            await asyncio.sleep(0.3)
            return await super().embed_documents(texts)

    working = asyncio.create_task(Worker(worker_db, Slow("model-b", 1), build=ALL.get).run())
    await until(lambda: _has_begun(ann))
    data: dict[str, Any] = json.loads(await asyncio.to_thread(status, "--json"))
    working.cancel()
    await asyncio.wait([working])

    assert data["is_moving"]
    assert data["texts_per_second"] > 0
    assert data["seconds_left"] >= 0


async def _has_begun(person: PipelineUser) -> bool:
    return "model-b" in await models(person)


async def test_dead_letters_are_reported_with_what_to_do(
    ann: PipelineUser, worker_db: Database, status: Status
) -> None:
    await ann.adds_task("Poison")
    await finished(Worker(worker_db, A, build=ALL.get))
    await ann.does("update tasks set name = 'Worse poison'")
    await ann.does("update embedding_queue set not_before = 'infinity', attempts = 8, last_error = 'refused'")

    assert "1 rows are given up" in status()
    assert "POST /admin/pipeline/retry" in status()
