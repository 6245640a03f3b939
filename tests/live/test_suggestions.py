"""``GET /api/me/suggestions``: questions that fit whoever asks, and nobody else's rows."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from coach.chat.suggestions import BEGINNINGS
from coach.database.pool import Database
from coach.demo.generate import DEMO_SEED, generate
from coach.demo.life import Life
from coach.demo.load import load
from coach.retrieval.wordllama import WordllamaEmbedder
from tests.stub.second_life import second_life


@pytest.fixture
async def lives_as(database_url):
    """``await lives_as(user_id, life)``: that life is theirs from now on."""
    database = Database(database_url)
    await database.open()

    async def fill(user_id: UUID, life: Life) -> None:
        assert await load(database, WordllamaEmbedder(), user_id, life)

    yield fill
    await database.close()


def today():
    return datetime.now(UTC).date()


async def offered(person) -> list[str]:
    answer = (await person.gets("/api/me/suggestions")).json()
    assert answer["is_empty"] is False
    return [item["text"] for item in answer["items"]]


async def test_each_is_offered_questions_about_their_own_life(ann, person, lives_as):
    ben = await person()
    await lives_as(ann.user_id, generate(DEMO_SEED, today()))
    await lives_as(ben.user_id, second_life(today()))

    hers, his = await offered(ann), await offered(ben)

    assert len(hers) == len(his) == 4
    assert hers[0] == his[0] == "What have I been putting off?"
    assert "Tariff forecast launch: what is next?" in hers
    assert {"Second shop: how is it coming along?", "Treehouse: what is next?"} <= set(his)
    assert not {question for question in hers if ":" in question} & set(his)


async def test_an_empty_account_is_told_how_to_begin(ann):
    answer = (await ann.gets("/api/me/suggestions")).json()

    assert answer == {"items": [{"text": text} for text in BEGINNINGS], "is_empty": True}


async def test_a_life_of_one_task_gets_four_questions_that_name_nothing(ann, owner):
    await owner.execute("insert into tasks (user_id, name) values (%s, 'Water the plants')", (ann.user_id,))

    questions = await offered(ann)

    assert len(set(questions)) == 4
    assert ":" not in "".join(questions)


@pytest.mark.parametrize(
    ("consent", "kept_out"), [("record_rag_snippets", "Treehouse"), ("track_pillar_metrics", "too little time")]
)
async def test_what_a_consent_keeps_out_of_prompts_is_in_no_suggestion(ann, owner, lives_as, consent, kept_out):
    await lives_as(ann.user_id, second_life(today()))
    point = json.dumps([{"timestamp": datetime.now(UTC).isoformat(), "alignment_score": 0.5}])
    await owner.execute("update pillars set behavior_metrics = %s where user_id = %s", (point, ann.user_id))
    before = " ".join(await offered(ann))

    await ann.client.patch("/api/me/preferences", json={consent: False}, headers=ann.headers)

    assert kept_out in before
    assert kept_out not in " ".join(await offered(ann))


async def test_nobody_is_offered_anything(client):
    assert (await client.get("/api/me/suggestions")).status_code == 401
