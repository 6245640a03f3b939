"""What is thought aloud is parted from the answer, wherever the network divides it."""

from __future__ import annotations

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
     ("a <b> c </think> <", "", "a <b> c </think> <"),
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
