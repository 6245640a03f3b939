"""Checks what an answer claims against what it was given: its figures, and its citations."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

_CITATION = re.compile(r"\[(\d{1,3})\]")
_LIST_NUMBER = re.compile(r"^\s*\d{1,2}[.)]\s", re.MULTILINE)
_FIGURE = re.compile(r"(?<![\w.])\d{1,3}(?:,\d{3})+(?:\.\d+)?|(?<![\w.])\d+(?:\.\d+)?")


class Check(Struct, frozen=True):
    """What is unsupported: figures that are in no row given to the model, citations of sources that do not exist."""

    figures: tuple[str, ...] = ()
    citations: tuple[int, ...] = ()

    @property
    def holds(self) -> bool:
        return not (self.figures or self.citations)


def check(answer: str, given: Iterable[str], sources: int) -> Check:
    """Compare ``answer`` with the texts it was ``given`` and its number of ``sources``.

    A figure is supported if any of the texts has it as a number: ``0.80`` equals ``0.8``, ``1,200`` equals ``1200``.
    ``62`` also matches ``0.62``, since a share is often written in percent. One and two are not checked: they are often
    words.
    """
    claimed = dict.fromkeys(_FIGURE.findall(_CITATION.sub("", _LIST_NUMBER.sub("", answer))))
    known = _known(given) if claimed else set()  # reading all that was given takes as long as storing the answer
    figures = tuple(figure for figure in claimed if _value(figure) not in known)
    cited = {int(number) for number in _CITATION.findall(answer)}
    return Check(figures, tuple(sorted(number for number in cited if not 1 <= number <= sources)))


def _known(given: Iterable[str]) -> set[float]:
    known = {number for text in given for number in _numbers(text)}
    return known | {round(number * 100, 6) for number in known if 0 <= number <= 1} | {0.0, 1.0, 2.0}


def _numbers(text: str) -> Iterable[float]:
    return map(_value, _FIGURE.findall(text))


def _value(figure: str) -> float:
    return round(float(figure.replace(",", "")), 6)
