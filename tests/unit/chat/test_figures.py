"""Which of an answer's figures and citations hold."""

from __future__ import annotations

import pytest

from coach.chat.figures import check


@pytest.mark.parametrize(
    ("answer", "given", "unsupported"),
    [
        ("You ran 12.5 km.", ["Ran 12.5 km in the park"], ()),
        ("You ran 13 km.", ["Ran 12.5 km"], ("13",)),
        ("Alignment is at 62 %.", ["alignment 0.62"], ()),
        ("It cost 1,200 euros.", ["paid 1200"], ()),
        ("It cost 1200 euros.", ["paid 1,200.00"], ()),
        ("Due on 2026-11-20.", ["due 2026-11-20"], ()),
        ("Due on 2026-11-21.", ["due 2026-11-20"], ("21",)),
        ("1. Call her\n2) Rest\n3. Run 5 km", ["5 km"], ()),
        ("One of two things, 1 or 2.", [""], ()),
        ("You slept 7.50 hours", ["slept 7.5"], ()),
        ("Version v2x and a1b", [""], ()),
        ("", ["5"], ()),
    ],
)
def test_figures(answer: str, given: list[str], unsupported: tuple[str, ...]) -> None:
    assert check(answer, given, 0).figures == unsupported


@pytest.mark.parametrize(
    ("answer", "sources", "unknown"),
    [("So [1] and [2].", 2, ()), ("So [3].", 2, (3,)), ("So [0] [12].", 9, (0, 12)), ("No citation", 0, ())],
)
def test_citations(answer: str, sources: int, unknown: tuple[int, ...]) -> None:
    checked = check(answer, [""], sources)
    assert checked.citations == unknown
    assert checked.holds == (not unknown)
    assert not checked.figures
