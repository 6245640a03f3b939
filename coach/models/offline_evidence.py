"""What of a prompt answers its question: the statements that its intent takes, weighed by what it is about."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date

from msgspec import Struct

from coach.models.offline_intents import Intent
from coach.models.offline_question import Question, weigh_word
from coach.models.offline_relevance import tells_its_place, words
from coach.models.offline_statements import Statement

_PROJECT = re.compile(r"\bproject ([^,]+)")
_SHORTEST_NAME = 4
_FIRST = re.compile(r"\bfirst\b", re.IGNORECASE)
_SUPPORTING, _LISTED = 2, 5
_CLOSE, _CLOSE_IN_A_LIST = 0.6, 0.45
"""How much of the best one's bearing on the topic the others need."""
_WORTH = 0.2
"""And how much of its score."""
_LEAST = 0.4
"""What answers but hardly bears on the topic, while other rows do, is none."""
_WEAK = 0.5
_LIVE = 9


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
    best = max(each.bearing for each in ranked)
    if intent.soonest_first:
        near = [each for each in ranked if each.bearing >= _CLOSE_IN_A_LIST * best]
        shown = sorted(near, key=_due)[:_LISTED]
    else:
        if intent.latest_first or (asked.is_past and _FIRST.search(asked.text)):
            ranked = _by_day(ranked, intent, asked, _CLOSE * best)
        close = (_CLOSE_IN_A_LIST if intent.lists else _CLOSE) * best
        kept = [each for each in ranked if each.bearing >= close and each.score >= _WORTH * ranked[0].score]
        shown = kept[: _LISTED if intent.lists else 1 + _SUPPORTING]
    said = tuple(each.said for each in shown)
    return Evidence(said, missing_words(statements, asked, said[0]), intent.answers(said[0], asked) < _WEAK)


def _rank(statements: Sequence[Statement], intent: Intent, asked: Question) -> list[_Weighed]:
    """What answers and bears on the topic, best first, one statement a row."""
    weights = _weights(statements, asked.topic)
    bearings = [_bearing(said, weights, asked.text) for said in statements]
    least = _LEAST * max(bearings, default=0)
    weighed = [
        _Weighed(said, bearing, answers * bearing**2 * (1 + _precision(said, asked)))
        for said, bearing in zip(statements, bearings, strict=True)
        if 0 < bearing >= least
        and (said.is_live or not tells_its_place(said.text))
        and (answers := intent.answers(said, asked))
    ]
    return _one_a_row(sorted(weighed, key=lambda each: -each.score))


def _by_day(ranked: Sequence[_Weighed], intent: Intent, asked: Question, close: float) -> list[_Weighed]:
    """Of those that name most of what was asked for, the latest first, or the earliest."""
    named = max(_nouns_in(each.said, asked) for each in ranked)
    kept = [each for each in ranked if each.bearing >= close and _nouns_in(each.said, asked) == named]
    return sorted(kept or ranked, key=_day, reverse=intent.latest_first)


def live_evidence(statements: Sequence[Statement], intent: Intent, per_kind: int) -> Evidence:
    """The live facts that answer a question which names nothing, ``per_kind`` of each kind."""
    shown: Counter[str] = Counter()
    found = []
    facts = [said for said in statements if said.is_live and said.kind in intent.live]
    for said in sorted(facts, key=lambda said: (intent.live.index(said.kind), intent.key(said))):
        shown[said.kind] += 1
        is_telling = said.kind == intent.live[0] or not said.text.startswith("not measured")
        if is_telling and (shown[said.kind] <= per_kind or not said.subject):
            found.append(said)
    return Evidence(tuple(found[:_LIVE]))


def _weights(statements: Sequence[Statement], topic: Mapping[str, str]) -> dict[str, float]:
    """The rarer a word among the rows, the heavier; a word that stands nowhere weighs nothing."""
    rows = {(said.n, said.subject): said.own | said.around for said in statements}
    seen = Counter(word for row in rows.values() for word in row & topic.keys())
    return {word: weigh_word(word) * math.log(1 + len(rows) / count) for word, count in seen.items()}


def _bearing(said: Statement, weights: Mapping[str, float], question: str) -> float:
    if _is_named(said, question):
        return sum(weights.values())
    return sum(
        weight * (1 if word in said.own else 0.5) for word, weight in weights.items() if word in said.own | said.around
    )


def _is_named(said: Statement, question: str) -> bool:
    """The question holds the whole name of the row, or of the project that a live fact puts it in."""
    project = _PROJECT.search(said.text) if said.is_live else None
    names = (said.subject, project[1] if project else "")
    return any(len(name) >= _SHORTEST_NAME and name.casefold() in question.casefold() for name in names)


def _precision(said: Statement, asked: Question) -> float:
    """How much of a row's name was asked for: of two rows that name the marathon, the marathon's own comes first."""
    named = set(words(said.subject))
    return len(named & asked.topic.keys()) / len(named) if named else 0


def _nouns_in(said: Statement, asked: Question) -> int:
    return sum(stem in said.own | said.around for stem in asked.nouns)


def _one_a_row(ranked: Sequence[_Weighed]) -> list[_Weighed]:
    rows: dict[str, _Weighed] = {}
    for each in ranked:
        rows.setdefault(each.said.subject or each.said.text, each)
    return list(rows.values())


def _due(weighed: _Weighed) -> date:
    return max(weighed.said.days, default=date.max)


def _day(weighed: _Weighed) -> date:
    return weighed.said.happened or date.min


def missing_words(statements: Sequence[Statement], asked: Question, best: Statement) -> tuple[str, ...]:
    """What the question names and no row does; none where ``best`` covers most of what it names."""
    known = frozenset[str]().union(*(said.own | said.around for said in statements))
    covered = sum(stem in best.own | best.around for stem in asked.nouns)
    return () if 2 * covered > len(asked.nouns) else tuple(w for stem, w in asked.nouns.items() if stem not in known)
