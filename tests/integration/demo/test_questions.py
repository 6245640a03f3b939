"""``coach eval`` asks through the real search, finds what it has to, and leaves nobody behind."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg import AsyncConnection

from coach.commands.evaluate import demo_retrieval
from coach.database.pool import Database
from coach.errors import InvalidInput
from coach.evals import locomo
from coach.evals.demo import run
from coach.retrieval.wordllama import WordllamaEmbedder

# Half of a benchmark that lies beside the repository on some machines.
LOCOMO = Path(__file__).parents[4] / "shared" / "locomo" / "locomo_dev.json"

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


@pytest.mark.parametrize(("least", "code"), [(0.9, 0), (1, 1)])
async def test_the_command_fails_below_the_least_hits_of_the_main_questions(
    least: float, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await demo_retrieval(least, as_json=True) == code
    main, paraphrased = json.loads(capsys.readouterr().out)
    assert (main["name"], paraphrased["name"]) == ("demo_retrieval", "demo_retrieval_paraphrased")
    assert main["means"]["all"]["hit_10"] >= 0.9


@pytest.mark.parametrize("days", [0, 77])
async def test_nine_of_ten_of_her_questions_are_answered_on_any_day(operator: Database, days: int) -> None:
    result, _ = await run(operator, WordllamaEmbedder(), date(2026, 11, 23) + timedelta(days=days))
    assert result.name == "demo_retrieval"
    assert result.means["all"].hit_10 >= 0.9


if LOCOMO.exists():  # where it does not there is no such test, rather than one that is skipped

    async def test_long_conversations_are_found_again(operator: Database) -> None:
        assert (await locomo.run(operator, WordllamaEmbedder(), LOCOMO)).means["all"].recall_10 >= 0.6
