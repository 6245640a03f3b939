"""What each consent stops or purges in the database itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import AsyncConnection, sql
from psycopg.errors import InvalidParameterValue

Owner = AsyncConnection[Any]
Furnish = Callable[[], Awaitable[UUID]]
Value = Callable[..., Awaitable[Any]]


KINDS = {
    "flow_entry": "track_flow_states",
    "flow_exit": "track_flow_states",
    "flow_session": "track_flow_states",
    "procrastination_trigger": "track_flow_states",
    "context_switch": "track_flow_states",
    "search": "track_search_queries",
    "navigation": "track_navigation_patterns",
    "ai_insight": "track_ai_insights_usage",
    "ai_action": "track_ai_actions_usage",
    "goal_planner": "track_goal_planner_usage",
}
EVENT = "insert into user_behavior_events (user_id, action_type) values (%s, %s)"


@pytest.mark.parametrize(("kind", "consent"), KINDS.items())
async def test_an_event_is_stored_with_its_consent_only(
    owner: Owner, furnished: Furnish, browser: Any, kind: str, consent: str
) -> None:
    ann = await furnished()
    consented = sql.SQL("update user_analytics_preferences set {} = %s").format(sql.Identifier(consent))
    async with browser(ann) as connection:
        await connection.execute(consented, (True,))
        await connection.execute(EVENT, (ann, kind))
        await connection.execute(consented, (False,))

    with pytest.raises(psycopg.Error, match=consent) as refusal:
        async with browser(ann) as connection:
            await connection.execute(EVENT, (ann, kind))

    assert refusal.value.sqlstate == "CA002"


async def test_searches_are_not_stored_by_default_and_flow_is(owner: Owner, browser: Any, new_user: Any) -> None:
    ann = await new_user()

    async with browser(ann) as connection:
        await connection.execute(EVENT, (ann, "flow_entry"))
    with pytest.raises(psycopg.Error, match="track_search_queries"):
        async with browser(ann) as connection:
            await connection.execute(EVENT, (ann, "search"))


@pytest.mark.parametrize("kind", ["", "flow_entry ", "FLOW_ENTRY", "anything", "flow_nonsense"])
async def test_an_unknown_kind_of_event_is_refused(furnished: Furnish, browser: Any, kind: str) -> None:
    ann = await furnished()

    with pytest.raises(InvalidParameterValue, match="action_type"):
        async with browser(ann) as connection:
            await connection.execute(EVENT, (ann, kind))


@pytest.mark.parametrize(
    ("consent", "ai_feature"), [("analytics_consent", None), ("ai_behavior_tracking", "goal_coaching")]
)
async def test_general_consents_stop_events(furnished: Furnish, browser: Any, consent: str, ai_feature: Any) -> None:
    ann = await furnished()
    async with browser(ann) as connection:
        await connection.execute(f"update user_analytics_preferences set {consent} = false".encode())

    with pytest.raises(psycopg.Error, match=consent):
        async with browser(ann) as connection:
            await connection.execute(
                """
                insert into user_behavior_events (user_id, action_type, ai_feature_type)
                values (%s, 'feature_used', %s)
                """,
                (ann, ai_feature),
            )


async def test_a_browser_cannot_call_a_click_flow(owner: Owner, furnished: Furnish, browser: Any, value: Value) -> None:
    ann = await furnished()

    async with browser(ann) as connection:
        await connection.execute(
            """
            insert into user_behavior_events (user_id, action_type, flow_state_event)
            values (%s, 'feature_used', true)
            """,
            (ann,),
        )

    query = "select flow_state_event from user_behavior_events where user_id = %s and action_type = %s"
    assert await value(owner, query, ann, "feature_used") is False
    assert await value(owner, query, ann, "flow_entry") is True


async def test_withdrawing_rag_purges_every_vector_and_keeps_the_words(
    owner: Owner, furnished: Furnish, browser: Any, value: Value
) -> None:
    ann, ben = await furnished(), await furnished()
    for user in (ann, ben):
        await owner.execute(
            """
            update ai_conversation_memory
            set message_embedding = (select embedding from message_embeddings where user_id = %s),
                embedding_model = 'test'
            where user_id = %s
            """,
            (user, user),
        )

    async with browser(ann) as connection:
        await connection.execute("update user_analytics_preferences set record_rag_snippets = false")

    vectors = """
        select (select count(*) from user_metadata_embeddings where user_id = u)
            + (select count(*) from message_embeddings where user_id = u)
            + (select count(*) from embedding_queue where user_id = u)
            + (select count(code) from ai_conversation_memory where user_id = u)
        from (values (%s::uuid)) v (u)
    """
    assert await value(owner, vectors, ann) == 0
    assert await value(owner, vectors, ben) == 4
    assert await value(owner, "select message_content from ai_conversation_memory where user_id = %s", ann) == "Rest"


async def test_withdrawing_behavioral_embeddings_keeps_the_tasks(
    owner: Owner, furnished: Furnish, browser: Any
) -> None:
    ann = await furnished()
    for domain in ("journal_entry", "behavior_summary"):
        await owner.execute(
            """
            insert into user_metadata_embeddings (user_id, domain_tag, text_snippet, embedding, embedding_model)
            select user_id, %s, 'x', embedding, 'test' from message_embeddings where user_id = %s
            """,
            (domain, ann),
        )

    async with browser(ann) as connection:
        await connection.execute("update user_analytics_preferences set store_behavioral_embeddings = false")

    rows = await owner.execute("select domain_tag from user_metadata_embeddings where user_id = %s", (ann,))
    assert await rows.fetchall() == [("task",)]
