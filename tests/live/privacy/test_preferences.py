"""Preferences over HTTP: every field at its edges, and what a consent that is withdrawn there takes along."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from coach.database.pool import Database
from coach.nudges.repository import make_nudges
from coach.pipeline.worker import Worker
from coach.retrieval.wordllama import WordllamaEmbedder
from tests.live.conftest import ApiUser

PATH = "/api/me/preferences"
CONSENTS = {
    "analytics_consent": True,
    "ai_behavior_tracking": True,
    "performance_tracking": True,
    "error_reporting": True,
    "track_ai_insights_usage": True,
    "track_ai_actions_usage": True,
    "track_goal_planner_usage": True,
    "track_navigation_patterns": True,
    "track_search_queries": False,
    "share_anonymous_stats": True,
    "track_pillar_metrics": True,
    "record_rag_snippets": True,
    "store_task_context": True,
    "track_flow_states": True,
    "store_behavioral_embeddings": True,
}
DEFAULTS = CONSENTS | {
    "data_retention_days": 365,
    "anonymize_after_days": 90,
    "quiet_from": "21:00",
    "quiet_until": "08:00",
}


async def reads(person: ApiUser) -> dict[str, Any]:
    response = await person.gets(PATH)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def sends(person: ApiUser, **body: Any) -> Any:
    return await person.client.patch(PATH, json=body, headers=person.headers)


async def changes(person: ApiUser, **body: Any) -> dict[str, Any]:
    response = await sends(person, **body)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def test_who_has_chosen_nothing_has_the_defaults_and_no_row(ann: ApiUser, owner: Any):
    assert await reads(ann) == DEFAULTS | {"updated_at": None}
    assert await changes(ann) == DEFAULTS | {"updated_at": None}

    rows = await owner.execute("select count(*) from user_analytics_preferences where user_id = %s", (ann.user_id,))
    assert await rows.fetchone() == (0,)


async def test_the_defaults_of_the_api_are_those_of_the_table(ann: ApiUser, owner: Any):
    await owner.execute("insert into user_analytics_preferences (user_id) values (%s)", (ann.user_id,))

    found = await reads(ann)

    assert datetime.fromisoformat(found.pop("updated_at")) < datetime.now(UTC)
    assert found == DEFAULTS


@pytest.mark.parametrize(("consent", "default"), CONSENTS.items())
async def test_each_consent_is_given_and_withdrawn_by_itself(ann: ApiUser, consent: str, default: bool):
    changed = await changes(ann, **{consent: not default})
    updated_at = changed.pop("updated_at")

    assert changed == DEFAULTS | {consent: not default}
    assert await reads(ann) == changed | {"updated_at": updated_at}
    assert (await changes(ann, **{consent: default}))[consent] is default


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data_retention_days", 90),
        ("data_retention_days", 365),
        ("anonymize_after_days", 30),
        ("anonymize_after_days", 365),
        ("quiet_from", "00:00"),
        ("quiet_from", "23:59"),
        ("quiet_until", "00:00"),
        ("quiet_until", "23:59"),
    ],
)
async def test_a_value_at_its_edge_is_taken(ann: ApiUser, field: str, value: Any):
    assert (await changes(ann, **{field: value}))[field] == value
    assert (await reads(ann))[field] == value


NO_DAYS = (None, "100", 100.5, True, [], {})
NO_TIMES = (None, "", "24:00", "23:60", "7:00", "07:0", "07:00:00", "21:00\n", "٠٧:٠٠", 21, True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("data_retention_days", value) for value in (89, 366, -90, 2**63, *NO_DAYS)),
        *(("anonymize_after_days", value) for value in (29, 366, 0, *NO_DAYS)),
        *((field, value) for field in ("quiet_from", "quiet_until") for value in NO_TIMES),
        *((consent, value) for consent in CONSENTS for value in (None, "true", 1, 0)),
        *((field, True) for field in ("user_id", "updated_at", "created_at", "Quiet_from", "consent")),
    ],
)
async def test_what_is_not_as_documented_is_named_and_changes_nothing(ann: ApiUser, field: str, value: Any):
    refused = await sends(ann, **{"error_reporting": False, field: value})

    assert refused.status_code == 422, refused.text
    assert refused.headers["content-type"] == "application/problem+json"
    assert [error["path"] for error in refused.json()["errors"]] == [field]
    assert await reads(ann) == DEFAULTS | {"updated_at": None}


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"\xff"])
async def test_a_body_that_is_no_object_is_refused(ann: ApiUser, body: bytes):
    headers = ann.headers | {"content-type": "application/json"}

    assert (await ann.client.patch(PATH, content=body, headers=headers)).status_code == 422


async def test_a_user_reaches_only_their_own_preferences(person: Any, client: Any, token_for: Any):
    ann, ben = await person(), await person()
    await changes(ann, record_rag_snippets=False)

    assert await reads(ben) == DEFAULTS | {"updated_at": None}
    for headers, status in (({}, 401), ({"authorization": f"Bearer {token_for(None, role='service_role')}"}, 403)):
        assert (await client.get(PATH, headers=headers)).status_code == status
        assert (await client.patch(PATH, json={}, headers=headers)).status_code == status


async def test_changes_at_the_same_time_all_hold(ann: ApiUser):
    await asyncio.gather(*(changes(ann, **{consent: not default}) for consent, default in CONSENTS.items()))

    found = await reads(ann)
    assert {consent: found[consent] for consent in CONSENTS} == {name: not given for name, given in CONSENTS.items()}


class Life:
    """Rows of one person, and the worker's hand over them."""

    def __init__(self, person: ApiUser, db: Database, worker_db: Database, owner: Any) -> None:
        self.person, self._db, self._owner = person, db, owner
        self._worker = Worker(worker_db, WordllamaEmbedder())

    async def does(self, sql: str, **values: object) -> None:
        async with self._db.as_user(self.person.user_id) as tx:
            await tx.execute(sql.encode(), {"me": self.person.user_id, **values})

    async def rows(self, sql: str) -> list[Any]:
        return await (await self._owner.execute(sql.encode(), (self.person.user_id,))).fetchall()

    async def is_embedded(self) -> None:
        await self.does("update embedding_queue set not_before = now()")
        while await self._worker.work():
            pass

    async def vectors(self) -> list[str]:
        """Of which domains there are vectors, or places in the queue."""
        told = """
            with me (id) as (values (%s::uuid))
            select domain_tag from user_metadata_embeddings e join me on me.id = e.user_id
            union
            select 'message' from ai_conversation_memory m join me on me.id = m.user_id
            where message_embedding is not null
            union
            select 'queued ' || entity_table from embedding_queue q join me on me.id = q.user_id
            order by 1
        """
        return [row[0] for row in await self.rows(told)]


@pytest.fixture
async def life(ann: ApiUser, db: Database, worker_db: Database, owner: Any) -> Life:
    return Life(ann, db, worker_db, owner)


POINT = '[{"timestamp": "2099-01-01T00:00:00Z", "energy_level": 0.5}]'
ALL = ["behavior_summary", "journal_entry", "message", "pillar", "task"]


async def furnish(life: Life) -> None:
    """One of everything that is remembered."""
    await life.does("insert into tasks (user_id, name) values (%(me)s, 'Buy trail shoes')")
    await life.does(
        "insert into tasks (user_id, name, task_metadata) values (%(me)s, 'Sleep', '{\"cognitive_load\": \"low\"}')"
    )
    await life.does("insert into journal_entries (user_id, title, content) values (%(me)s, 'Day', 'The knee hurts.')")
    await life.does(
        "insert into pillars (user_id, name, behavior_metrics) values (%(me)s, 'Health', %(point)s::jsonb)",
        point=POINT.replace("2099-01-01T00:00:00Z", datetime.now(UTC).isoformat()),
    )
    assert (await life.person.asks("What about my shoes?", id="c")).status == 200
    await life.is_embedded()
    assert await life.vectors() == ALL


@pytest.mark.parametrize(
    ("consent", "left"),
    [
        ("record_rag_snippets", []),
        ("store_behavioral_embeddings", ["message", "pillar", "task"]),
        ("track_pillar_metrics", ["journal_entry", "message", "pillar", "task"]),
    ],
)
async def test_a_withdrawn_consent_takes_its_vectors_along_at_once_and_given_again_they_come_back(
    life: Life, consent: str, left: list[str]
):
    await furnish(life)

    await changes(life.person, **{consent: False})

    assert await life.vectors() == left
    await life.is_embedded()
    assert await life.vectors() == left
    memory = (await life.person.gets("/api/memory")).json()["items"]
    assert bool(memory) is bool(left)

    await changes(life.person, **{consent: True})
    await life.is_embedded()
    assert await life.vectors() == ALL


async def test_without_task_context_what_was_made_with_it_goes(life: Life):
    await furnish(life)
    told = "select text_snippet from user_metadata_embeddings where user_id = %s and domain_tag = 'task'"

    await changes(life.person, store_task_context=False)

    ((snippet,),) = await life.rows(told)
    assert "trail shoes" in snippet
    await life.is_embedded()
    assert len(await life.rows(told)) == 2
    assert not any("low" in snippet for (snippet,) in await life.rows(told))


async def test_of_what_is_remembered_no_more_a_search_finds_nothing_and_a_turn_reads_nothing(life: Life):
    await furnish(life)
    await changes(life.person, record_rag_snippets=False)

    assert (await life.person.gets("/api/search?q=shoes")).json()["items"] == []
    receipt = (await life.person.asks("And my shoes?", id="c2")).first("data-context")["data"]
    assert {withheld["reason"] for withheld in receipt["withheld"]} == {"record_rag_snippets"}
    assert not any(used.startswith("conversation:") for used in receipt["used"])
    assert await life.vectors() == []


@pytest.mark.parametrize(
    ("consent", "kind"),
    [
        ("analytics_consent", "feature_used"),
        ("ai_behavior_tracking", "ai_interaction"),
        ("performance_tracking", "performance"),
        ("error_reporting", "error"),
        ("track_ai_insights_usage", "ai_insight"),
        ("track_ai_actions_usage", "ai_action"),
        ("track_goal_planner_usage", "goal_planner"),
        ("track_navigation_patterns", "page_view"),
        ("track_search_queries", "search"),
        ("track_flow_states", "flow_entry"),
    ],
)
async def test_events_of_a_kind_are_stored_while_it_is_consented_to(life: Life, consent: str, kind: str):
    happens = "insert into user_behavior_events (user_id, action_type) values (%(me)s, %(kind)s)"
    await changes(life.person, **{consent: True})
    await life.does(happens, kind=kind)

    await changes(life.person, **{consent: False})

    with pytest.raises(psycopg.Error, match=consent):
        await life.does(happens, kind=kind)


async def owes(life: Life) -> None:
    """Something to be nudged about."""
    task = uuid4()
    await life.does(
        "insert into tasks (user_id, id, name, due_date) values (%(me)s, %(task)s, 'Call', '2020-01-01')", task=task
    )
    await life.does(
        "insert into commitments (user_id, title, due_date, status, task_id) "
        "values (%(me)s, 'Call', '2020-01-01', 'accepted', %(task)s)",
        task=task,
    )


async def nudges(life: Life) -> list[str]:
    return [item["kind"] for item in (await life.person.gets("/api/nudges")).json()["items"]]


async def test_no_nudge_is_made_in_the_chosen_quiet_hours(life: Life, worker_db: Database):
    await owes(life)
    now = datetime.now(UTC)
    around = [f"{now + timedelta(minutes=minutes):%H:%M}" for minutes in (-60, 60)]

    await changes(life.person, quiet_from=around[0], quiet_until=around[1])
    await make_nudges(worker_db, now)
    assert await nudges(life) == []

    await changes(life.person, quiet_from="12:00", quiet_until="12:00")
    await make_nudges(worker_db, now)
    assert await nudges(life) == ["overdue_commitment"]


@pytest.mark.parametrize("consent", ["analytics_consent", "ai_behavior_tracking"])
async def test_nudges_are_not_shown_without_consent(life: Life, worker_db: Database, consent: str):
    await owes(life)
    await changes(life.person, quiet_from="12:00", quiet_until="12:00")
    await make_nudges(worker_db, datetime.now(UTC))
    assert await nudges(life) == ["overdue_commitment"]

    await changes(life.person, **{consent: False})

    assert await nudges(life) == []


async def test_metrics_older_than_the_retention_leave_with_the_next_write(life: Life):
    ages = [(days, datetime.now(UTC) - timedelta(days=days)) for days in (91, 89)]
    points = [f'{{"timestamp": "{at.isoformat()}", "energy_level": 0.{days}}}' for days, at in ages]
    await life.does("insert into pillars (user_id, name) values (%(me)s, 'Health')")
    write = "update pillars set behavior_metrics = %(points)s::jsonb where user_id = %(me)s"

    await changes(life.person, data_retention_days=90)
    await life.does(write, points=f"[{', '.join(points)}]")

    ((kept,),) = await life.rows("select behavior_metrics from pillars where user_id = %s")
    assert [point["energy_level"] for point in kept] == [0.89]


STORE = """
    select coach.remember_messages(
        %(me)s, model, array_agg(id), array_agg(message_content), array_agg(embedding)
    )
    from ai_conversation_memory
    cross join lateral (select embedding, embedding_model as model from user_metadata_embeddings limit 1) any_vector
    where user_id = %(me)s
    group by model
"""
HOW_MANY = "select count(message_embedding) from ai_conversation_memory where user_id = %s"


async def unchosen(life: Life, owner: Any) -> None:
    """A turn whose vectors are still to be stored, of somebody who has no row of preferences."""
    await life.does("insert into tasks (user_id, name) values (%(me)s, 'Buy trail shoes')")
    await life.person.asks("What about my shoes?", id="c")
    await life.is_embedded()
    await owner.execute("delete from user_analytics_preferences where user_id = %s", (life.person.user_id,))
    await owner.execute(
        "update ai_conversation_memory set message_embedding = null, embedding_model = null where user_id = %s",
        (life.person.user_id,),
    )


async def test_a_first_withdrawal_waits_for_the_vectors_that_are_being_stored(life: Life, db: Database, owner: Any):
    await unchosen(life, owner)

    async with db.as_user(life.person.user_id) as tx:
        await tx.execute(STORE, {"me": life.person.user_id})
        withdrawing = asyncio.create_task(changes(life.person, record_rag_snippets=False))
        await asyncio.sleep(0.3)
    await withdrawing

    assert await life.rows(HOW_MANY) == [(0,)]


async def test_vectors_are_not_stored_behind_a_first_withdrawal(life: Life, db: Database, owner: Any):
    await unchosen(life, owner)

    async with db.as_user(life.person.user_id) as tx:
        withdraw = "insert into user_analytics_preferences (user_id, record_rag_snippets) values (%s, false)"
        await tx.execute(withdraw, (life.person.user_id,))
        storing = asyncio.create_task(life.does(STORE))
        await asyncio.sleep(0.3)
    await storing

    assert await life.rows(HOW_MANY) == [(0,)]
