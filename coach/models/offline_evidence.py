"""What of a prompt answers its question: the statements that its intent takes, weighed by what it is about."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date

from msgspec import Struct

from coach.models.offline_criteria import Question, surplus
from coach.models.offline_intents import Intent
from coach.models.offline_reading import Excerpt
from coach.models.offline_statements import Statement
from coach.models.offline_words import ACTIONS, tells_its_place, words

_PROJECT = re.compile(r"\bproject ([^,]+)")
_SHORTEST_NAME = 4
_FIRST = re.compile(r"\bfirst\b", re.IGNORECASE)
_SUPPORTED, _LISTED, _LIVE = 3, 5, 9
_CLOSE, _CLOSE_IN_A_LIST = 0.6, 0.45
"""How much of the best one's bearing on the topic the others need."""
_WORTH = 0.2
"""And how much of its score."""
_LEAST = 0.4
"""What answers but hardly bears on the topic, while other rows do, is none."""
_WEAK = 0.5


class Evidence(Struct, frozen=True):
    """``found`` is best first. ``missing`` are words of the question that stand nowhere, where they are most of it.

    ``is_weak`` where even the best hardly answers what the intent is after.
    """

    found: tuple[Statement, ...]
    missing: tuple[str, ...] = ()
    is_weak: bool = False


class _Weighed(Struct, frozen=True):
    said: Statement
    bearing: float
    score: float


def find_evidence(statements: Sequence[Statement], intent: Intent, asked: Question) -> Evidence:
    """One statement a row. Empty where none answers, or where none bears on the topic."""
    ranked = _rank(statements, intent, asked)
    if not ranked:
        return Evidence(())
    close = (_CLOSE_IN_A_LIST if intent.lists else _CLOSE) * max(each.bearing for each in ranked)
    near = [each for each in ranked if each.bearing >= close]
    if intent.soonest_first:
        shown = sorted(near, key=lambda each: max(each.said.days, default=date.max))
    else:
        if intent.latest_first or (asked.is_past and _FIRST.search(asked.text)):
            named = max(_nouns_in(each.said, asked) for each in ranked)
            near = [each for each in near if _nouns_in(each.said, asked) == named] or ranked
            near.sort(key=lambda each: each.said.happened or date.min, reverse=intent.latest_first)
        shown = [each for each in near if each.score >= _WORTH * near[0].score]
    said = tuple(each.said for each in shown[: _LISTED if intent.lists else _SUPPORTED])
    return Evidence(said, missing_words(statements, asked, said[0]), intent.weigh(said[0], asked) < _WEAK)


def _rank(statements: Sequence[Statement], intent: Intent, asked: Question) -> list[_Weighed]:
    """What answers and bears on the topic, best first, one statement a row."""
    weights = weigh_topic(statements, asked.topic)
    bearings = [_bearing(said, weights, asked.text) for said in statements]
    least = _LEAST * max(bearings, default=0)
    weighed = [
        _Weighed(said, bearing, answers * bearing**2 * (1 + _precision(said, asked)))
        for said, bearing in zip(statements, bearings, strict=True)
        if 0 < bearing >= least
        and (said.line or not tells_its_place(said.text))
        and (answers := intent.weigh(said, asked))
    ]
    rows: dict[str, _Weighed] = {}
    for each in sorted(weighed, key=lambda each: -each.score):
        rows.setdefault(each.said.subject or each.said.text, each)
    return list(rows.values())


def live_evidence(statements: Sequence[Statement], intent: Intent, per_kind: int) -> tuple[Statement, ...]:
    """The live facts that answer a question which names nothing, ``per_kind`` of each kind."""
    shown: Counter[str] = Counter()
    found = []
    kinds = [*intent.live]
    facts = [said for said in statements if said.line and said.kind in kinds]
    for said in sorted(facts, key=lambda said: (kinds.index(said.kind), surplus(said))):
        shown[said.kind] += 1
        is_telling = said.kind == kinds[0] or not said.text.startswith("not measured")
        if is_telling and (shown[said.kind] <= per_kind or not said.subject):
            found.append(said)
    return tuple(found[:_LIVE])


def relevant_excerpts(sources: Sequence[Excerpt], weights: Mapping[str, float]) -> list[Excerpt]:
    """The sources that share words with the topic, best first; ties keep the order of retrieval."""
    scored = [(sum(weights.get(w, 0) for text in (s.title, s.text) for w in set(words(text))), s) for s in sources]
    return [source for score, source in sorted(scored, key=lambda each: -each[0]) if score]


def weigh_topic(statements: Sequence[Statement], topic: Mapping[str, str]) -> dict[str, float]:
    """The rarer a word among the rows, the heavier; a word that stands nowhere weighs nothing."""
    rows = {(said.n, said.subject): said.stems for said in statements}
    seen = Counter(word for row in rows.values() for word in sorted(row & topic.keys()))
    return {word: (0.5 if word in ACTIONS else 1) * math.log(1 + len(rows) / count) for word, count in seen.items()}


def _bearing(said: Statement, weights: Mapping[str, float], question: str) -> float:
    """All of it where the question holds the whole name of the row, or of the project that a live fact puts it in."""
    project = _PROJECT.search(said.text) if said.line else None
    names = (said.subject, project[1] if project else "")
    if any(len(name) >= _SHORTEST_NAME and name.casefold() in question.casefold() for name in names):
        return sum(weights.values())
    return sum(weight * (1 if word in said.own else 0.5) for word, weight in weights.items() if word in said.stems)


def _precision(said: Statement, asked: Question) -> float:
    """How much of a row's name was asked for: of two rows that name the marathon, the marathon's own comes first."""
    named = set(words(said.subject))
    return len(named & asked.topic.keys()) / len(named) if named else 0


def _nouns_in(said: Statement, asked: Question) -> int:
    return len(asked.nouns.keys() & said.stems)


def missing_words(statements: Sequence[Statement], asked: Question, best: Statement) -> tuple[str, ...]:
    """What the question names and no row does; none where ``best`` covers most of what it names."""
    if 2 * _nouns_in(best, asked) > len(asked.nouns):
        return ()
    known = frozenset[str]().union(*(said.stems for said in statements))
    return tuple(word for stem, word in asked.nouns.items() if stem not in known)
