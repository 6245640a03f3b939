"""The stand-in's part in a session: what it takes for a promise, and for a day."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest

from coach.models.offline import offline_reply
from coach.sessions.judge_prompts import (
    Conclusion,
    Said,
    is_done,
    read_conclusion,
    render_conclusion_request,
    render_judgement_request,
)
from coach.stages.stages import Stage

TUESDAY = date(2026, 11, 24)


def concluded(*said: str, projects: tuple[str, ...] = ()) -> Conclusion:
    spoken: Said = [("user", text) for text in said]
    answer = "".join(offline_reply([render_conclusion_request("grow", TUESDAY, projects, spoken)]).pieces)
    found = read_conclusion(answer, TUESDAY, {})
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "title", "due"),
    [
        ("I will call Tom.", "Call Tom", None),
        ("Well, I'll call Tom tomorrow!", "Call Tom", date(2026, 11, 25)),
        ("I’m going to call Tom today", "Call Tom", TUESDAY),
        ("I plan to call Tom by Friday; fine", "Call Tom", date(2026, 11, 27)),
        ("I will call Tom on Tuesday", "Call Tom", date(2026, 12, 1)),
        ("I will by 2026-12-24 call Tom", "Call Tom", date(2026, 12, 24)),
        ("I commit to running 5.5 km next week", "Running 5.5 km", date(2026, 12, 1)),
        ("I will call <Tom> & Ann", "Call <Tom> & Ann", None),
    ],
)
def test_a_promise_becomes_a_commitment(text: str, title: str, due: date | None) -> None:
    assert [(each.title, each.due_date) for each in concluded(text).commitments] == [(title, due)]


@pytest.mark.parametrize("text", ["I want to call Tom.", "Will I call Tom?", "I willingly call", "", "I will tomorrow"])
def test_what_is_no_promise_becomes_none(text: str) -> None:
    assert concluded(text).commitments == ()


def test_it_says_the_same_every_time_and_something_always() -> None:
    assert concluded("I train.", "I will rest.") == concluded("I train.", "I will rest.")
    assert "before anything was said" in concluded().summary
    assert len(concluded(*("word " * 6_000 for _ in range(50))).summary) < 4_000


@pytest.mark.parametrize(("answers", "done"), [(0, False), (1, False), (2, True)])
def test_a_stage_is_done_with_the_second_answer(answers: int, done: bool) -> None:
    said = [("user", "I run"), ("assistant", "USER: and?")] * answers

    answer = "".join(offline_reply([render_judgement_request(Stage("goal", "it is named"), said)]).pieces)

    assert is_done(answer) is done
    assert msgspec.json.decode(answer) == {"done": done}


def test_a_day_in_the_past_or_in_a_hundred_years_is_dropped() -> None:
    for day in ("2026-11-23", "2126-11-24", "2026-11-31", "", 7, None):
        answer = msgspec.json.encode({"summary": "x", "commitments": [{"title": "t", "due_date": day}]}).decode()
        found = read_conclusion(answer, TUESDAY, {})
        assert found is not None
        assert found.commitments[0].due_date is None


def test_more_than_can_be_kept_is_cut() -> None:
    told = {"summary": "x" * 5_000, "commitments": [{"title": f"{n} " + "y" * 300} for n in range(30)]}

    found = read_conclusion(msgspec.json.encode(told).decode(), TUESDAY, {})

    assert found is not None
    assert len(found.summary) == 4_000
    assert len(found.commitments) == 10
    assert {len(each.title) for each in found.commitments} == {200}
