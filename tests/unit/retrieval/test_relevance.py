"""Which findings are more than noise, by meaning and by words."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from coach.retrieval.relevance import is_relevant
from coach.retrieval.search import Found


def found(similarity: float | None, words: float = 0.0, *, has_all_words: bool = False) -> Found:
    now = datetime(2026, 11, 1, tzinfo=UTC)
    return Found("task", uuid4(), "T", "Text", 1.0, similarity, words, has_all_words, now, None, None)


@pytest.mark.parametrize(
    ("rows", "is_shown"),
    [
        ([], False),
        ([found(0.2), found(0.2), found(0.1)], False),
        ([found(0.56), found(0.0), found(0.0)], True),
        ([found(0.41), found(0.41), found(0.41)], True),
        ([found(0.41), found(0.1), found(0.1)], False),
        ([found(0.3, 5.0), found(0.2, 5.0), found(0.2, 5.0)], True),
        ([found(0.1, 1.0, has_all_words=True)], True),
        ([found(0.2)] * 8 + [found(0.9)], False),
    ],
)
def test_one_alone_or_three_together_say_whether_it_bears_on_the_question(rows: list[Found], is_shown: bool) -> None:
    assert is_relevant([*rows, *[found(-0.1)] * (8 - len(rows))] if rows else [], "wordllama") is is_shown


def test_the_only_row_that_bears_on_a_question_is_shown_to_a_new_user() -> None:
    """“What did I say about my knee?” after “My knee hurts when I run down hills near Potsdam.” and “Rest.”"""
    assert is_relevant([found(0.496), found(-0.001)], "wordllama")
    assert not is_relevant([found(0.078), found(0.023)], "wordllama")


def test_without_vectors_the_words_that_found_it_decide() -> None:
    assert is_relevant([found(None, 0.1)], "wordllama")


def test_a_row_that_waits_for_its_vector_does_not_open_the_gate_for_the_others() -> None:
    assert not is_relevant([found(None, 0.1), found(0.1), found(0.1)], "wordllama")


def test_an_embedder_whose_cosines_are_all_high_is_measured_from_its_own_floor() -> None:
    noise, near = [found(0.74)] * 3, [found(0.9)] * 3
    assert not is_relevant(noise, "text-embedding-ada-002")
    assert is_relevant(near, "text-embedding-ada-002")


def test_of_an_unknown_embedder_rather_noise_is_shown_than_a_source_kept_out() -> None:
    assert is_relevant([found(0.74)] * 3, "somebody-elses-model")
