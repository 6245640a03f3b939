"""A coach in front of a provider stub, and people who reach it by OpenAI's protocols."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import openai
import pytest

from coach.chat import readers
from coach.settings import Settings, load_settings
from coach.testing.stub_provider import StubProvider
from tests.live.conftest import SECRET, eventually
from tests.live.openai_api.cutting import CuttingProxy
from tests.stub.fixtures import asking


@pytest.fixture(scope="module")
def coach_settings(database_url: str, provider: StubProvider) -> Settings:
    return load_settings(
        database_url=database_url,
        jwt_secret=SECRET,
        **asking(provider),
        turns_at_once=30,
    )


@pytest.fixture
def sdk(coach_url: str) -> Callable[..., openai.AsyncOpenAI]:
    """``sdk(ann)``: the stock client, of one person."""

    def make(person: Any, url: str = coach_url, **more: Any) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=person.token, **({"max_retries": 0} | more))

    return make


@pytest.fixture
async def cutting(coach_url: str, stub: StubProvider) -> AsyncIterator[CuttingProxy]:
    """In front of the coach: cuts the first connection as soon as its turn has begun."""
    async with CuttingProxy(coach_url, turns=lambda: stub.calls) as proxy:
        yield proxy


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has left may take long to come back: on a busy host a client does."""
    monkeypatch.setattr(readers, "ABANDONED_AFTER", 20.0)


@dataclass
class Rows:
    """What of a person is in the database."""

    owner: Any
    user_id: UUID

    async def fetch(self, sql: str) -> list[Any]:
        return await (await self.owner.execute(sql, {"user": self.user_id})).fetchall()

    async def messages(self) -> list[tuple[str, str, str]]:
        return await self.fetch(
            "select message_role, message_content, status from ai_conversation_memory where user_id = %(user)s"
            " order by created_at"
        )

    async def conversations(self) -> list[str]:
        found = await self.fetch("select client_id from conversations where user_id = %(user)s order by created_at")
        return [client_id for (client_id,) in found]

    async def quota(self) -> tuple[int, int]:
        found = await self.fetch("select used, reserved from ai_quota_months where user_id = %(user)s")
        return found[0] if found else (0, 0)

    async def interactions(self) -> list[str]:
        found = await self.fetch("select status from ai_interactions where user_id = %(user)s order by created_at")
        return [status for (status,) in found]

    async def settled(self) -> None:
        """Until none of their turns runs."""
        await self.until("not exists (select from turn_checkpoints where user_id = %(user)s)")

    async def until(self, happened: str) -> None:
        """Until this condition is true in the database."""

        async def happens() -> bool:
            return await self.fetch(f"select {happened}") == [(True,)]

        await eventually(happens)


@pytest.fixture
def rows(owner: Any) -> Callable[..., Rows]:
    return lambda person: Rows(owner, person.user_id)


def completion(text: str = "How is it going?", **more: Any) -> dict[str, Any]:
    """A chat completion's body."""
    return {"model": "coach", "messages": [{"role": "user", "content": text}], **more}


async def post(person: Any, body: Any, path: str = "/v1/chat/completions", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await person.client.post(path, json=body, headers=person.headers | named)


def said(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def data_of(stream: str) -> list[Any]:
    """The JSON of a stream's data lines, which must end in ``[DONE]``."""
    lines = [line.removeprefix("data: ") for line in stream.split("\n\n") if line and not line.startswith(":")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]
