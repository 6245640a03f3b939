"""``coach import`` as people use it: in a process of its own, against a server of its own."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.live.conftest import SECRET
from tests.live.conversations.conftest import Desk, past, said
from tests.live.conversations.test_import import export, node
from tests.live.processes import CoachProcess, run_coach


def given(url: str, file: Path, desk: Desk, *options: str) -> tuple[list[str], dict[str, str]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COACH_", "OPENAI_"))}
    command = ["import", str(file), "--url", url, "--token", desk.person.token, *options]
    return command, kept | {"COACH_JWT_SECRET": SECRET}


async def ran(url: str, file: Path, desk: Desk, *options: str) -> tuple[int, str, str]:
    done = await asyncio.to_thread(run_coach, *given(url, file, desk, *options))
    return done.returncode, done.stdout, done.stderr


def a_file(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def long_past(count: int) -> list[dict[str, Any]]:
    return [past("long", *(said(f"m{n}", f"Text {n} " + "x" * 100, n % 60) for n in range(count)), title="Long")]


async def test_an_export_is_brought_along_in_pieces(desk: Desk, coach_url: str, tmp_path: Path):
    nodes = [node("root", None), *(node(f"n{i}", f"n{i - 1}" if i else "root", f"Text {i}") for i in range(1_203))]
    file = a_file(tmp_path / "conversations.json", [export("gpt", *nodes, current="n1202")])

    code, output, errors = await ran(coach_url, file, desk)

    assert (code, errors) == (0, "")
    assert "1,203 messages of 1 conversations imported." in output
    page = await desk.reads("/conversations/gpt/messages?limit=200")
    assert page["items"][-1]["id"] == "n1202"
    seen = len(page["items"])
    while page["next_cursor"]:
        page = await desk.reads(f"/conversations/gpt/messages?limit=200&cursor={page['next_cursor']}")
        seen += len(page["items"])
    assert seen == 1_203


async def test_it_tells_scripts_what_was_left_out_and_where(desk: Desk, coach_url: str, tmp_path: Path):
    told = past("c", *(said(f"m{n}", "x", n % 60) for n in range(510)), said("bad", "x", 0, "robot"))
    file = a_file(tmp_path / "own.json", {"conversations": [told]})

    first = await ran(coach_url, file, desk, "--json")
    again = await ran(coach_url, file, desk, "--json")

    rejected = [{"path": "conversations[0].messages[510].role", "message": "must be one of user, assistant."}]
    assert first[0] == again[0] == 0
    assert json.loads(first[1]) == {"conversations": 1, "messages": 510, "known": 0, "rejected": rejected}
    assert json.loads(again[1]) == {"conversations": 1, "messages": 0, "known": 510, "rejected": rejected}


async def test_one_that_is_killed_half_way_takes_up_where_it_stopped(desk: Desk, coach_url: str, tmp_path: Path):
    file = a_file(tmp_path / "own.json", long_past(2_000))
    process = CoachProcess(*given(coach_url, file, desk), tmp_path / "said")
    for _ in range(600):
        if "long" in await desk.ids():
            break
        await asyncio.sleep(0.02)
    process.kill()
    await asyncio.to_thread(process.wait, 60)

    code, output, _ = await ran(coach_url, file, desk, "--json")

    told = json.loads(output)
    assert code == 0
    assert told["known"] >= 500
    assert told["messages"] + told["known"] == 2_000


@pytest.mark.parametrize(
    ("content", "said_of_it"),
    [
        (b"hello", "neither JSON nor a zip"),
        (b'{"tasks": []}', "no list of conversations"),
        (b"[]", "holds no conversations"),
    ],
)
async def test_a_wrong_file_is_one_line(desk: Desk, coach_url: str, tmp_path: Path, content: bytes, said_of_it: str):
    (tmp_path / "f.json").write_bytes(content)

    code, output, errors = await ran(coach_url, tmp_path / "f.json", desk)

    assert (code, output) == (2, "")
    assert said_of_it in errors
    assert errors.startswith("coach: ")
    assert errors.count("\n") == 1


async def test_a_server_that_is_not_there_and_a_token_that_does_not_hold_are_one_line(
    desk: Desk, coach_url: str, tmp_path: Path
):
    file = a_file(tmp_path / "own.json", long_past(1))

    away = await ran("http://127.0.0.1:9", file, desk)
    refused = await ran(coach_url, file, desk, "--token", "nonsense")

    assert (away[0], away[2].count("\n")) == (2, 1)
    assert "No coach answers" in away[2]
    assert (refused[0], refused[2].splitlines()[-1][:38]) == (2, "coach: The server refused the import: ")


async def test_where_nothing_can_be_taken_the_exit_code_says_so(desk: Desk, coach_url: str, tmp_path: Path):
    file = a_file(tmp_path / "own.json", [past("c", said("m", "x", 0, "robot"))])

    code, output, _ = await ran(coach_url, file, desk)

    assert code == 1
    assert "left out: conversations[0].messages[0].role: must be one of user, assistant." in output
