"""Long texts are cut in linear time, and no row's text crowds out the others."""

from __future__ import annotations

from datetime import date
from time import process_time
from uuid import UUID

import pytest

from coach.kinds.base import LONG, Snippet, pieces
from coach.kinds.journal_entry import JournalRow, of_journal
from coach.kinds.text import CHUNK_CHARACTERS, chunked

ID = UUID(int=1)

SHAPES = {
    "no space at all": "x",
    "words": "word ",
    "sentences": "I went home. ",
    "exclamations": "! ",
    "full stops": ".",
    "quotes": '"',
    "stops and quotes": '."',
    "newlines": "\n",
    "blank lines": "x\n \n",
    "spaces": " ",
    "a stop before spaces": ".   ",
    "arrows": "\n↑ ",
}


def seconds(text: str) -> float:
    began = process_time()
    chunked(text)
    return process_time() - began


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_four_times_the_text_takes_about_four_times_as_long(shape: str) -> None:
    size = (1_000_000 if shape.isalpha() else 50_000) // len(shape)
    short, long = min(seconds(shape * size) for _ in range(2)), min(seconds(shape * size * 4) for _ in range(2))

    assert long < 0.05 + 10 * short


@pytest.mark.parametrize("tail", [" " * 200_000 + "x", "\n" * 200_000 + "x", '"' * 200_000 + "x"])
def test_a_sentence_that_never_begins_is_looked_for_once(tail: str) -> None:
    assert seconds("The end." + tail) < 5


def test_a_long_snippet_becomes_pieces_that_name_what_they_are_of() -> None:
    text = "Book the MRI. " + "Ask whether the insurance pays for it. " * 200 + "Open, high priority."
    whole = Snippet("task", ID, 0, "Book the MRI", text)

    found = pieces(whole)

    assert [piece.chunk for piece in found] == list(range(len(found)))
    assert found[0].text.startswith("Book the MRI. Ask")
    assert all(piece.text.startswith("Book the MRI. ") for piece in found)
    assert found[-1].text.endswith("Open, high priority.")
    assert max(len(piece.text) for piece in found) <= CHUNK_CHARACTERS + len("Book the MRI. ")


def test_a_snippet_at_the_edge_stays_one_and_one_character_more_is_cut() -> None:
    assert len(pieces(Snippet("task", ID, 0, "T", "x" * LONG))) == 1
    assert len(pieces(Snippet("task", ID, 0, "T", "x" * (LONG + 1)))) > 1


def test_a_hundred_long_tags_are_not_repeated_in_each_piece() -> None:
    row = JournalRow(
        ID, "t" * 500, "I walked home. " * 500, "m" * 500, "e" * 500, ("tag" * 160,) * 100, date(2026, 5, 4)
    )

    assert max(len(snippet.text) for snippet in of_journal(row)) <= LONG
