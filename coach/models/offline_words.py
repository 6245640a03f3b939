"""Words and sentences of questions and rows, as the offline model compares and quotes them."""

from __future__ import annotations

import re
from collections.abc import Set
from functools import lru_cache

from coach.models.offline_reading import Excerpt

_SPACES = str.maketrans(dict.fromkeys('.,;:!?…()[]{}<>"“”„«»*#_/|\\-–—=+&%$€@~`^', " ") | {"’": "'"})
# "Dr." ends no sentence, nor does a full stop before a small letter.
_SENTENCE_END = re.compile(r"(?<=[.!?…])(?<!\b[DM]r\.)(?<!\bMs\.)(?<!\bMrs\.)(?<!\bSt\.)\s+(?![a-z])|\n+")
_CITATION = re.compile(r"\[(\d+)\]")
_ENDINGS = ("ations", "ation", "ings", "ing", "edly", "ies", "ied", "ers", "er", "es", "ed", "ly", "s", "e")
_COMMON = """
    a about after again all also am an and any are as at be because been before being but by can could did do does
    doing don't for from get give go had has have having he her here him his how i i'm i've if in into is it it's its
    just know let like make me more most my need no not now of off on one or our out over please really say she should
    so some still tell than that that's the their them then there these they thing things think this those to too up us
    very want was we were what what's when where which who why will with would you your
"""
_STOP = frozenset(_COMMON.split())
# Where a row stands in the hierarchy, its tags, and how much effort it is: true of it, but no answer to anything.
_PLACE = re.compile(
    r"(?:Sub-task|Task|Project|Area|Pillar|Journal)\b[^.]{0,20}?(?: of | in |, )|Needs\b|About [\w, -]+\.$|↑"
)
LONGEST_QUOTE = 220
_HEADING = 50


def words(text: str) -> list[str]:
    """The words of ``text`` that carry meaning, cut to a rough stem."""
    return [_stem(word) for word in text.lower().translate(_SPACES).split() if word not in _STOP]


@lru_cache(maxsize=16_384)  # with the plain split above: 1.1 ms for a prompt of 12 snippets instead of 4.5
def _stem(word: str) -> str:
    word = word.strip("'").split("'", maxsplit=1)[0]
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


_FILLER = frozenset(
    words(
        """
        actually already anyone anything apart area around attention balance bit coming current date day enough ever
        everything exactly far general happen item keep kept last lately latest left least life little look main major
        many mind moment month much myself neglect next number often overall part pillar place planned plate point
        present project recent right see seem shaping short side since somebody someone something soon start stuff
        take taken task time today tomorrow tonight urgently week whole year yet gets getting going
        got makes making made
        """
    )
)
"""What every question is made of."""
ACTIONS = frozenset(
    words(
        """
        ask begin book bring buy call care change check come cook cost do earn eat end feel finish fix gone happen hear
        help hold hurt launch learn leave live meet met move open owe pay paid plan play practise practice prepare read
        run said saw sell send show sign sing sleep speak spend spent spoke stand swim take talk teach told train try
        turn use visit wait watch went work write wrote
        """
    )
)
"""Verbs that a row rarely repeats: they weigh less, and that one stands nowhere does not mean an unknown subject."""


def read_topic(text: str) -> dict[str, str]:
    """Stems and words of what ``text`` names."""
    spoken = [word for word in text.translate(_SPACES).split() if word.lower() not in _STOP]
    return {stem: word for word in spoken if (stem := _stem(word.lower())) and stem not in _FILLER}


def sentences_of(excerpt: Excerpt) -> list[str]:
    """All of a source's but its heading: ``Journal, 4 May 2026: Stairs again.`` says no more than the title."""
    sentences = [s.strip() for s in _SENTENCE_END.split(excerpt.text) if any(map(str.isalnum, s))]
    title = excerpt.title
    return [s for s in sentences if not (title and title in s and len(s) <= len(title) + _HEADING)]


def tells_its_place(sentence: str) -> bool:
    return _PLACE.match(sentence) is not None


def best_sentences(excerpt: Excerpt, asked: Set[str], limit: int) -> list[str]:
    """The ``limit`` sentences of a source that answer best, as they stand there and in their order."""
    sentences = sentences_of(excerpt)
    sentences = [s for s in sentences if not tells_its_place(s)] or sentences
    ranked = sorted(range(len(sentences)), key=lambda i: -len(asked & set(words(sentences[i]))))
    return [quotable(sentences[i]) for i in sorted(ranked[:limit])]


def quotable(sentence: str) -> str:
    """Short enough to read, and without anything that could be taken for a citation of ours."""
    sentence = _CITATION.sub(r"(\1)", " ".join(sentence.split())).replace("“", "‘").replace("”", "’")
    if len(sentence) <= LONGEST_QUOTE:
        return sentence
    return sentence[:LONGEST_QUOTE].rsplit(" ", 1)[0].rstrip(",;:") + " …"
