"""What a change of life leads to: the words that are remembered of it, once, and gone with it."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from coach.pipeline.worker import Worker
from tests.integration.pipeline.conftest import PipelineUser

TREE = """
    insert into pillars (user_id, id, name) values (%(me)s, %(id)s, 'Health');
    insert into areas (user_id, id, pillar_id, name) values (%(me)s, %(id)s, %(id)s, 'Running');
    insert into projects (user_id, id, area_id, name) values (%(me)s, %(id)s, %(id)s, 'Half marathon');
    insert into tasks (user_id, id, project_id, name) values (%(me)s, %(id)s, %(id)s, 'Buy shoes');
"""


async def plant(person: PipelineUser) -> UUID:
    """A pillar, an area, a project and a task in each other, all of one id."""
    id_ = uuid4()
    for statement in TREE.strip().split(";\n")[:4]:
        await person.does(statement.strip().rstrip(";"), id=id_)
    return id_


async def test_a_new_task_is_remembered_with_all_that_it_belongs_to(ann: PipelineUser, worker: Worker) -> None:
    await plant(ann)

    assert await worker.work()

    assert await ann.remembered() == [
        "Buy shoes. Task of the project Half marathon. Open, medium priority.\n↑ Part of Running, Health."
    ]
    assert await ann.queued() == []
    assert not await worker.work()


async def test_twenty_edits_are_one_row_and_one_embedding(ann: PipelineUser, worker: Worker) -> None:
    id_ = await ann.adds_task("0")
    for number in range(20):
        await ann.does("update tasks set name = %(name)s where id = %(id)s", id=id_, name=f"Version {number}")

    assert await ann.queued() == [("tasks", 21)]
    await worker.work()

    assert await ann.remembered() == ["Version 19. Task. Open, medium priority."]
    assert len(await ann.audit()) == 1


async def test_what_no_snippet_is_made_of_queues_nothing(ann: PipelineUser, worker: Worker) -> None:
    id_ = await ann.adds_task("Buy shoes")
    await worker.work()

    await ann.does("update tasks set sort_order = 7, category = 'errands' where id = %(id)s", id=id_)
    await ann.does("update tasks set name = name where id = %(id)s", id=id_)

    assert await ann.queued() == []


async def test_an_edit_and_back_is_not_embedded_again(ann: PipelineUser, worker: Worker) -> None:
    id_ = await ann.adds_task("Buy shoes")
    await worker.work()
    before = await ann.rows("select id, xmin::text from user_metadata_embeddings where user_id = %(me)s")

    for name in ("Sell shoes", "Buy shoes"):
        await ann.does("update tasks set name = %(name)s where id = %(id)s", id=id_, name=name)
    await worker.work()

    assert await ann.rows("select id, xmin::text from user_metadata_embeddings where user_id = %(me)s") == before
    assert await ann.queued() == []


async def test_a_renamed_pillar_reaches_everything_under_it_by_one_row(ann: PipelineUser, worker: Worker) -> None:
    id_ = await plant(ann)
    await worker.work()

    await ann.does("update pillars set name = 'Body' where id = %(id)s", id=id_)

    assert await ann.queued() == [("pillars", 1)]
    await worker.work()
    await worker.work()
    assert "Part of Running, Body." in (await ann.remembered())[0]
    assert "Part of Body." in (await ann.remembered("project"))[0]
    assert "pillar Body" in (await ann.remembered("area"))[0]
    assert await ann.queued() == []


@pytest.mark.parametrize("table", ["pillars", "areas", "projects", "tasks"])
async def test_what_is_archived_is_found_no_more_from_that_moment_until_it_is_taken_up_again(
    ann: PipelineUser, worker: Worker, table: str
) -> None:
    id_, domain = await plant(ann), table.removesuffix("s")
    if table in ("pillars", "areas"):
        points = json.dumps([{"timestamp": datetime.now(UTC).isoformat(), "alignment_score": 0.5}])
        await ann.does(f"update {table} set behavior_metrics = %(points)s", points=points)
    await worker.work()
    before = [await ann.remembered(tag) for tag in (domain, "behavior_summary")]
    assert len(before[0]) == 1

    await ann.does(f"update {table} set archived = true where id = %(id)s", id=id_)

    assert [await ann.remembered(tag) for tag in (domain, "behavior_summary")] == [[], []]
    assert await ann.queued() == []
    await ann.does(f"update {table} set description = 'In a drawer' where id = %(id)s", id=id_)
    assert await ann.queued() == []

    await ann.does(f"update {table} set description = null, archived = false where id = %(id)s", id=id_)
    await worker.work()
    assert [await ann.remembered(tag) for tag in (domain, "behavior_summary")] == before


async def test_what_comes_archived_is_not_embedded_and_what_waited_waits_no_more(
    ann: PipelineUser, worker: Worker
) -> None:
    await ann.adds_task("Put away at once", archived=True)
    assert await ann.queued() == []

    id_ = await ann.adds_task("Put away before anybody looked")
    await ann.does("update tasks set archived = true where id = %(id)s", id=id_)
    assert await ann.queued() == []


async def test_an_archived_area_is_named_as_it_is_called_now_by_what_goes_on_in_it(
    ann: PipelineUser, worker: Worker
) -> None:
    id_ = await plant(ann)
    await ann.does("update areas set archived = true where id = %(id)s", id=id_)
    await worker.work()

    await ann.does("update areas set name = 'Walking' where id = %(id)s", id=id_)
    for _ in range(2):
        await worker.work()

    assert await ann.remembered("area") == []
    assert "Part of Walking, Health." in (await ann.remembered())[0]
    assert await ann.queued() == []


async def test_what_is_deleted_goes_at_once_with_its_queue_row(ann: PipelineUser, worker: Worker) -> None:
    id_ = await plant(ann)
    await worker.work()
    await ann.does("update tasks set name = 'Sell shoes' where id = %(id)s", id=id_)

    await ann.does("delete from projects where id = %(id)s", id=id_)

    assert await ann.remembered() == []
    assert await ann.remembered("project") == []
    assert await ann.queued() == []


async def test_a_long_journal_entry_is_chunked_and_shrinks_again(ann: PipelineUser, worker: Worker) -> None:
    id_ = uuid4()
    await ann.does(
        "insert into journal_entries (user_id, id, title, content) values (%(me)s, %(id)s, 'Knee', %(text)s)",
        id=id_,
        text="My knee hurts again today. " * 120,
    )
    await worker.work()
    assert len(await ann.remembered("journal_entry")) > 3

    await ann.does("update journal_entries set content = 'Better.' where id = %(id)s", id=id_)
    await worker.work()
    assert len(await ann.remembered("journal_entry")) == 1

    await ann.does("update journal_entries set deleted = true where id = %(id)s", id=id_)
    assert await ann.remembered("journal_entry") == []
    assert not await worker.work()

    await ann.does("update journal_entries set deleted = false where id = %(id)s", id=id_)
    await worker.work()
    assert len(await ann.remembered("journal_entry")) == 1


async def test_metrics_become_a_summary_a_week_and_a_new_point_changes_one(ann: PipelineUser, worker: Worker) -> None:
    id_, today = await plant(ann), datetime.now(UTC)
    monday = today.replace(hour=10) - timedelta(weeks=3, days=today.weekday())  # no point is kept for ever
    points = [{"timestamp": (monday + timedelta(days=day)).isoformat(), "alignment_score": 0.5} for day in (1, 2, 8)]
    for table in ("pillars", "areas"):
        await ann.does(
            f"update {table} set behavior_metrics = %(points)s where id = %(id)s", id=id_, points=json.dumps(points)
        )
    await worker.work()
    summaries = await ann.remembered("behavior_summary")
    assert len(summaries) == 4
    assert f"Pillar Health, week of {monday:%-d %B %Y}: alignment 0.50 on average, 2 measurements." in summaries
    before = dict(
        await ann.rows(
            "select text_snippet, xmin::text from user_metadata_embeddings"
            " where user_id = %(me)s and domain_tag = 'behavior_summary'"
        )
    )

    points.append({"timestamp": (monday + timedelta(days=9)).isoformat(), "alignment_score": 1})
    await ann.does("update pillars set behavior_metrics = %(points)s", points=json.dumps(points))
    await worker.work()

    after = dict(
        await ann.rows(
            "select text_snippet, xmin::text from user_metadata_embeddings"
            " where user_id = %(me)s and domain_tag = 'behavior_summary'"
        )
    )
    assert len(set(after.items()) - set(before.items())) == 1
    await ann.does("delete from areas")
    assert len(await ann.remembered("behavior_summary")) == 2


async def test_odd_values_that_the_database_accepts_stop_no_embedding(ann: PipelineUser, worker: Worker) -> None:
    await ann.adds_task("Endless", due_date="2200-12-31", due_time="23:59:59.999999", completed_at="1900-01-01Z")
    await ann.adds_task("Shapeless", task_metadata='{"energy_requirement": [1, {"a": null}]}')
    await ann.does("insert into projects (user_id, name, deadline) values (%(me)s, 'Never', '2200-12-31 23:59:59Z')")
    await ann.does("insert into journal_entries (user_id, content, created_at) values (%(me)s, 'x', '1900-01-01Z')")

    await worker.work()

    assert len(await ann.remembered()) == 2
    assert len(await ann.remembered("project")) == len(await ann.remembered("journal_entry")) == 1
    assert await ann.queued() == []


async def test_an_account_is_deleted_in_the_midst_of_it_all(ann: PipelineUser, worker: Worker, owner: Any) -> None:
    await plant(ann)
    await worker.work()
    await ann.does("update pillars set name = 'Body'")

    await owner.execute("delete from auth.users where id = %s", (ann.id,))

    assert await ann.rows("select from embedding_queue where user_id = %(me)s") == []
    assert not await worker.work()


CONSENTS = """
    insert into user_analytics_preferences (user_id, {0}) values (%(me)s, %(given)s)
    on conflict (user_id) do update set {0} = %(given)s
"""


@pytest.mark.parametrize(
    ("consent", "gone", "stays"),
    [
        ("record_rag_snippets", ("pillar", "task", "journal_entry", "behavior_summary"), ()),
        ("store_behavioral_embeddings", ("journal_entry", "behavior_summary"), ("pillar", "task")),
        ("track_pillar_metrics", ("behavior_summary",), ("pillar", "task", "journal_entry")),
    ],
)
async def test_a_withdrawn_consent_purges_and_embeds_nothing_until_it_is_given_again(
    ann: PipelineUser, worker: Worker, consent: str, gone: tuple[str, ...], stays: tuple[str, ...]
) -> None:
    await plant(ann)
    now = datetime.now(UTC).isoformat()
    points = json.dumps([{"timestamp": now, "alignment_score": 0.5}])
    await ann.does("update pillars set behavior_metrics = %(points)s", points=points)
    await ann.does("insert into journal_entries (user_id, content) values (%(me)s, 'Tired.')")
    await worker.work()
    before = {domain: await ann.remembered(domain) for domain in (*gone, *stays)}
    assert all(before.values())
    await ann.does("update journal_entries set content = 'Very tired.'")
    await ann.does("update pillars set description = 'x'")

    await ann.does(CONSENTS.format(consent), given=False)

    assert all([await ann.remembered(domain) == [] for domain in gone])
    left = {table for table, _ in await ann.queued()}
    assert left == ({"pillars"} if "pillar" in stays else set()) | (
        {"journal_entries"} if "journal_entry" in stays else set()
    )
    await ann.does("update journal_entries set content = 'Tired.'")
    await worker.work()
    assert all([await ann.remembered(domain) == [] for domain in gone])
    await ann.does("update pillars set description = null")

    await ann.does(CONSENTS.format(consent), given=True)
    await worker.work()

    assert {domain: await ann.remembered(domain) for domain in (*gone, *stays)} == before
    assert await ann.queued() == []


async def test_without_task_context_the_snippets_lose_it_at_once_and_get_it_back(
    ann: PipelineUser, worker: Worker
) -> None:
    await ann.adds_task("Write", task_metadata='{"energy_requirement": "high"}')
    await worker.work()
    assert "high energy" in (await ann.remembered())[0]

    await ann.does(CONSENTS.format("store_task_context"), given=False)
    assert await ann.remembered() == []
    await worker.work()
    assert await ann.remembered() == ["Write. Task. Open, medium priority."]

    await ann.does(CONSENTS.format("store_task_context"), given=True)
    await worker.work()
    assert "high energy" in (await ann.remembered())[0]


async def test_a_changed_time_zone_changes_the_days_in_snippets(ann: PipelineUser, worker: Worker) -> None:
    await ann.does(
        "insert into journal_entries (user_id, content, created_at) values (%(me)s, 'x', '2026-11-22 23:30+00')"
    )
    await worker.work()
    assert "22 November" in (await ann.remembered("journal_entry"))[0]

    await ann.does("update user_profiles set timezone = 'Asia/Tokyo'")
    await worker.work()
    await worker.work()
    assert "23 November" in (await ann.remembered("journal_entry"))[0]


async def test_a_bulk_statement_is_one_queue_row_a_changed_row(ann: PipelineUser, worker: Worker) -> None:
    await ann.does("insert into tasks (user_id, name) select %(me)s, 'Task ' || n from generate_series(1, 300) n")
    await ann.does("update tasks set priority = 'high' where name like 'Task 1%%'")

    versions = [version for _, version in await ann.queued()]

    assert len(versions) == 300
    assert sorted(set(versions)) == [1, 2]
    assert versions.count(2) == 111


async def test_one_statement_may_add_rows_of_many_users(
    someone: Callable[[], Awaitable[PipelineUser]], owner: Any
) -> None:
    """As an operator's import does. Of each what their consents allow, and nothing that is put away already."""
    ann, ben, reserved = await someone(), await someone(), await someone()
    for person, consent in ((ben, "store_behavioral_embeddings"), (reserved, "record_rag_snippets")):
        await person.does(f"insert into user_analytics_preferences (user_id, {consent}) values (%(me)s, false)")
    people = [person.id for person in (ann, ben, reserved)]

    for insert in (
        "insert into tasks (user_id, name, archived)"
        " select p, 'Run', a from unnest(%s::uuid[]) p, unnest('{f,t}'::bool[]) a",
        "insert into journal_entries (user_id, content, deleted)"
        " select p, 'Tired.', d from unnest(%s::uuid[]) p, unnest('{f,t}'::bool[]) d",
    ):
        await owner.execute(insert, (people,))

    assert [await person.queued() for person in (ann, ben, reserved)] == [
        [("journal_entries", 1), ("tasks", 1)],
        [("tasks", 1)],
        [],
    ]


async def test_vectors_that_a_back_up_left_out_are_made_again(ann: PipelineUser, worker: Worker, owner: Any) -> None:
    """By the statement that docs/operations.md gives."""
    manual = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    [statement] = re.findall(r"```sql\n(select coach.queue_everything.*?)```", manual, re.DOTALL)
    await plant(ann)
    await worker.work()
    before = [await ann.remembered(domain) for domain in ("pillar", "area", "project", "task")]
    await owner.execute("delete from user_metadata_embeddings where user_id = %s", (ann.id,))

    await owner.execute(statement.encode())
    await worker.work()

    assert all(before)
    assert [await ann.remembered(domain) for domain in ("pillar", "area", "project", "task")] == before
