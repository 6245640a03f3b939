"""People with conversations, and short ways to ask for them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from coach.settings import Settings, load_settings
from tests.live.conftest import SECRET, ApiUser


@pytest.fixture(scope="module")
def coach_settings(database_url: str, worker_url: str) -> Settings:
    """With a worker inside."""
    return load_settings(database_url=database_url, worker_database_url=worker_url, jwt_secret=SECRET)


class Desk:
    """One person's conversations, over HTTP."""

    def __init__(self, person: ApiUser) -> None:
        self.person, self.client = person, person.client

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self.client.request(method, f"/api{path}", headers=self.person.headers, **options)

    async def reads(self, path: str) -> dict[str, Any]:
        response = await self.send("GET", path)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    async def changes(self, path: str, **body: Any) -> httpx.Response:
        return await self.send("PATCH", path, json=body)

    async def imports(self, *conversations: dict[str, Any]) -> httpx.Response:
        return await self.send("POST", "/conversations/import", json={"conversations": list(conversations)})

    async def ids(self, path: str = "/conversations") -> list[str]:
        return [item["id"] for item in (await self.reads(path))["items"]]

    async def texts(self, path: str) -> list[str]:
        return [item["parts"][-1]["text"] for item in (await self.reads(path))["items"]]


@pytest.fixture
def desk(ann: ApiUser) -> Desk:
    return Desk(ann)


def said(id_: str, content: str, minute: int, role: str = "user", **more: Any) -> dict[str, Any]:
    """One message of an import, so many minutes after noon."""
    at = f"2025-03-01T{12 + minute // 60:02}:{minute % 60:02}:00Z"
    return {"id": id_, "role": role, "content": content, "created_at": at, **more}


def past(id_: str, *messages: dict[str, Any], title: str = "") -> dict[str, Any]:
    return {"id": id_, "title": title, "messages": list(messages)}
