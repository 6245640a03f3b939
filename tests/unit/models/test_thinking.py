"""What is thought aloud is parted from the answer, wherever the network divides it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coach.models.base import Delta, Reasoning
from coach.models.thinking import ThinkingTags


def parted(*deltas: str) -> tuple[str, str]:
    """Thoughts and answer."""
    tags = ThinkingTags()
    pieces = [piece for delta in deltas for piece in tags.feed(delta)] + tags.end()
    assert all(piece.text for piece in pieces)
    return tuple("".join(p.text for p in pieces if isinstance(p, kind)) for kind in (Reasoning, Delta))


@pytest.mark.parametrize(
    ("told", "thoughts", "answer"),
    [("<think>hm\n</think>\n\nRest.", "hm\n", "Rest."), ("\n<think>\nhm</think>Rest.", "hm", "Rest."),
     ("<THINK>hm</think>Rest.", "hm", "Rest."), ("<thinking>a < b</thinking>Rest.", "a < b", "Rest."),
     ("Well <think>hm</think>rest. <think>so</think>Now.", "hmso", "Well rest. Now."),
     ("<think></think>Rest", "", "Rest"),
     ("<think>never closed", "never closed", ""), ("Rest.", "", "Rest."),
     ("a <b> c <", "", "a <b> c <"),
     ("Well: `</think>`.", "", "Well: `</think>`."),
     ("Write `<think>` in “<think>”.", "", "Write `<think>` in “<think>”."), ("<thinker>", "", "<thinker>"),
     ("", "", "")],
)  # fmt: skip
def test_thoughts_and_answer_are_parted_wherever_they_are_divided(told, thoughts, answer):
    for size in (1, 2, 5, 100):
        assert parted(*(told[at : at + size] for at in range(0, len(told), size))) == (thoughts, answer)


@given(st.text(st.sampled_from("<>/think `"), max_size=60), st.integers(1, 9))
def test_what_comes_of_it_does_not_depend_on_the_division(told, size):
    assert parted(*(told[at : at + size] for at in range(0, len(told), size))) == parted(told)


def test_no_more_than_the_beginning_of_a_tag_is_held_back():
    tags = ThinkingTags()

    assert tags.feed("1 < 2 <") == [Delta("1 < 2 ")]
    assert tags.feed(" 3") == [Delta("< 3")]


def read(tags: ThinkingTags, *deltas: str, **end: bool) -> list[Delta | Reasoning]:
    return [piece for delta in deltas for piece in tags.feed(delta)] + tags.end(**end)


def test_a_model_whose_thoughts_have_no_opening_tag_is_known_from_its_first_answer():
    first = ThinkingTags()
    assert read(first, "hm </think>\n", "Rest.") == [Delta("hm "), Delta("Rest.")]

    second = ThinkingTags(is_unopened=first.is_unopened)
    assert read(second, "so</thi", "nk>\nNow.") == [Reasoning("so"), Delta("Now.")]
    assert second.is_unopened


def test_a_tag_that_closes_once_more_makes_no_such_model():
    tags = ThinkingTags()

    assert read(tags, "<think>hm</think>Rest.</think>") == [Reasoning("hm"), Delta("Rest.")]
    assert not tags.is_unopened


def test_if_its_thoughts_never_close_it_was_all_answer():
    tags = ThinkingTags(is_unopened=True)

    assert read(tags, "Re", "st.") == [Reasoning("Re"), Reasoning("st."), Delta("Rest.")]
    assert not tags.is_unopened


def test_thoughts_that_are_cut_off_are_no_answer():
    tags = ThinkingTags(is_unopened=True)

    assert read(tags, "hm", is_whole=False) == [Reasoning("hm")]
    assert tags.is_unopened


def test_a_hundred_thousand_tags_cost_no_more_than_reading_them():
    began = time.process_time()

    parted("<think>a</think>b" * 100_000)
    parted("<" * 1_000_000)

    assert time.process_time() - began < 5.0
