"""``coach eval retrieval`` asks through the real search, and leaves nobody behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from psycopg import AsyncConnection

from coach.database.pool import Database
from coach.errors import InvalidInput
from coach.evals.demo import run
from coach.retrieval.wordllama import WordllamaEmbedder

QUESTIONS = """
name: two
cases:
  - name: easy
    inputs: How did the hop test go at Sanne's practice?
    expected_output: ["task:knee-hop-test"]
    metadata: {thread: knee, note: ""}
  - name: hard
    inputs: Which planet is the largest?
    expected_output: ["task:knee-hop-test"]
    metadata: {thread: none, note: ""}
"""


@pytest.fixture
async def operator(owner_url: str) -> AsyncIterator[Database]:
    database = Database(owner_url)
    await database.open()
    yield database
    await database.close()


async def accounts(owner: AsyncConnection[Any]) -> int:
    row = await (await owner.execute("select count(*) from auth.users")).fetchone()
    assert row is not None
    return int(row[0])


async def test_an_answer_counts_where_its_row_is_among_the_first_ten(
    operator: Database, owner: AsyncConnection[Any], tmp_path: Path
) -> None:
    file, before = tmp_path / "two.yaml", await accounts(owner)
    file.write_text(QUESTIONS)
    (result,) = await run(operator, WordllamaEmbedder(), datetime.now(UTC).date(), files=[file])
    easy, hard = result.asked
    assert (easy.scores.hit_10, hard.scores.hit_10, result.means["all"].hit_10) == (1, 0, 0.5)
    assert "task:knee-hop-test" in easy.found
    assert len(hard.found) == 10
    assert await accounts(owner) == before


async def test_a_question_about_a_missing_row_is_refused_before_anything_is_loaded(
    operator: Database, owner: AsyncConnection[Any], tmp_path: Path
) -> None:
    file, before = tmp_path / "two.yaml", await accounts(owner)
    file.write_text(QUESTIONS.replace("knee-hop-test", "no-such-task"))
    with pytest.raises(InvalidInput, match="no-such-task"):
        await run(operator, WordllamaEmbedder(), datetime.now(UTC).date(), files=[file])
    assert await accounts(owner) == before
