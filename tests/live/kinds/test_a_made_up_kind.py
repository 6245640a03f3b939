"""A kind that is added by one migration and one module is embedded, searched, cited, forgotten and purged."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from psycopg import AsyncConnection

from coach.database.migrations import migrate
from coach.kinds.registry import KINDS
from coach.resources import SQL
from coach.settings import load_settings
from tests.live.conftest import SECRET, ApiUser, eventually, serving
from tests.live.kinds.habit import KIND

QUESTION = "What do I do with the kettle in the morning?"


@pytest.fixture(scope="module")
def kind() -> Iterator[None]:
    KINDS[KIND.queue_name] = KIND
    yield
    del KINDS[KIND.queue_name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our files of SQL, and one migration more."""
    folder = tmp_path_factory.mktemp("schema") / "sql"
    shutil.copytree(SQL, folder)
    shutil.copy(Path(__file__).with_name("0900_habits.sql"), folder / "migrations")
    return folder


@pytest.fixture(scope="module")
def coach_url(kind: None, folder: Path, owner_url: str, database_url: str, worker_url: str) -> Iterator[str]:
    reports: list[str] = []
    applied = asyncio.run(migrate(owner_url, folder=folder, report=reports.append))
    assert applied.migrations == 1
    assert not any("could not" in line for line in reports)
    settings = load_settings(database_url=database_url, worker_database_url=worker_url, jwt_secret=SECRET)
    with serving(settings) as url:
        yield url


class Habits:
    """Ann's, in the database, and what the coach finds of them."""

    def __init__(self, ann: ApiUser, owner: AsyncConnection[tuple[object, ...]]) -> None:
        self.ann, self.owner = ann, owner
        self.id, self.area = uuid4(), uuid4()

    async def run(self, statement: str, *values: object) -> None:
        await self.owner.execute(statement.encode(), values)

    async def add(self) -> UUID:
        await self.run("insert into areas (user_id, id, name) values (%s, %s, 'Mornings')", self.ann.user_id, self.area)
        await self.run(
            "insert into habits (user_id, id, area_id, name, cue) values (%s, %s, %s, 'Stretch', %s)",
            self.ann.user_id, self.id, self.area, "When the kettle boils, stretch both calves.",
        )  # fmt: skip
        await eventually(self.is_found)
        return self.id

    async def found(self) -> list[dict[str, str]]:
        response = await self.ann.gets(f"/api/search?domain=habit&q={QUESTION}")
        assert response.status_code == 200, response.text
        items: list[dict[str, str]] = response.json()["items"]
        return items

    async def is_found(self) -> bool:
        return [item["source_id"] for item in await self.found()] == [f"habit:{self.id}"]

    async def says(self, words: str) -> bool:
        return any(words in item["snippet"] for item in await self.found())

    async def vectors(self) -> int:
        row = await (
            await self.owner.execute(
                "select count(*) from user_metadata_embeddings where user_id = %s and domain_tag = 'habit'",
                (self.ann.user_id,),
            )
        ).fetchone()
        return int(str(row[0])) if row else 0


@pytest.fixture
async def habits(ann: ApiUser, owner: AsyncConnection[tuple[object, ...]]) -> Habits:
    habits = Habits(ann, owner)
    await habits.add()
    return habits


async def test_it_is_embedded_searched_cited_and_shown_on_the_page(habits: Habits) -> None:
    assert await habits.says("Stretch. When the kettle boils, stretch both calves. Habit in Mornings.")

    answer = await habits.ann.asks(QUESTION)

    assert f"habit:{habits.id}" in [part["sourceId"] for part in answer.parts if part["type"] == "source-document"]
    assert "Your habit “Stretch”" in answer.text
    async with httpx.AsyncClient() as client:
        config = (await client.get(f"{habits.ann.client.base_url}/api/config")).json()
    assert {"kind": "habit", "label": "Habit", "icon": KIND.icon} in config["kinds"]


async def test_it_follows_a_change_and_the_name_of_what_it_hangs_below(habits: Habits) -> None:
    await habits.run("update habits set cue = 'After the first coffee.' where id = %s", habits.id)
    await eventually(lambda: habits.says("After the first coffee."))
    await habits.run("update areas set name = 'Early hours' where id = %s", habits.area)
    await eventually(lambda: habits.says("Habit in Early hours."))


async def test_until_it_is_embedded_a_turn_reads_it_live(habits: Habits) -> None:
    # As if no worker had come by yet.
    await habits.run("delete from user_metadata_embeddings where user_id = %s", habits.ann.user_id)
    await habits.run(
        "insert into embedding_queue (user_id, entity_table, entity_id, not_before)"
        " values (%s, 'habits', %s, 'infinity')",
        habits.ann.user_id,
        habits.id,
    )

    answer = await habits.ann.asks("What needs my attention today?")

    assert [part for part in answer.parts if part["type"] == "source-document"] == []
    assert "Stretch" in answer.text, answer.text[300:]


@pytest.mark.parametrize(
    "gone",
    [
        "delete from habits where id = %s",
        "update habits set archived = true where id = %s",
        "delete from areas where id = (select area_id from habits where id = %s)",
    ],
)
async def test_what_is_deleted_or_hidden_is_forgotten_at_once(habits: Habits, gone: str) -> None:
    await habits.run(gone, habits.id)
    assert await habits.vectors() == 0
    assert await habits.found() == []


async def test_what_is_shown_again_is_found_again(habits: Habits) -> None:
    await habits.run("update habits set archived = true where id = %s", habits.id)
    await habits.run("update habits set archived = false where id = %s", habits.id)
    await eventually(habits.is_found)


async def test_a_withdrawn_consent_purges_it_and_keeps_it_out_until_it_is_given_again(habits: Habits) -> None:
    async def prefers(given: bool) -> None:
        response = await habits.ann.client.patch(
            "/api/me/preferences", json={"track_pillar_metrics": given}, headers=habits.ann.headers
        )
        assert response.status_code == 200, response.text

    await prefers(False)
    assert await habits.vectors() == 0
    await habits.run("update habits set cue = 'Never embedded.' where id = %s", habits.id)
    assert await habits.found() == []
    await prefers(True)
    await eventually(lambda: habits.says("Never embedded."))


async def test_it_goes_with_the_account(habits: Habits) -> None:
    await habits.run("delete from auth.users where id = %s", habits.ann.user_id)
    assert await habits.vectors() == 0


async def test_a_browser_writes_its_own_and_sees_nobody_elses(habits: Habits, person) -> None:  # type: ignore[no-untyped-def]
    ben = await person()
    response = await ben.gets(f"/api/search?domain=habit&q={QUESTION}")
    assert response.json()["items"] == []
