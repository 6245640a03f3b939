"""A feature type is a prompt: one file, and everything that names features has it."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from psycopg import AsyncConnection

from coach.resources import PROMPTS
from tests.live.conftest import ApiUser, StartServer

PROMPT = """---
description: Says it in seventeen syllables.
feature: true
---
{% include "_house.md" %}

Answer with a haiku.
"""

ELSEWHERE = "import coach.resources\nfrom pathlib import Path\ncoach.resources.PROMPTS = Path({!r})\n"


async def test_a_made_up_feature_is_one_prompt_file(
    start_server: StartServer,
    tmp_path: Path,
    new_user: Callable[[], Awaitable[UUID]],
    token_for: Callable[..., str],
    owner: AsyncConnection[Any],
) -> None:
    prompts, user = tmp_path / "prompts", await new_user()
    shutil.copytree(PROMPTS, prompts)
    (prompts / "haiku_writing").mkdir()
    (prompts / "haiku_writing" / "1.md").write_text(PROMPT)
    (tmp_path / "sitecustomize.py").write_text(ELSEWHERE.format(str(prompts)))
    server = start_server(PYTHONPATH=str(tmp_path))

    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        ann = ApiUser(user, client, token_for(user))
        answer = await ann.asks("Write about the knee.", feature="haiku_writing")
        completion = await client.post(
            "/v1/chat/completions",
            json={"model": "coach/haiku_writing", "messages": [{"role": "user", "content": "Another one."}]},
            headers=ann.headers,
        )
        described = (await client.get("/schema/openapi.json")).text
        models = [model["id"] for model in (await ann.gets("/v1/models")).json()["data"]]
        refused = await ann.asks("Write a sonnet.", feature="sonnet_writing")

    assert answer.first("start")["messageMetadata"]["prompt"] == "haiku_writing@1"
    assert completion.json()["system_fingerprint"] == "haiku_writing@1"
    assert "haiku_writing" in described
    assert "coach/haiku_writing" in models
    assert "haiku_writing" in refused.problem["errors"][0]["message"]
    rows = await (
        await owner.execute("select distinct feature_type from ai_interactions where user_id = %s", (user,))
    ).fetchall()
    assert rows == [("haiku_writing",)]
