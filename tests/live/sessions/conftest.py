"""People in coaching sessions, and short ways to speak and to look."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from coach.database.pool import Database
from coach.settings import Settings, load_settings
from tests.live.conftest import SECRET, Answer, ApiUser


@pytest.fixture(scope="module")
def coach_settings(database_url: str, worker_url: str) -> Settings:
    """With a worker inside, and the offline model."""
    return load_settings(database_url=database_url, worker_database_url=worker_url, jwt_secret=SECRET)


@pytest.fixture
async def operator(worker_url: str) -> AsyncIterator[Database]:
    database = Database(worker_url)
    await database.open()
    yield database
    await database.close()


class Couch:
    """One person's sessions in one conversation, over HTTP."""

    def __init__(self, person: ApiUser, conversation: str = "c") -> None:
        self.person, self.conversation = person, conversation

    async def says(self, text: str, session: Any = None, **body: Any) -> Answer:
        """A turn that must succeed; ``session`` is the command."""
        answer = await self.asks(text, session, **body)
        assert answer.status == 200, answer.body
        assert answer.parts[-1]["type"] == "finish", answer.parts[-1]
        return answer

    async def asks(self, text: str, session: Any = None, **body: Any) -> Answer:
        if session is not None:
            body["session"] = session
        return await self.person.asks(text, id=self.conversation, **body)

    async def starts(self, kind: str = "grow", text: str = "I want to run a half marathon.", **body: Any) -> Answer:
        return await self.says(text, {"type": "start", "kind": kind}, **body)

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self.person.client.request(method, f"/api{path}", headers=self.person.headers, **options)

    async def reads(self, path: str) -> dict[str, Any]:
        response = await self.send("GET", path)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    async def session(self) -> dict[str, Any]:
        """The newest one of the conversation, in full."""
        newest = (await self.reads(f"/sessions?conversation_id={self.conversation}"))["items"][0]
        return await self.reads(f"/sessions/{newest['id']}")

    async def until(self, **wanted: Any) -> dict[str, Any]:
        """The session, once it is as wanted: what follows a turn takes a moment."""
        found: dict[str, Any] = {}
        for _ in range(200):
            found = await self.session()
            if all(found[name] == value for name, value in wanted.items()):
                return found
            await asyncio.sleep(0.1)
        raise AssertionError(f"{wanted} did not come about: {found}")


def prompt_of(answer: Answer) -> str:
    prompt: str = answer.first("start")["messageMetadata"]["prompt"]
    return prompt


@pytest.fixture
def couch(ann: ApiUser) -> Couch:
    return Couch(ann)
