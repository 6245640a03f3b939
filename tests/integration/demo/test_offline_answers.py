"""What people ask a coach, answered by the offline model in a real turn: the fact stands in its first sentences."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from coach.chat.collected import collect
from coach.chat.figures import check
from coach.chat.schemas import ChatRequest
from coach.database.pool import Database
from coach.demo.generate import DEMO_SEED, generate
from coach.demo.life import Life
from coach.demo.load import load
from coach.models.offline_answer import NOTHING, STAND_IN
from coach.retrieval.wordllama import WordllamaEmbedder
from coach.services import open_services
from coach.settings import Settings
from tests.stub.second_life import second_life

NOW = datetime(2026, 11, 26, 9, tzinfo=UTC)
OPENING = 300
"""Characters: a sentence or two, or the first lines of a list."""


MAYA = {
    "What have I been putting off?": "Book the follow-up MRI of the left knee",
    "Where am I behind with Mum's care?": "pacemaker check",
    "When is my Spanish exam?": "12 December 2026",
    "By when do I have to hand in the tax return?": "2026-12-04",
    "How much is in the emergency fund?": "6,350",
    "How much does my Spanish tutor cost?": "24 euros",
    "Who comes to Mum in the mornings?": "Mrs. Novak",
    "Am I on track for the half marathon?": "55 percent",
    "When did I last have a mock exam?": "15 November 2026",
    "What should I focus on today?": "today: Decide how to show the error bars to sales",
    "Which part of my life gets too little time?": "Health: alignment 0.56",
}
KOFI = {
    "What am I neglecting?": "Call the landlord about the lease",
    "Is there anything for the shop that I keep postponing?": "Have the oven door repaired",
    "When is our Christmas concert?": "2026-12-08",
    "When does the health inspector come?": "4 December 2026",
    "How much rent does the landlord want?": "1,450 euros",
    "How long did I take to swim two kilometres?": "52 minutes",
    "Who is going to bake with me from January?": "Beatriz Lobo",
    "Who plays the organ?": "Hanne",
    "How is the second shop coming along?": "45% complete",
    "When was I last at the dentist?": "17 September 2026",
    "What is left to do for the second shop?": "Call the landlord about the lease",
}
UNKNOWN = ("How much do I pay for my piano?", "When is my violin lesson?", "Who is my tax adviser?")


@pytest.fixture(scope="module")
def owner_of(owner_url: str, database_url: str) -> Callable[[Life], UUID]:
    """The account that a life was loaded into."""

    async def fill(user_id: UUID, life: Life) -> None:
        database = Database(database_url)
        await database.open()
        await load(database, WordllamaEmbedder(), user_id, life)
        await database.close()

    def make(life: Life) -> UUID:
        user_id = uuid4()
        with psycopg.connect(owner_url, autocommit=True) as owner:
            owner.execute("insert into auth.users (id) values (%s)", (user_id,))
            owner.execute("insert into user_profiles (id) values (%s) on conflict do nothing", (user_id,))
        asyncio.run(fill(user_id, life))
        return user_id

    return make


@pytest.fixture(scope="module")
def maya(owner_of: Callable[[Life], UUID]) -> UUID:
    return owner_of(generate(DEMO_SEED, NOW.date()))


@pytest.fixture(scope="module")
def kofi(owner_of: Callable[[Life], UUID]) -> UUID:
    return owner_of(second_life(NOW.date()))


@pytest.fixture
async def ask(database_url: str) -> AsyncIterator[Any]:
    """``await ask(user, question)``: the answer of a whole turn, in a conversation that leaves nothing behind."""
    settings = Settings(
        database_url=database_url,
        jwt_secret="s" * 40,
        chat_model="offline",
        embedding_model="wordllama",
        _env_file=None,
    )
    async with open_services(settings, clock=lambda: NOW) as services:

        async def turn(user: UUID, question: str) -> str:
            request = ChatRequest(
                conversation_id=f"c{uuid4()}", message_id=f"m{uuid4()}", text=question, incognito=True
            )
            told = await collect(await services.turns.begin(user, request))
            assert isinstance(told, dict)
            text = next(part["text"] for part in told["message"].parts if part["type"] == "text")
            return text.removeprefix(STAND_IN).strip()

        yield turn


def opening(answer: str) -> str:
    return answer[:OPENING]


@pytest.mark.parametrize("question", MAYA)
async def test_mayas_questions_are_answered_with_the_fact_first(question: str, maya: UUID, ask: Any) -> None:
    assert MAYA[question] in (await ask(maya, question))[: OPENING * 3 if "today" in question else OPENING]


@pytest.mark.parametrize("question", KOFI)
async def test_another_lifes_questions_are_too(question: str, kofi: UUID, ask: Any) -> None:
    assert KOFI[question] in opening(await ask(kofi, question))


@pytest.mark.parametrize("question", UNKNOWN)
async def test_what_stands_in_no_row_is_said_to_stand_in_none(question: str, kofi: UUID, ask: Any) -> None:
    answer = await ask(kofi, question)

    assert answer.startswith((NOTHING, "Nothing of yours names", "I found no"))
    assert not re.search(r"\bviolin is\b|\bpiano costs\b", answer)


async def test_no_row_is_told_twice_in_one_line(maya: UUID, ask: Any) -> None:
    for question in MAYA:
        for line in (await ask(maya, question)).splitlines():
            for title in re.findall(r"“([^”]{12,})”", line):
                assert line.count(title) == 1, line


async def test_every_figure_of_an_answer_stands_in_its_prompt(kofi: UUID, ask: Any, monkeypatch: Any) -> None:
    from coach.models import offline

    given: list[str] = []
    whole = offline.offline_reply

    def overheard(messages: Any, *rest: Any) -> Any:
        given.extend(message.content for message in messages if message.role == "user")
        return whole(messages, *rest)

    monkeypatch.setattr(offline, "offline_reply", overheard)
    for question in KOFI:
        given.clear()
        answer = await ask(kofi, question)
        assert check(answer, given, 8).holds, answer
