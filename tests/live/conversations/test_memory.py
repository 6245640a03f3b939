"""What the coach remembers: listed, corrected, deleted, and what comes of it in a search."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from coach.database.pool import Database
from coach.pipeline.worker import Worker
from coach.retrieval.wordllama import WordllamaEmbedder
from coach.settings import Settings, load_settings
from tests.live.conftest import SECRET
from tests.live.conversations.conftest import Desk, past, said

SHOES = "Buy trail shoes with a rock plate"


@pytest.fixture(scope="module")
def coach_settings(database_url: str) -> Settings:
    """Without a worker inside: the tests say when it works, and with which model."""
    return load_settings(database_url=database_url, jwt_secret=SECRET)


class OtherModel(WordllamaEmbedder):
    """The same vectors under another name: a change of model."""

    model = "other-model"


class Life:
    """Rows of one person, the worker's hand over them, and what a search brings."""

    def __init__(self, desk: Desk, db: Database, worker_db: Database, owner: Any) -> None:
        self.desk, self._db, self.worker_db, self._owner = desk, db, worker_db, owner
        self.worker = Worker(worker_db, WordllamaEmbedder())
        self.user: UUID = desk.person.user_id

    async def does(self, sql: str, **values: object) -> None:
        async with self._db.as_user(self.user) as tx:
            await tx.execute(sql.encode(), {"me": self.user, **values})

    async def adds_task(self, name: str = SHOES) -> str:
        id_ = uuid4()
        await self.does("insert into tasks (user_id, id, name) values (%(me)s, %(id)s, %(name)s)", id=id_, name=name)
        await self.is_embedded()
        return str(id_)

    async def is_embedded(self) -> None:
        """By the worker, here and now."""
        await self.does("update embedding_queue set not_before = now()")
        while await self.worker.work():
            pass
        assert await self.rows("select entity_id from embedding_queue where user_id = %s") == []

    async def rows(self, sql: str) -> list[Any]:
        return await (await self._owner.execute(sql.encode(), (self.user,))).fetchall()

    async def found(self, q: str = "shoes", **query: object) -> list[str]:
        params = httpx.QueryParams({"q": q, **query})
        return [item["snippet"] for item in (await self.desk.reads(f"/search?{params}"))["items"]]

    async def changes_model(self) -> None:
        """To another one, with a worker of its own, until everybody is served from it."""
        self.worker = Worker(self.worker_db, OtherModel(), build=lambda _: WordllamaEmbedder())
        while await self.worker.work():
            pass
        served = "select serving_model from embedding_models where user_id = %s"
        assert await self.rows(served) == [("other-model",)]


@pytest.fixture
async def life(desk: Desk, db: Database, worker_db: Database, owner: Any) -> Life:
    return Life(desk, db, worker_db, owner)


async def test_what_is_remembered_is_listed_with_where_it_comes_from(life: Life):
    await life.desk.imports(past("c", said("m", "The knee hurts", 0), title="Knee"))
    task = await life.adds_task()

    fact, turn = (await life.desk.reads("/memory"))["items"]

    assert (fact["source"], fact["id"], fact["title"], fact["corrected"]) == ("task", task, SHOES, False)
    assert SHOES in fact["content"]
    assert "conversation_id" not in fact
    assert turn == {
        "source": "conversation", "id": turn["id"], "title": "Knee", "content": "The knee hurts", "corrected": False,
        "updated_at": "2025-03-01T12:00:00Z", "role": "user", "conversation_id": "c", "message_id": "m",
    }  # fmt: skip
    assert [item["id"] for item in (await life.desk.reads("/memory?source=task"))["items"]] == [task]
    assert [item["id"] for item in (await life.desk.reads("/memory?source=conversation"))["items"]] == [turn["id"]]
    assert (await life.desk.send("GET", "/memory?source=dream")).status_code == 422


async def test_long_entries_are_one_memory_each_and_pages_hold_together(life: Life):
    long = " ".join(f"Sentence number {n} of a long day." for n in range(120))
    await life.does("insert into journal_entries (user_id, title, content) values (%(me)s, 'Day', %(c)s)", c=long)
    await life.is_embedded()
    await life.desk.imports(past("c", *(said(f"m{n}", f"Text {n}", n) for n in range(6))))
    whole = (await life.desk.reads("/memory"))["items"]
    paged: list[Any] = []
    cursor = ""
    while True:
        page = await life.desk.reads(f"/memory?limit=2{cursor}")
        paged += page["items"]
        await life.desk.imports(past("c", said(f"late{len(paged)}", "Late", 200)))
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert [item["source"] for item in whole] == ["journal_entry", *["conversation"] * 6]
    assert "Sentence number 0 " in whole[0]["content"]
    assert "Sentence number 119 " in whole[0]["content"]
    assert paged == whole


async def test_in_confidence_or_without_consent_nothing_is_remembered(life: Life):
    await life.desk.person.asks("Nobody must know", id="c", incognito=True)
    assert (await life.desk.reads("/memory"))["items"] == []

    await life.desk.imports(past("d", said("m", "Known", 0)))
    assert len((await life.desk.reads("/memory"))["items"]) == 1
    await life.does("insert into user_analytics_preferences (user_id, record_rag_snippets) values (%(me)s, false)")
    assert (await life.desk.reads("/memory"))["items"] == []


async def test_a_deleted_memory_of_a_row_is_never_retrieved_again(life: Life):
    """Not after an edit, a rename of its parent, a consent given anew, nor a change of model."""
    task = await life.adds_task()
    assert await life.found() != []

    response = await life.desk.send("DELETE", f"/memory/task/{task}")

    assert (response.status_code, response.content) == (204, b"")
    assert await life.found() == []
    assert (await life.desk.reads("/memory"))["items"] == []
    assert (await life.desk.send("DELETE", f"/memory/task/{task}")).status_code == 404
    assert (await life.desk.changes(f"/memory/task/{task}", content="Again")).status_code == 404

    await life.does("update tasks set description = 'Trail shoes, size 43' where id = %(id)s", id=task)
    assert await life.rows("select 1 from embedding_queue where user_id = %s") == []
    consent = (
        "insert into user_analytics_preferences (user_id, record_rag_snippets) values (%(me)s, %(given)s)"
        " on conflict (user_id) do update set record_rag_snippets = excluded.record_rag_snippets"
    )
    await life.does(consent, given=False)
    await life.does(consent, given=True)
    await life.adds_task("Something else")
    await life.changes_model()
    assert not any("shoes" in text for text in await life.found())
    assert await life.rows(f"select 1 from user_metadata_embeddings where user_id = %s and entity_id = '{task}'") == []


async def test_a_row_that_is_being_embedded_while_it_is_deleted_from_memory_stays_out(life: Life):
    """The worker has read the row, and comes to store it after the deletion."""
    task = await life.adds_task()
    await life.desk.send("DELETE", f"/memory/task/{task}")

    async with life.worker_db.as_operator() as tx:
        await tx.execute(
            b"insert into user_metadata_embeddings (user_id, domain_tag, entity_id, text_snippet, embedding,"
            b" embedding_model) values (%s, 'task', %s, %s, array_fill(1::real, '{1536}')::vector(1536),"
            b" 'wordllama') on conflict do nothing",
            (life.user, task, SHOES),
        )

    assert await life.found() == []
    assert await life.rows("select 1 from user_metadata_embeddings where user_id = %s") == []


async def test_deleting_waits_for_a_transaction_that_stores_a_vector(life: Life, db: Database):
    """A snippet that is stored but not committed yet when the deletion begins is deleted too."""
    task = await life.adds_task()
    async with life.worker_db.as_operator() as tx:
        await tx.execute("select from embedding_models where user_id = %s for share", (life.user,))
        await tx.execute(
            b"insert into user_metadata_embeddings (user_id, domain_tag, entity_id, chunk, text_snippet, embedding,"
            b" embedding_model) values (%s, 'task', %s, 7, %s, array_fill(1::real, '{1536}')::vector(1536),"
            b" 'wordllama')",
            (life.user, task, SHOES),
        )
        deleting = asyncio.create_task(life.desk.send("DELETE", f"/memory/task/{task}"))
        await asyncio.sleep(0.3)
        assert not deleting.done()
    assert (await deleting).status_code == 204

    assert await life.rows("select 1 from user_metadata_embeddings where user_id = %s") == []


async def test_a_corrected_memory_of_a_row_is_what_is_retrieved(life: Life):
    task = await life.adds_task()

    response = await life.desk.changes(f"/memory/task/{task}", content="The shoes are bought already.")

    assert (response.status_code, response.json()["corrected"]) == (200, True)
    assert await life.found() == ["The shoes are bought already."]
    assert (await life.desk.reads("/memory"))["items"][0]["content"] == "The shoes are bought already."

    await life.does("update tasks set description = 'Trail shoes, size 43' where id = %(id)s", id=task)
    await life.is_embedded()
    assert await life.found() == ["The shoes are bought already."]
    await life.changes_model()
    assert await life.found() == ["The shoes are bought already."]
    vectors = await life.rows("select embedding_model, text_snippet from user_metadata_embeddings where user_id = %s")
    assert vectors == [("other-model", "The shoes are bought already.")]

    again = await life.desk.changes(f"/memory/task/{task}", content="They are on my feet, these shoes.")
    assert again.status_code == 200
    await life.is_embedded()
    assert (await life.desk.reads("/memory"))["items"][0]["content"] == "They are on my feet, these shoes."


async def test_a_correction_of_a_long_entry_takes_the_place_of_all_its_pieces(life: Life):
    long = " ".join(f"Sentence number {n} about shoes." for n in range(120))
    await life.does("insert into journal_entries (user_id, title, content) values (%(me)s, 'Day', %(c)s)", c=long)
    await life.is_embedded()
    entry = (await life.desk.reads("/memory"))["items"][0]["id"]

    await life.desk.changes(f"/memory/journal_entry/{entry}", content="A day about shoes.")
    await life.is_embedded()

    assert await life.found() == ["A day about shoes."]
    assert len(await life.rows("select 1 from user_metadata_embeddings where user_id = %s")) == 1


async def test_what_was_said_about_a_row_goes_with_it(life: Life):
    task = await life.adds_task()
    await life.desk.changes(f"/memory/task/{task}", content="Bought.")

    await life.does("delete from tasks where id = %(id)s", id=task)

    assert await life.rows("select 1 from memory_corrections where user_id = %s") == []
    assert (await life.desk.reads("/memory"))["items"] == []


async def test_a_deleted_message_is_a_tombstone_and_never_retrieved_again(life: Life):
    await life.desk.imports(past("c", said("a", "The shoes hurt", 0, name="Ann"), said("b", "Which?", 1, "assistant")))
    await life.is_embedded()
    memory = next(item for item in (await life.desk.reads("/memory"))["items"] if item["message_id"] == "a")
    assert memory["content"] == "Ann: The shoes hurt"

    response = await life.desk.send("DELETE", f"/memory/conversation/{memory['id']}")

    assert response.status_code == 204
    assert not any("hurt" in text for text in await life.found())
    assert await life.desk.ids("/conversations?q=hurt") == []
    first, second = (await life.desk.reads("/conversations/c/messages"))["items"]
    assert (first["parts"], first["metadata"]["deleted"]) == ([{"type": "text", "text": "", "state": "done"}], True)
    assert second["parent_id"] == "a"
    await life.changes_model()
    assert not any("hurt" in text for text in await life.found())
    rows = await life.rows("select * from ai_conversation_memory where user_id = %s")
    assert "hurt" not in str(rows)
    assert (await life.desk.send("DELETE", f"/memory/conversation/{memory['id']}")).status_code == 404


async def test_a_corrected_message_is_what_is_retrieved_and_shown(life: Life):
    await life.desk.imports(past("c", said("a", "My left shoe hurts", 0)))
    await life.is_embedded()
    memory = (await life.desk.reads("/memory"))["items"][0]

    response = await life.desk.changes(f"/memory/conversation/{memory['id']}", content="My right shoe hurts")

    new = {"title": "My right shoe hurts", "content": "My right shoe hurts", "corrected": True}
    assert response.json() == memory | new
    assert await life.found("shoe") == ["My right shoe hurts"]
    assert await life.desk.texts("/conversations/c/messages") == ["My right shoe hurts"]
    vector = await life.rows("select message_embedding is not null from ai_conversation_memory where user_id = %s")
    assert vector == [(True,)]
    await life.is_embedded()
    await life.changes_model()
    assert await life.found("shoe") == ["My right shoe hurts"]


async def test_a_given_title_outlives_the_first_message(life: Life):
    await life.desk.imports(past("c", said("a", "The shoes hurt", 0), title="The shoes of spring"))
    memory = (await life.desk.reads("/memory"))["items"][0]

    await life.desk.send("DELETE", f"/memory/conversation/{memory['id']}")

    assert (await life.desk.reads("/conversations/c"))["title"] == "The shoes of spring"


async def test_a_correction_in_an_incognito_conversation_is_not_embedded(life: Life):
    await life.adds_task()  # who is remembered at all has a model that serves
    await life.desk.person.asks("Nobody must know", id="c", incognito=True)
    rows = await life.rows("select id from ai_conversation_memory where user_id = %s and message_role = 'user'")

    response = await life.desk.changes(f"/memory/conversation/{rows[0][0]}", content="Nobody at all")

    assert response.status_code == 200
    vectors = await life.rows("select message_embedding from ai_conversation_memory where user_id = %s")
    assert all(vector is None for (vector,) in vectors)


async def test_without_consent_a_correction_is_kept_and_embedded_when_it_is_given(life: Life):
    task = await life.adds_task()
    await life.desk.changes(f"/memory/task/{task}", content="Bought shoes.")
    consent = (
        "insert into user_analytics_preferences (user_id, record_rag_snippets) values (%(me)s, %(given)s)"
        " on conflict (user_id) do update set record_rag_snippets = excluded.record_rag_snippets"
    )
    await life.does(consent, given=False)
    assert (await life.desk.changes(f"/memory/task/{task}", content="Worn shoes.")).status_code == 200
    assert await life.rows("select 1 from user_metadata_embeddings where user_id = %s") == []

    await life.does(consent, given=True)
    await life.is_embedded()

    assert await life.found() == ["Worn shoes."]


async def test_what_answers_cited_of_a_deleted_memory_is_blanked(life: Life):
    task = await life.adds_task()
    await life.desk.person.asks("Which shoes do I want to buy?", id="c")
    parts = (await life.desk.reads("/conversations/c/messages"))["items"][-1]["parts"]
    assert [part["sourceId"] for part in parts if part["type"] == "source-document"] == [f"task:{task}"]

    await life.desk.send("DELETE", f"/memory/task/{task}")

    parts = (await life.desk.reads("/conversations/c/messages"))["items"][-1]["parts"]
    source = next(part for part in parts if part["type"] == "source-document")
    assert (source["sourceId"], source["title"]) == (f"task:{task}", "")
    assert source["providerMetadata"]["coach"]["snippet"] == ""


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "content"),
        ({"content": ""}, "content"),
        ({"content": " \n"}, "content"),
        ({"content": "x" * 32_001}, "content"),
        ({"content": "a\0"}, "content"),
        ({"content": None}, "content"),
        ({"content": "x", "title": "y"}, "title"),
    ],
)
async def test_a_correction_that_is_none_is_refused(life: Life, body: dict[str, object], path: str):
    await life.desk.imports(past("c", said("a", "As it was", 0)))
    memory = (await life.desk.reads("/memory"))["items"][0]

    response = await life.desk.send("PATCH", f"/memory/conversation/{memory['id']}", json=body)

    assert (response.status_code, response.json()["errors"][0]["path"]) == (422, path)
    assert (await life.desk.reads("/memory"))["items"] == [memory]


@pytest.mark.parametrize("path", ["dream/{id}", "task/{id}", "task/no-uuid", "conversation/{id}", "pillar/%00"])
async def test_what_is_not_there_answers_404(life: Life, path: str):
    path = path.replace("{id}", str(uuid4()))

    assert (await life.desk.send("DELETE", f"/memory/{path}")).status_code == 404
    assert (await life.desk.changes(f"/memory/{path}", content="x")).status_code == 404
