"""A question as the offline model reads it: what it is about, and whether it looks back."""

from __future__ import annotations

import re
from datetime import date

from msgspec import Struct

from coach.models.offline_relevance import stems


def _stems_of(text: str) -> frozenset[str]:
    return frozenset(stem for stem, _ in stems(text))


_FILLER = _stems_of(
    """
    actually already anyone anything apart area areas around at attention balance bit coming current currently date
    day doing enough ever everything exactly far general gets getting going got happen happened happening item keep
    kept last lately latest left least life little look looking made main major many mind moment month most much
    myself neglect neglected neglecting next number often overall part pillar pillars place plan planned plate
    point present project projects recent recently right see seem shaping short side since somebody someone
    something soon start started stuff take taken task tasks time times today tomorrow tonight urgently week whole
    year yet
    """
)
_ACTIONS = _stems_of(
    """
    ask begin book bring buy call care change check come cook cost do earn eat end feel finish fix get give go gone
    happen have hear help hold hurt know launch learn leave like live make meet met move need open owe pay paid plan
    play practise practice prepare read run said saw say sell send show sign sing sleep speak spend spent spoke stand
    swim take talk teach think told train try turn use visit wait want watch went work write wrote
    """
)
"""Verbs that a row rarely repeats: they weigh less, and that one stands nowhere does not mean an unknown subject."""
_ACTION_WEIGHT = 0.5
_PAST = re.compile(r"\b(?:did|was|were|had|have i|has|since)\b", re.IGNORECASE)


class Question(Struct, frozen=True):
    """``topic`` maps the stems of what it is about to the words as they were asked; it may name nothing."""

    text: str
    topic: dict[str, str]
    today: date | None

    @property
    def nouns(self) -> dict[str, str]:
        return {stem: word for stem, word in self.topic.items() if stem not in _ACTIONS}

    @property
    def is_past(self) -> bool:
        return _PAST.search(self.text) is not None


def read_topic(text: str) -> dict[str, str]:
    """Stems and words of what ``text`` names, without what every question is made of."""
    return {stem: word for stem, word in stems(text) if stem not in _FILLER}


def weigh_word(stem: str) -> float:
    return _ACTION_WEIGHT if stem in _ACTIONS else 1
