"""What the coach reads of a row."""

from __future__ import annotations

from datetime import date, time
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coach.kinds.area import AreaRow, of_area
from coach.kinds.journal_entry import JournalRow, of_journal
from coach.kinds.pillar import PillarRow, of_pillar
from coach.kinds.project import ProjectRow, of_project
from coach.kinds.task import TaskContext, TaskRow, of_task, task_context
from coach.kinds.text import chunked, searched

ID = UUID(int=7)


def a_task(**more: Any) -> TaskRow:
    return TaskRow(
        **{
            "id": ID,
            "name": "Book the MRI",
            "description": None,
            "status": "todo",
            "priority": "high",
            "due_date": None,
        }
        | more
    )


def an_entry(content: str, **more: Any) -> JournalRow:
    base = {"id": ID, "title": "A day", "content": content, "mood": None, "energy_level": None, "tags": ()}
    return JournalRow(**base | {"written_on": date(2026, 5, 4)} | more)


def test_a_task_tells_where_it_belongs_when_it_is_due_and_what_it_asks() -> None:
    snippet = of_task(
        a_task(
            description="They answer until eleven.",
            due_date=date(2026, 11, 20),
            due_time=time(9, 5),
            recurrence="weekly",
            estimated_duration=5,
            context=TaskContext("low", "routine", ("phone", "morning_optimal")),
            project="Fix the knee",
            area="Running",
            pillar="Health",
        )
    )
    assert snippet.title == "Book the MRI"
    assert snippet.text == (
        "Book the MRI. They answer until eleven. Task of the project Fix the knee."
        " Open, high priority, due 20 November 2026 at 09:05, repeats weekly."
        " Needs about 5 minutes; low energy; routine thinking; phone, morning optimal."
        "\n↑ Part of Running, Health."
    )


def test_what_is_farther_up_than_the_project_is_read_but_not_searched() -> None:
    task = of_task(a_task(project="Fix the knee", area="Running\nand the knee", pillar="Health"))
    assert task.text.endswith("\n↑ Part of Running and the knee, Health.")
    assert searched(task.text) == "Book the MRI. Task of the project Fix the knee. Open, high priority."


@pytest.mark.parametrize("text", ["", "↑ Up.", "One.\n↑ Part of it.\nTwo.", "One. ↑ Part of it.", "One.\n↑ A.\n"])
def test_any_other_text_is_searched_as_it_is(text: str) -> None:
    assert searched(text) == text


def test_a_task_without_parents_date_or_context_says_no_more_than_it_knows() -> None:
    assert of_task(a_task()).text == "Book the MRI. Task. Open, high priority."


def test_what_a_task_asks_is_left_out_without_the_consent_to_read_it() -> None:
    assert "energy" not in of_task(a_task(estimated_duration=5, context=None)).text


def test_a_finished_task_tells_when_it_was_done_and_no_longer_when_it_is_due() -> None:
    text = of_task(a_task(status="completed", due_date=date(2026, 1, 1), completed_on=date(2026, 1, 2))).text
    assert "Done on 2 January 2026." in text
    assert "due" not in text


@pytest.mark.parametrize("status", ["todo", "in_progress", "review", "completed", "something new"])
def test_every_status_has_words(status: str) -> None:
    assert "_" not in of_task(a_task(status=status)).text


@pytest.mark.parametrize("metadata", [None, [], "high", {"context_tags": "phone"}, {"energy_requirement": 5}])
def test_metadata_of_another_shape_are_not_read(metadata: object) -> None:
    assert task_context(metadata) is None


def test_metadata_are_read_past_what_is_unknown() -> None:
    assert task_context({"energy_requirement": "low", "mine": 1}) == TaskContext("low")


def test_a_project_tells_its_place_deadline_and_state() -> None:
    row = ProjectRow(
        ID, "Fix the knee", "Free of pain.", "In Progress", "high", date(2026, 12, 4), 80.0, "Running", "Health"
    )
    assert of_project(row).text == (
        "Fix the knee. Free of pain. Project in Running."
        " In Progress, high priority, 80 percent done, deadline 4 December 2026."
        "\n↑ Part of Health."
    )


def test_a_project_without_area_or_deadline_leaves_both_out() -> None:
    row = ProjectRow(ID, "Alone", None, "On Hold", "low", None, 0)
    assert of_project(row).text == "Alone. Project. On Hold, low priority, 0 percent done."


def test_pillars_and_areas_tell_what_they_are_for() -> None:
    assert of_pillar(PillarRow(ID, "Health", "A body.", 25.0)).text == (
        "Pillar: Health. A body. It is meant to get 25 percent of the time."
    )
    assert of_pillar(PillarRow(ID, "Health", None, None)).text == "Pillar: Health."
    assert (
        of_area(AreaRow(ID, "Sleep", None, 4, "Health")).text == "Sleep. Area of the pillar Health, importance 4 of 5."
    )
    assert of_area(AreaRow(ID, "Sleep", " ", 4)).text == "Sleep. Area of life, importance 4 of 5."


def test_a_journal_entry_carries_its_day_mood_and_tags() -> None:
    (snippet,) = of_journal(an_entry("It rained.", mood="calm", energy_level="low", tags=("home",)))
    assert snippet.text == "Journal, 4 May 2026: A day (calm, low energy). About home. It rained."


def test_each_piece_of_a_long_entry_says_which_day_it_is_of_and_begins_with_a_sentence() -> None:
    text = " ".join(f"Sentence number {n} is here to fill the page." for n in range(60))
    snippets = of_journal(an_entry(text))
    assert [snippet.chunk for snippet in snippets] == list(range(len(snippets)))
    assert len(snippets) > 2
    for snippet in snippets:
        assert snippet.text.startswith("Journal, 4 May 2026: A day. Sentence number")
        assert snippet.text.endswith("page.")


def test_an_entry_without_a_word_has_no_snippet_and_one_with_a_title_alone_has() -> None:
    assert of_journal(an_entry(" \n", title="")) == []
    assert [snippet.title for snippet in of_journal(an_entry("", title="Gone"))] == ["Gone"]
    assert [snippet.title for snippet in of_journal(an_entry("Words.", title=""))] == ["Journal entry"]


def test_the_hash_changes_with_the_text_alone() -> None:
    before, after = of_task(a_task()), of_task(a_task(priority="low"))
    assert before.content_hash == of_task(a_task()).content_hash != after.content_hash
    assert len(before.content_hash) == 64


@pytest.mark.parametrize("name", ["Dr. Weiss came.", "Mrs. Rahimi came.", "Mr. Krüger came."])
def test_a_title_does_not_end_a_sentence(name: str) -> None:
    assert all(not piece.endswith(("Dr.", "Mrs.", "Mr.")) for piece in chunked(f"Short one. {name}", 20))


def test_sentences_share_a_piece_as_long_as_they_fit_with_the_space_between() -> None:
    assert chunked("Abc de. Fgh ij.", 15) == ["Abc de. Fgh ij."]
    assert chunked("Abc de. Fgh ij.", 14) == ["Abc de.", "Fgh ij."]


def test_a_closing_quote_stays_with_its_sentence() -> None:
    assert chunked('He said "go." Then (at last.) He went.', 15) == ['He said "go."', "Then (at last.)", "He went."]


@given(st.text() | st.text('aB.!"”)( \n'), st.integers(5, 60))
@example("aaaa bbbb  cccc", 5)
def test_no_character_is_lost_and_no_piece_is_too_long(text: str, characters: int) -> None:
    pieces = chunked(text, characters)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(0 < len(piece) <= characters and piece == piece.strip() for piece in pieces)
