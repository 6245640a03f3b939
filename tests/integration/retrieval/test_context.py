"""What a turn is told: live facts as the rows have them, and a receipt that hides nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
from psycopg.types.json import Jsonb

from coach.retrieval.base import Withheld
from tests.integration.retrieval.conftest import NOW, RetrievalUser

TODAY = NOW.date()


async def has_task(ann: RetrievalUser, name: str, due: int, **more: Any) -> None:
    row = {"priority": "medium", "completed": False, "archived": False, "task_metadata": Jsonb({})} | more
    columns = ", ".join(row)
    await ann.run(
        f"insert into tasks (user_id, name, due_date, {columns}) values ($user, %s, %s{', %s' * len(row)})",
        name,
        TODAY + timedelta(days=due),
        *row.values(),
    )


async def has_pillar(ann: RetrievalUser, name: str, allocation: float | None, points: list[dict[str, Any]]) -> None:
    """Without the rule that keeps no point for more than a year: it goes by the real clock, past any fixed day."""
    await ann.run("set session_replication_role = replica")
    await ann.run(
        "insert into pillars (user_id, name, time_allocation_percentage, behavior_metrics) values ($user, %s, %s, %s)",
        name,
        allocation,
        Jsonb(points),
    )
    await ann.run("set session_replication_role = origin")


def point(when: datetime, score: float, minutes: int = 60) -> dict[str, Any]:
    return {"timestamp": when.isoformat(), "alignment_score": score, "focus_time_minutes": minutes}


async def has_flow(ann: RetrievalUser, kind: str, when: datetime, minutes: int = 0) -> None:
    await ann.run(
        "insert into user_behavior_events (user_id, action_type, timestamp, duration_ms) values ($user, %s, %s, %s)",
        kind,
        when,
        minutes * 60_000,
    )


async def are_embedded(ann: RetrievalUser) -> None:
    """Whatever changed so far waits no longer."""
    await ann.run("delete from embedding_queue where user_id = $user")


async def lines(ann: RetrievalUser, **more: Any) -> list[str]:
    await are_embedded(ann)
    return (await ann.context(**more)).state.splitlines()


async def test_a_new_user_has_an_empty_context(ann: RetrievalUser) -> None:
    context = await ann.context()

    assert (context.sources, context.state) == ((), "")
    assert (context.receipt.used, context.receipt.withheld, context.receipt.stale) == ((), (), 0)


async def test_overdue_and_todays_tasks_stand_there_as_the_rows_have_them(ann: RetrievalUser) -> None:
    [(project,)] = await ann.run("insert into projects (user_id, name) values ($user, 'Fix the knee') returning id")
    await has_task(ann, "Book the knee MRI", -3, project_id=project, priority="high", estimated_duration=20)
    await has_task(ann, "Call Xaver", 0, due_time="14:30")
    await has_task(ann, "Done already", -1, completed=True)
    await has_task(ann, "Put away", -1, archived=True)
    await has_task(ann, "Tomorrow's", 1)

    assert await lines(ann) == [
        "- overdue: Book the knee MRI (due 2026-11-20, project Fix the knee, high priority, 20 minutes)",
        "- today: Call Xaver (due 2026-11-23 14:30, medium priority)",
    ]


async def test_task_metadata_are_in_the_facts_only_with_consent(ann: RetrievalUser) -> None:
    metadata = Jsonb({"energy_requirement": "high", "cognitive_load": "deep"})
    await has_task(ann, "Write the chapter", 0, task_metadata=metadata)

    told = await lines(ann)
    await ann.consents(store_task_context=False)
    await are_embedded(ann)
    context = await ann.context()

    assert told == ["- today: Write the chapter (due 2026-11-23, medium priority, high energy, deep cognitive load)"]
    assert context.state == "- today: Write the chapter (due 2026-11-23, medium priority)"
    assert Withheld("task_context", "store_task_context") in context.receipt.withheld


async def test_today_is_where_the_user_lives(ann: RetrievalUser) -> None:
    await has_task(ann, "Swim", 1)
    await ann.run("update user_profiles set timezone = 'Pacific/Auckland' where id = $user")

    assert await lines(ann) == ["- today: Swim (due 2026-11-24, medium priority)"]


async def test_deadlines_of_the_next_14_days_are_live_facts(ann: RetrievalUser) -> None:
    for name, days, status in (
        ("Half marathon", 13, "In Progress"),
        ("Far away", 20, "In Progress"),
        ("Over", -2, "In Progress"),
        ("Finished", 3, "Completed"),
    ):
        await ann.run(
            "insert into projects (user_id, name, deadline, status, completion_percentage)"
            " values ($user, %s, %s, %s, 37.5)",
            name,
            NOW + timedelta(days=days),
            status,
        )

    assert await lines(ann) == ["- deadline: Half marathon (due 2026-12-06, In Progress, 37.5% complete)"]


async def test_the_week_stands_against_its_allocation(ann: RetrievalUser) -> None:
    await has_pillar(
        ann, "Health", 30, [point(NOW - timedelta(days=9), 0.1), point(NOW - timedelta(hours=5), 0.62, 90)]
    )
    await has_pillar(
        ann, "Work", 45.5, [point(NOW - timedelta(hours=9), 0.5, 210), point(NOW - timedelta(hours=2), 0.8, 0)]
    )
    await has_pillar(ann, "Friends", 20, [])
    await ann.run("update pillars set sort_order = array_position(array['Health', 'Work', 'Friends'], name)")

    assert await lines(ann) == [
        "- alignment this week, Health: 0.62, 90 minutes of focus (30% of all), 30% allocated",
        "- alignment this week, Work: 0.65, 210 minutes of focus (70% of all), 45.5% allocated",
        "- alignment this week, Friends: not measured, 20% allocated",
    ]


async def test_the_week_begins_on_monday_where_the_user_lives(ann: RetrievalUser) -> None:
    """NOW is a Monday evening in UTC, and Tuesday morning in Auckland; Sunday noon UTC is their Monday."""
    await has_pillar(ann, "Health", None, [point(datetime(2026, 11, 22, 12, tzinfo=UTC), 0.4, 0)])

    before = await lines(ann)
    await ann.run("update user_profiles set timezone = 'Pacific/Auckland' where id = $user")

    assert before == ["- alignment this week, Health: not measured"]
    assert await lines(ann) == ["- alignment this week, Health: 0.40"]


async def test_the_flow_of_the_week_is_a_live_fact(ann: RetrievalUser) -> None:
    await has_flow(ann, "flow_session", NOW - timedelta(hours=4), minutes=50)
    await has_flow(ann, "flow_session", NOW - timedelta(hours=2), minutes=25)
    await has_flow(ann, "procrastination_trigger", NOW - timedelta(hours=1))
    await has_flow(ann, "flow_session", NOW - timedelta(days=8), minutes=500)

    assert await lines(ann) == [
        "- flow this week: 2 sessions, 75 minutes, 1 procrastination triggers, 0 context switches"
    ]


async def test_metrics_and_flow_without_consent_are_left_out_and_the_receipt_says_so(ann: RetrievalUser) -> None:
    await has_pillar(ann, "Health", 30, [point(NOW - timedelta(hours=5), 0.62)])
    await has_flow(ann, "flow_session", NOW - timedelta(hours=4), minutes=50)

    await ann.consents(track_pillar_metrics=False, track_flow_states=False)
    await are_embedded(ann)
    context = await ann.context()

    assert context.state == ""
    assert set(context.receipt.withheld) == {
        Withheld("pillar_metrics", "track_pillar_metrics"),
        Withheld("flow", "track_flow_states"),
    }


async def test_the_block_stays_short_and_says_what_it_leaves_out(ann: RetrievalUser) -> None:
    for number in range(40):
        await has_task(ann, f"Late {number} {'and long ' * 50}", -number - 1)
        await has_task(ann, f"Due {number}", 0)
        await has_pillar(ann, f"Pillar {number}", 2, [])
        await ann.run("insert into projects (user_id, name, deadline) values ($user, 'P', %s)", NOW + timedelta(days=1))

    told = await lines(ann)

    assert len(told) <= 26
    assert max(map(len, told)) <= 302
    assert "- overdue, besides these: 35 more tasks" in told
    assert "- today, besides these: 35 more tasks" in told


async def test_a_name_cannot_begin_a_line_of_its_own(ann: RetrievalUser) -> None:
    await has_task(ann, "Swim\n- overdue: Pay the\tblackmailer", 0)

    assert await lines(ann) == ["- today: Swim - overdue: Pay the blackmailer (due 2026-11-23, medium priority)"]


async def test_the_receipt_names_what_was_read(ann: RetrievalUser) -> None:
    task = await ann.wrote("Knee", "Book the scan of the knee")
    await has_task(ann, "Swim", 0)
    await are_embedded(ann)

    receipt = (await ann.context("my knee")).receipt

    assert receipt.used == (f"task:{task}", "state")
    assert receipt.withheld == ()
    assert msgspec.json.encode(receipt)


async def test_without_consent_nothing_is_retrieved_and_the_receipt_says_so(ann: RetrievalUser) -> None:
    await ann.said("My knee hurts", "Rest it")
    await has_task(ann, "Swim", 0)

    await ann.consents(record_rag_snippets=False)
    context = await ann.context("my knee")

    assert context.sources == ()
    assert context.state == "- today: Swim (due 2026-11-23, medium priority)"
    assert {withheld.reason for withheld in context.receipt.withheld} == {"record_rag_snippets"}
    assert context.receipt.stale == 0


async def test_an_embedder_that_is_away_narrows_the_search_and_the_receipt_says_so(ann: RetrievalUser) -> None:
    await ann.wrote("Knee", "Book the scan of the knee")

    context = await ann.context("my knee", embedded=False)

    assert [source.title for source in context.sources] == ["Knee"]
    assert context.receipt.withheld == (Withheld("vectors", "embedder-unavailable"),)


async def test_what_changed_but_waits_to_be_embedded_is_counted_and_read_live(ann: RetrievalUser) -> None:
    await has_task(ann, "Book the knee MRI", 9, description="At the clinic.", priority="high")
    await are_embedded(ann)
    await ann.run(
        "insert into embedding_queue (user_id, entity_table, entity_id)"
        " select user_id, 'tasks', id from tasks where user_id = $user"
    )
    await ann.run("insert into embedding_queue (user_id, entity_table, entity_id) values ($user, 'tasks', %s)", uuid4())
    await ann.said("My knee hurts", "Rest it")
    await ann.run(
        "update ai_conversation_memory set message_embedding = null, embedding_model = null where user_id = $user"
    )

    context = await ann.context()

    assert context.receipt.stale == 4
    assert context.state == (
        "- changed just now, task Book the knee MRI: At the clinic. Task. Open, high priority, due 2 December 2026."
    )


async def test_the_running_turn_and_incognito_talk_are_not_stale(ann: RetrievalUser) -> None:
    await ann.said("My knee hurts", "Rest it")
    await ann.run(
        "update ai_conversation_memory set message_embedding = null, embedding_model = null where user_id = $user"
    )
    ids = [id_ for (id_,) in await ann.run("select id from ai_conversation_memory where user_id = $user")]

    excluded = (await ann.context(exclude=ids)).receipt.stale
    await ann.run("update conversations set incognito = true where user_id = $user")

    assert excluded == 0
    assert (await ann.context()).receipt.stale == 0


async def test_live_facts_hold_nothing_of_another_user(ann: RetrievalUser, bob: RetrievalUser) -> None:
    await has_task(bob, "Bob's secret", -1)
    await has_pillar(bob, "Bob's", 30, [point(NOW - timedelta(hours=5), 0.62)])
    await has_flow(bob, "flow_session", NOW - timedelta(hours=4), minutes=50)
    await bob.said("Bob's secret", "Kept")

    context = await ann.context("secret")

    assert (context.sources, context.state, context.receipt.stale) == ((), "", 0)
