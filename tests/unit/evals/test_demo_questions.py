"""The demo's questions name rows that exist, and a wrong one is said to be wrong."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import msgspec
import pytest

from coach.demo.generate import DEMO_SEED, generate
from coach.demo.life import Life
from coach.errors import InvalidInput
from coach.evals.demo import DATASETS, Asked, Case, Dataset, Metadata, Result, answers, read, table
from coach.evals.ranking import score


@pytest.fixture(scope="module")
def maya() -> Life:
    return generate(DEMO_SEED, date(2026, 11, 23))


@pytest.mark.parametrize("file", DATASETS, ids=lambda file: file.stem)
def test_forty_questions_each_have_rows_and_cover_every_thread(file: Path, maya: Life) -> None:
    dataset = read(file)
    rows = answers(maya, dataset)
    assert len(rows) == len(dataset.cases) == len({case.inputs for case in dataset.cases}) == 40
    assert all(rows.values())
    assert {case.metadata.thread for case in dataset.cases} == {"knee", "job", "mum", "spanish", "small"}


def test_a_row_that_the_life_does_not_have_is_named(maya: Life) -> None:
    case = Case("typo", "Where?", ("journal_entry:twinge", "journal_entry:twigne"), Metadata("knee", ""))
    with pytest.raises(InvalidInput, match="journal_entry:twigne"):
        answers(maya, Dataset("one", (case,)))


@pytest.mark.parametrize("text", ["- a list", "name: x\ncases: [{inputs: hm}]", "{", "\0"])
def test_a_file_that_is_no_dataset_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "questions.yaml"
    file.write_text(text)
    with pytest.raises(InvalidInput, match="is not a dataset"):
        read(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not a dataset"):
        read(tmp_path / "none.yaml")


def test_the_table_names_each_question_that_was_not_answered() -> None:
    hit, miss = score(["a"], {"a"}), score(["b"], {"a"})
    asked = (Asked("one", "knee", "Found?", hit, ("a",)), Asked("two", "knee", "Lost?", miss, ("b",)))
    text = table([Result("set", {"all": type(hit).mean([hit, miss])}, asked)])
    assert "set: 1 of 2 questions answered in ten" in text
    assert "missed: Lost?" in text
    assert "missed: Found?" not in text
    assert msgspec.json.encode(asked)
