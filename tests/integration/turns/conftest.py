"""One person's turns on a real database, with a provider that does what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from coach.chat.events import Event, TextDelta
from coach.chat.prompt import Prompts
from coach.chat.schemas import ChatRequest
from coach.chat.turns import Turns
from coach.database.pool import Database
from coach.models.openai import OpenAIModel
from coach.models.timeouts import Timeouts
from coach.retrieval.context import Retriever
from coach.retrieval.wordllama import WordllamaEmbedder
from coach.testing.stub_provider import StubProvider

# No test fails because the machine has other things to do; those about silence have a limit of their own.
PATIENT = Timeouts(first_token=30, between_tokens=30, total=60)


class Coach:
    """Turns of one person, with the rows behind them."""

    def __init__(self, turns: Turns, user: UUID, owner: Any) -> None:
        self.turns, self.user, self.owner = turns, user, owner

    async def begin(self, message_id: str, text: str = "How is it going?", **more: Any) -> Any:
        request = ChatRequest(**{"conversation_id": "c1", "message_id": message_id, "text": text} | more)
        return await self.turns.begin(self.user, request)

    async def ask(self, message_id: str, text: str = "How is it going?", **more: Any) -> list[Event]:
        return await read(await self.begin(message_id, text, **more))

    async def rows(self, sql: str) -> list[Any]:
        return await (await self.owner.execute(sql, {"user": self.user})).fetchall()

    async def answers(self) -> list[tuple[str, str]]:
        return await self.rows(
            "select status, message_content from ai_conversation_memory where user_id = %(user)s"
            " and message_role = 'assistant' order by created_at"
        )

    async def interactions(self) -> list[str]:
        rows = await self.rows("select status from ai_interactions where user_id = %(user)s order by created_at")
        return [status for (status,) in rows]

    async def quota(self) -> tuple[int, int]:
        rows = await self.rows("select used, reserved from ai_quota_months where user_id = %(user)s")
        return rows[0] if rows else (0, 0)

    async def settled(self) -> None:
        """Until nothing of any turn runs any more."""
        deadline = monotonic() + 20
        while (self.turns.running or len(self.turns._tasks)) and monotonic() < deadline:  # noqa: ASYNC110 - they set no event
            await asyncio.sleep(0.02)
        assert self.turns.running == 0
        assert await self.rows("select 1 from turn_checkpoints where user_id = %(user)s") == []
        assert (
            await self.rows("select 1 from ai_conversation_memory where user_id = %(user)s and status = 'streaming'")
            == []
        )


async def read(reader: Any) -> list[Event]:
    return [event async for batch in reader for event in batch]


async def begun(reader: Any) -> None:
    """Until the first words of an answer are there."""
    async for batch in reader:
        if text_of(batch):
            break


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.fixture
async def make_coach(db: Database, owner: Any, new_user: Any, model_stub: StubProvider) -> AsyncIterator[Any]:
    made: list[Turns] = []
    models: list[OpenAIModel] = []
    embedder = WordllamaEmbedder()

    async def make(
        timeout: float = 60,
        limit: int = 250,
        on: Any = embedder,
        by: Database = db,
        patience: Timeouts = PATIENT,
        **more: Any,
    ) -> Coach:
        model = OpenAIModel("stub-model", api_key=SecretStr("k"), base_url=model_stub.url, timeouts=patience)
        models.append(model)
        turns = Turns(
            by,
            models={"stub-model": model},
            embedder=on,
            retriever=Retriever(on),
            prompts=Prompts(),
            monthly_limit=limit,
            timeout=timeout,
            **more,
        )
        made.append(turns)
        return Coach(turns, await new_user(), owner)

    yield make
    for turns in made:
        await turns.drain(0)
    for model in models:
        await model.aclose()


@pytest.fixture
async def coach(make_coach: Any) -> Coach:
    return await make_coach()
