"""An app's database on Supabase, adopted and served: with the grants that Supabase really gives, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from coach.commands.token import make_token
from coach.database.embedded import EmbeddedServer
from coach.database.migrations import migrate
from coach.settings import Settings, load_settings
from tests.conftest import acting_as
from tests.live.conftest import SECRET, ApiUser, eventually
from tests.migration.conftest import Supabase, supabase_database

ANN = UUID("a1000000-0000-4000-8000-000000000000")
SHOES = "a1000000-0000-4000-8000-000000000031"


@pytest.fixture(scope="module")
def adopted(cluster: EmbeddedServer) -> Iterator[Supabase]:
    with supabase_database(cluster) as database:
        asyncio.run(migrate(database.url))
        with psycopg.connect(database.url, autocommit=True) as connection:
            # what migrate says to do about a policy that refuses the coach's rows
            connection.execute('drop policy "Short messages" on public.ai_conversation_memory')
        yield database


@pytest.fixture(scope="module")
def coach_settings(adopted: Supabase) -> Settings:
    """With a worker inside."""
    return load_settings(
        database_url=adopted.login("coach_server"),
        worker_database_url=adopted.login("coach_worker"),
        jwt_secret=SECRET,
    )


@pytest.fixture
def auth(adopted: Supabase) -> Callable[..., None]:
    """What Supabase's own server does to accounts."""

    def act(statement: str, *values: Any) -> None:
        with psycopg.connect(adopted.login("supabase_auth_admin"), autocommit=True) as connection:
            connection.execute(statement.encode(), values)

    return act


@pytest.fixture
def seen(adopted: Supabase) -> Callable[..., list[tuple[Any, ...]]]:
    """What is there, behind the scenes."""

    def look(query: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(adopted.superuser_url) as connection:
            return connection.execute(query.encode(), values).fetchall()

    return look


@pytest.fixture
def ann(client: httpx.AsyncClient, token_for: Callable[..., str]) -> ApiUser:
    return ApiUser(ANN, client, token_for(ANN))


def browse(adopted: Supabase, user: UUID, statement: str, *values: Any) -> None:
    """As the app in a browser does, through PostgREST."""
    with psycopg.connect(adopted.login("authenticator")) as connection:
        connection.execute(acting_as("authenticated", user))
        connection.execute(statement.encode(), values)


async def embedded(seen: Callable[..., list[tuple[Any, ...]]], text: str, user: UUID = ANN) -> None:
    query = """
        select from user_metadata_embeddings
        where user_id = %s and strpos(text_snippet, %s) > 0 and embedding_model = 'wordllama'
    """
    await eventually(lambda: asyncio.to_thread(seen, query, user, text))


async def test_an_edit_in_the_browser_is_embedded(adopted: Supabase, ann: ApiUser, seen: Any) -> None:
    browse(adopted, ANN, "update tasks set name = 'Buy trail shoes' where id = %s", SHOES)

    await embedded(seen, "Buy trail shoes")
    found = (await ann.gets("/api/search?q=trail+shoes")).json()["items"]
    assert "Buy trail shoes" in found[0]["snippet"]


async def test_a_turn_is_answered_counted_and_remembered(ann: ApiUser, seen: Any) -> None:
    answer = await ann.asks("What about my trail shoes?", id="c1")

    assert (answer.status, bool(answer.text)) == (200, True)
    assert answer.first("data-quota")["data"]["used"] == 2, "one of this month is the app's own"
    query = "select count(*) from ai_conversation_memory where user_id = %s and embedding_model = 'wordllama'"
    await eventually(lambda: asyncio.to_thread(lambda: seen(query, ANN)[0][0] >= 2))


async def test_a_message_of_the_apps_backend_is_found_by_our_model_too(
    adopted: Supabase, ann: ApiUser, seen: Any
) -> None:
    with psycopg.connect(adopted.login("authenticator")) as connection:
        connection.execute("set local role service_role")
        connection.execute(
            "insert into ai_conversation_memory (user_id, message_role, message_content, message_embedding)"
            " values (%s, 'user', 'The quinces are ripe', array_fill(0.5::real, array[1536])::extensions.vector(1536))",
            (ANN,),
        )

    query = "select from ai_conversation_memory where message_content = %s and embedding_model = 'wordllama'"
    await eventually(lambda: asyncio.to_thread(seen, query, "The quinces are ripe"))
    assert "quinces" in (await ann.gets("/api/search?q=quinces")).json()["items"][0]["snippet"]


async def test_a_conversation_is_erased(ann: ApiUser, seen: Any) -> None:
    await ann.asks("Forget this again: persimmon.", id="c2")

    gone = await ann.client.delete("/api/conversations/c2", headers=ann.headers)

    assert gone.status_code == 204
    assert seen("select from ai_conversation_memory where strpos(message_content, 'persimmon') > 0") == []


async def test_a_token_is_made_for_an_account_that_supabase_can_read(
    coach_settings: Settings, client: httpx.AsyncClient, seen: Any
) -> None:
    token = await make_token(coach_settings, "Cleo", "authenticated", timedelta(hours=1))

    headers = {"authorization": f"Bearer {token}"}
    assert (await client.get("/api/me/quota", headers=headers)).status_code == 200
    cleo = seen("select id from user_profiles where username = 'Cleo'")[0][0]
    assert seen("select aud, role from auth.users where id = %s", cleo) == [("authenticated", "authenticated")]


async def test_who_signs_up_has_an_account_before_the_apps_own_trigger_looks(
    adopted: Supabase, auth: Callable[..., None], client: httpx.AsyncClient, token_for: Any, seen: Any
) -> None:
    dora = uuid4()
    auth("insert into auth.users (id, email) values (%s, 'dora@example.test')", dora)
    browse(adopted, dora, "insert into pillars (user_id, name) values (%s, 'Music')", dora)

    assert seen("select email from user_profiles where id = %s", dora) == [("dora@example.test",)]
    answer = await ApiUser(dora, client, token_for(dora)).asks("Hello")
    assert answer.status == 200
    await embedded(seen, "Music", dora)


async def test_an_account_that_supabase_deletes_leaves_nothing(
    auth: Callable[..., None], client: httpx.AsyncClient, token_for: Any, seen: Any, adopted: Supabase
) -> None:
    emil = uuid4()
    auth("insert into auth.users (id, email) values (%s, 'emil@example.test')", emil)
    browse(adopted, emil, "insert into tasks (user_id, name) values (%s, 'Water the ferns')", emil)
    person = ApiUser(emil, client, token_for(emil))
    await person.asks("Which ferns?")

    auth("delete from auth.users where id = %s", emil)

    tables = seen("""
        select c.oid::regclass::text
        from pg_class c
        join pg_attribute a on a.attrelid = c.oid and attname = 'user_id'
        where relkind = 'r' and relnamespace in ('public'::regnamespace, 'coach'::regnamespace)
    """)
    assert len(tables) > 20
    assert [name for (name,) in tables if seen(f"select from {name} where user_id = %s", emil)] == []


async def test_no_statement_of_the_server_may_touch_accounts_itself(seen: Any) -> None:
    """What it needs of them it has by the owner's functions."""
    assert (
        seen("""
        select rolname
        from pg_roles
        where rolname in ('service_role', 'authenticated', 'coach_session', 'coach_server', 'coach_worker')
            and has_any_column_privilege(rolname, 'auth.users', 'select, insert, update, references')
    """)
        == []
    )
