"""Listing, searching, renaming, archiving and deleting conversations."""

from __future__ import annotations

import pytest

from tests.live.conversations.conftest import Desk, past, said


async def test_the_newest_activity_comes_first(desk: Desk):
    await desk.person.asks("First", id="a")
    await desk.person.asks("Second", id="b")
    await desk.person.asks("More", id="a")

    page = await desk.reads("/conversations")

    assert [item["id"] for item in page["items"]] == ["a", "b"]
    assert page["next_cursor"] is None
    assert set(page["items"][0]) == {
        "id", "title", "feature", "archived", "incognito", "current_message_id", "running", "created_at", "updated_at",
    }  # fmt: skip


async def test_pages_neither_repeat_nor_leave_out_while_conversations_arrive(desk: Desk):
    await desk.imports(*(past(f"c{n}", said("m", "x", n)) for n in range(12)))
    seen: list[str] = []
    cursor = ""
    for round_ in range(10):
        page = await desk.reads(f"/conversations?limit=3{cursor}")
        seen += [item["id"] for item in page["items"]]
        await desk.imports(past(f"new{round_}", said("m", "x", 30 + round_)))
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert seen == [f"c{n}" for n in reversed(range(12))]


async def test_conversations_of_one_moment_are_paged_through_one_by_one(desk: Desk):
    await desk.imports(*(past(f"c{n}", said("m", "x", 0)) for n in range(5)))
    seen: list[str] = []
    cursor = ""
    for _ in range(5):
        page = await desk.reads(f"/conversations?limit=1{cursor}")
        seen += [item["id"] for item in page["items"]]
        cursor = f"&cursor={page['next_cursor']}"

    assert sorted(seen) == [f"c{n}" for n in range(5)]
    assert page["next_cursor"] is None


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "cursor=nonsense", "cursor=IjEi", "archived=perhaps", "q="]
)
@pytest.mark.parametrize("path", ["/conversations", "/conversations/c/messages", "/memory"])
async def test_what_no_list_takes_is_refused_by_name(desk: Desk, path: str, query: str):
    if query.split("=", maxsplit=1)[0] in ("archived", "q") and path != "/conversations":
        return
    await desk.imports(past("c", said("m", "x", 0)))

    response = await desk.send("GET", f"{path}?{query}")

    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["errors"][0]["path"] == query.split("=", maxsplit=1)[0]


@pytest.mark.parametrize("limit", [1, 200])
async def test_the_documented_limits_are_taken(desk: Desk, limit: int):
    await desk.imports(past("c", said("m", "x", 0)))

    for path in ("/conversations", "/conversations/c/messages", "/memory"):
        assert len((await desk.reads(f"{path}?limit={limit}"))["items"]) == 1


async def test_a_cursor_of_another_list_is_refused(desk: Desk):
    await desk.imports(past("c", said("a", "x", 0), said("b", "y", 1)), past("d", said("a", "x", 0), said("b", "y", 1)))
    cursor = (await desk.reads("/conversations/c/messages?limit=1"))["next_cursor"]

    for path in ("/conversations", "/memory", "/conversations/d/messages"):
        response = await desk.send("GET", f"{path}?cursor={cursor}")
        assert (response.status_code, response.json()["errors"][0]["path"]) == (422, "cursor"), path


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("My knees hurt on the hills", "knee hill"),
        ("Das Knie schmerzt beim Bergablaufen", "Knie"),
        ("La rodilla me duele al bajar", "rodilla"),
        ("Le genou est gonflé depuis hier", "gonflé"),
        ("Моё колено болит после бега", "колен"),
        ("Το γόνατό μου πονάει", "γόνατό"),
        ("ركبتي تؤلمني بعد الجري", "تؤلمني"),
        ("मेरे घुटने में दर्द है", "घुटने"),
        ("הברך שלי כואבת", "כואבת"),
        ("我的膝盖跑步以后很疼", "膝盖"),
        ("我的膝盖跑步以后很疼", "疼"),
        ("走った後に膝が痛いです", "膝が痛い"),
        ("ランニングの後で", "ニング"),
        ("무릎이 달리기 후에 아파요", "무릎"),
        ("หัวเข่าของฉันเจ็บหลังวิ่ง", "เจ็บ"),
        ("用MRI检查膝盖", "MRI 膝盖"),
        ("Straße und Schnee", "straße"),
    ],
)
async def test_words_of_messages_and_of_titles_are_found_in_many_scripts(desk: Desk, text: str, query: str):
    await desk.imports(
        past("message", said("m", text, 0), title="Untold"),
        past("title", said("m", "Nothing of it", 0), title=text),
        past("other", said("m", "Something else altogether 其他 другое", 0), title="Other"),
    )

    page = (await desk.send("GET", "/conversations", params={"q": query})).json()

    assert {item["id"] for item in page["items"]} == {"message", "title"}
    matches = {item["id"]: item["match"] for item in page["items"]}
    assert matches["title"] is None
    assert matches["message"]["message_id"] == "m"
    assert matches["message"]["snippet"] == text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ('"sore knee"', ["phrase"]),
        ("sore -hill", ["phrase"]),
        ("sor*", ["words", "phrase"]),
        ("knee sore hill", ["words"]),
        ("the", []),
        ("'; drop table conversations; --", []),
        ("& | ! ( :* <-> \\", []),
        ("膝 盖", []),
    ],
)
async def test_all_words_have_to_be_there_and_a_search_reads_as_on_the_web(desk: Desk, query: str, found: list[str]):
    await desk.imports(
        past("phrase", said("m", "A sore knee", 0)),
        past("words", said("m", "The knee was sore, up the hill", 1)),
        past("apart", said("m", "The hill", 2), said("n", "My knee", 3)),
    )

    response = await desk.send("GET", "/conversations", params={"q": query})

    assert response.status_code == 200
    assert [item["id"] for item in response.json()["items"]] == found


async def test_a_search_is_paged_like_the_list_and_bounded(desk: Desk):
    await desk.imports(*(past(f"c{n}", said("m", "The knee", n)) for n in range(5)))

    first = await desk.reads("/conversations?q=knee&limit=3")
    rest = await desk.reads(f"/conversations?q=knee&limit=3&cursor={first['next_cursor']}")

    assert [item["id"] for item in first["items"] + rest["items"]] == ["c4", "c3", "c2", "c1", "c0"]
    assert rest["next_cursor"] is None
    assert (await desk.send("GET", "/conversations", params={"q": "x" * 500})).status_code == 200
    assert (await desk.send("GET", "/conversations", params={"q": "x" * 501})).status_code == 422


async def test_a_name_is_given_and_what_is_left_out_stays(desk: Desk):
    await desk.imports(past("c", said("m", "x", 0), title="Old"))

    renamed = await desk.changes("/conversations/c", title="  New \n name ")
    archived = await desk.changes("/conversations/c", archived=True)

    assert (renamed.status_code, renamed.json()["title"]) == (200, "New name")
    assert (archived.json()["title"], archived.json()["archived"]) == ("New name", True)
    assert (await desk.changes("/conversations/c")).json() == archived.json()


async def test_an_archived_conversation_is_only_where_it_is_asked_for(desk: Desk):
    await desk.imports(past("a", said("m", "knee", 0)), past("b", said("m", "knee", 1)))
    await desk.changes("/conversations/a", archived=True)

    assert await desk.ids() == ["b"]
    assert await desk.ids("/conversations?q=knee") == ["b"]
    assert await desk.ids("/conversations?archived=true") == ["a"]
    assert await desk.ids("/conversations?archived=true&q=knee") == ["a"]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"title": ""}, "title"),
        ({"title": " \n "}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"title": "a\0b"}, "title"),
        ({"title": None}, "title"),
        ({"archived": "yes"}, "archived"),
        ({"current_message_id": "elsewhere"}, "current_message_id"),
        ({"current_message_id": ""}, "current_message_id"),
        ({"incognito": True}, "incognito"),
        ({"colour": "red"}, "colour"),
        ([], "body"),
    ],
)
async def test_a_change_that_is_none_is_refused_by_its_path_and_changes_nothing(desk: Desk, body: object, path: str):
    await desk.imports(past("c", said("m", "x", 0), title="Old"), past("d", said("elsewhere", "x", 0)))
    before = await desk.reads("/conversations/c")

    response = await desk.send("PATCH", "/conversations/c", json=body)

    assert response.status_code == 422
    assert response.json()["errors"][0]["path"] == path
    assert await desk.reads("/conversations/c") == before


async def test_a_title_of_the_greatest_length_is_taken(desk: Desk):
    await desk.imports(past("c", said("m", "x", 0)))

    assert (await desk.changes("/conversations/c", title="ü" * 200)).status_code == 200


@pytest.mark.parametrize("form", ["x=1", '{"title": "a"', '{"title": "\xff"}'])
async def test_a_body_that_is_no_json_is_refused(desk: Desk, form: str):
    await desk.imports(past("c", said("m", "x", 0)))

    response = await desk.send("PATCH", "/conversations/c", content=form.encode("latin-1"))

    assert response.status_code == 422
    assert response.json()["errors"][0]["path"] == "body"


async def test_a_deleted_conversation_leaves_nothing(desk: Desk, owner):
    await desk.person.asks("What is for lunch?", id="other")
    await desk.person.asks("My knee hurts when I run down hills.", id="c")
    await desk.imports(past("c", said("old", "The knee hurt in March too.", 0)))

    response = await desk.send("DELETE", "/conversations/c")

    assert (response.status_code, response.content) == (204, b"")
    assert await desk.ids() == ["other"]
    assert (await desk.send("GET", "/conversations/c")).status_code == 404
    assert (await desk.send("DELETE", "/conversations/c")).status_code == 404
    for table in ("ai_conversation_memory", "embedding_queue", "message_embeddings", "turn_checkpoints"):
        # As text: what waits in a queue may be due since '-infinity', which is no moment in Python.
        rows = await (
            await owner.execute(f"select t::text from {table} t where user_id = %s", (desk.person.user_id,))
        ).fetchall()
        assert "hills" not in str(rows), table
        assert "March" not in str(rows), table
    found = (await desk.reads("/search?q=knee hills March&domain=conversation"))["items"]
    assert {item["conversation_id"] for item in found} <= {"other"}


async def test_what_others_cited_of_a_deleted_conversation_is_blanked_and_keeps_its_number(desk: Desk):
    await desk.person.asks("My knee hurts when I run down hills near Potsdam.", id="gone")
    await desk.person.asks("What did I say about my knee and running?", id="stays")
    before = (await desk.reads("/conversations/stays/messages"))["items"][-1]["parts"]
    assert any("Potsdam" in str(part) for part in before if part["type"] == "source-document")

    await desk.send("DELETE", "/conversations/gone")

    after = (await desk.reads("/conversations/stays/messages"))["items"][-1]["parts"]
    assert [part["type"] for part in after] == [part["type"] for part in before]
    assert not any("Potsdam" in str(part) for part in after if part["type"] == "source-document")


async def test_a_conversation_may_be_called_import(desk: Desk):
    await desk.imports(past("import", said("m", "x", 0)))

    assert (await desk.reads("/conversations/import"))["id"] == "import"
    assert await desk.texts("/conversations/import/messages") == ["x"]
    assert (await desk.changes("/conversations/import", title="Mine")).status_code == 200
    assert (await desk.send("DELETE", "/conversations/import")).status_code == 204


async def test_nothing_is_posted_to_one_conversation(desk: Desk):
    response = await desk.send("POST", "/conversations/c", json={})

    assert (response.status_code, response.headers["allow"]) == (405, "GET, PATCH, DELETE")
