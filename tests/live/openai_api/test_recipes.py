"""The recipes of docs/clients.md, run as they stand there."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from coach.testing.stub_script import Answer
from tests.clients.fixtures import HERE as CLIENTS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "clients.md"
# Of the AI SDK the page has pieces for a page of one's own; tests/live/sockets/test_ai_sdk.py runs that client.
WHOLE, *_ = PAGE.read_text().split("\n## JavaScript: the AI SDK")
RECIPES = re.findall(r"^```(\w+)\n(.*?)^```$", WHOLE, re.DOTALL | re.MULTILINE)


def test_there_is_a_recipe_for_every_client():
    assert [language for language, _ in RECIPES] == ["sh", "python", "js", "python", "sh"]


@pytest.mark.parametrize(("language", "code"), RECIPES, ids=[f"{n}-{lang}" for n, (lang, _) in enumerate(RECIPES)])
async def test_a_recipe_of_the_page_gets_an_answer(ann, coach_url, stub, node, tmp_path, language, code):
    stub.always(Answer(text="Rest today."))
    code = code.replace("http://127.0.0.1:8000", coach_url)
    command = {
        "sh": ["bash", "-euo", "pipefail", "-c", code],
        "python": [sys.executable, "-c", code],
        "js": [str(node), "--input-type=module", "--eval", code],
    }[language]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"TOKEN": ann.token, "PATH": path, "LLM_USER_PATH": str(tmp_path)}

    process = await asyncio.create_subprocess_exec(
        *command, cwd=CLIENTS, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 90)

    assert process.returncode == 0, err.decode()
    assert "Rest today." in out.decode()
    assert stub.calls == {"sh": 1, "python": 1, "js": 1}[language] + code.count("responses.create") + code.count(
        "llm -c"
    )
