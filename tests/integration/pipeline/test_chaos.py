"""Workers killed at random moments under an embedder that fails at random: nothing lost, nothing twice, nothing stale.

``CHAOS_KILLS=50 CHAOS_ROWS=1000`` is the size that the project promises; the suite runs a smaller one.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import pytest

from coach.testing.stub_provider import StubProvider
from coach.testing.stub_script import Embeddings, Stall, Status
from tests.integration.pipeline.conftest import PipelineUser, until
from tests.integration.pipeline.victim import work

KILLS, ROWS = int(os.environ.get("CHAOS_KILLS", "8")), int(os.environ.get("CHAOS_ROWS", "300"))
WORKERS = 3
DEAD = """
    select t.name from embedding_queue q join tasks t on t.user_id = q.user_id and t.id = q.entity_id
    where q.user_id = %(me)s and q.not_before = 'infinity'
"""


class Crew:
    """Worker processes; whoever is killed is replaced."""

    def __init__(self, *arguments: str) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.integration.pipeline.victim"])
        self._arguments = arguments
        self._processes = [self._hire() for _ in range(WORKERS)]

    def _hire(self) -> Any:
        process = self._context.Process(target=work, args=self._arguments, daemon=True)
        process.start()
        return process

    def kill_one(self) -> None:
        place = random.randrange(WORKERS)
        self._processes[place].kill()
        self._processes[place].join()
        self._processes[place] = self._hire()

    def dismiss(self) -> None:
        for process in self._processes:
            process.kill()
            process.join()


def trouble() -> Any:
    return random.choice(
        [
            Status(500), Status(502), Status(429, retry_after="0.3"), Stall(headers=False), Embeddings(missing=1),
            Embeddings(delay=0.2), Embeddings(delay=0.4),
        ]
    )  # fmt: skip


@pytest.mark.timeout(60 + KILLS * 3 + 70)
async def test_killed_workers_and_a_failing_embedder_lose_nothing(
    someone: Callable[[], Awaitable[PipelineUser]], worker_url: str, model_stub: StubProvider, worker_db: Any
) -> None:
    people = [await someone() for _ in range(4)]
    for person in people:
        await person.does(
            "insert into tasks (user_id, name) select %(me)s, 'Task ' || n from generate_series(1, %(rows)s) n",
            rows=ROWS // len(people),
        )
    model_stub.poison = b"arsenic"
    await people[0].adds_task("arsenic")
    crew = Crew(worker_url, model_stub.url)
    try:
        for kill in range(KILLS):
            model_stub.embeddings_will(*(trouble() for _ in range(6)))
            await asyncio.sleep(random.uniform(0.1, 0.8))
            for person in people:
                await person.does(
                    "update tasks set description = %(text)s"
                    " where id in (select id from tasks where name <> 'arsenic' order by random() limit 25)",
                    text=f"Edited {kill}",
                )
            crew.kill_one()
        model_stub.reset()
        model_stub.poison = b"arsenic"
        recovered = monotonic()
        await until(lambda: all_done(people), 60)
        print(f"{KILLS} kills, {ROWS} rows: done {monotonic() - recovered:.1f} s after the last one")
        # The poison spends its eight attempts; nobody waits for their half minutes here.
        for _ in range(40):
            await people[0].does("update embedding_queue set not_before = now() where not_before < 'infinity'")
            if await people[0].rows(DEAD):
                break
            await asyncio.sleep(0.5)
    finally:
        crew.dismiss()

    assert [await person.rows(DEAD) for person in people] == [[("arsenic",)], [], [], []]
    for person in people:
        written = await person.rows(
            "select concat_ws(' ', name || '.', description, 'Task. Open, medium priority.') from tasks"
            " where user_id = %(me)s and name <> 'arsenic'"
        )
        assert sorted(await person.remembered()) == sorted(text for (text,) in written)


async def all_done(people: list[PipelineUser]) -> bool:
    left = [
        await person.rows(
            "select from embedding_queue q join tasks t on t.user_id = q.user_id and t.id = q.entity_id"
            " where q.user_id = %(me)s and t.name <> 'arsenic'"
        )
        for person in people
    ]
    return not any(left)
