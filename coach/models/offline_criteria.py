"""Whether a statement of a source answers a kind of question, as a weight: 0 is no answer."""

from __future__ import annotations

import re
from datetime import date

from msgspec import Struct

from coach.models.offline_statements import DAY, MONTHS, Statement
from coach.models.offline_words import ACTIONS

_PAST = re.compile(r"\b(?:did|was|were|had|have i|has|since)\b", re.IGNORECASE)
_CALENDAR = rf"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)days?|{'|'.join(MONTHS)}"
_HOURS = "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
_TIME = re.compile(
    rf"\b(?:\d{{1,2}}[:.]\d\d|{_CALENDAR}|noon|midnight|daily|weekly|monthly|yearly|every (?:other )?\w+"
    rf"|(?:at|half past|quarter (?:to|past)) (?:one|{_HOURS}))\b"
)
_NUMBER = re.compile(
    rf"\d|\b(?:half|{_HOURS}|twenty|thirty|fort?y|fifty|sixty|seventy|eighty|ninety|hundred|thousand|dozen|once|twice)\b",
    re.IGNORECASE,
)
# What is asked for, and the unit in which that is told.
_UNITS = {
    r"\b(?:cost|pa(?:y|id)|spen[dt]|owe|sav(?:e|ings)|money|earn|rent|price|fee|worth|fund|budget|loan|debt|salary)": (
        r"[€$£¥]|\b(?:euros?|dollars?|pounds?|francs?|cents?|crowns?|eur|usd|chf|gbp)\b"
    ),
    r"\bhow (?:long|much time)\b|\b(?:minutes?|hours?)\b": r"\b(?:second|minute|hour|day|week|month|year)s?\b",
    r"\bhow far\b|\bkilomet|\bmiles?\b|\bdistance\b": r"\b(?:km|kilomet\w+|miles?|met(?:re|er)s?)\b",
    r"\bhow heavy\b|\bweigh": r"\b(?:kg|kilos?|pounds?|grams?)\b",
    r"\bhow old\b": r"\byears?\b",
    r"\bhow (?:cold|hot|warm)\b|\btemperature\b": r"°|\bdegrees?\b",
    r"\bpercent|\bshare\b": r"%|\bpercent\b",
}
# A capital letter within a sentence, or at its beginning before a verb or another name.
_NAME = re.compile(
    r"(?<![.!?…:] )(?<![“\"‘(\[])(?<!^)\b[A-ZÀ-Þ][a-zß-ÿ'’-]+"
    r"|^[A-ZÀ-Þ][a-zß-ÿ'’-]+(?= (?:and|from|is|was|said|says|has|had|will|comes|[A-ZÀ-Þ])|, [A-ZÀ-Þ])"
)
_NO_NAME = re.compile(rf"I['’]\w+|{_CALENDAR}")
_TITLED = re.compile(r"\b(?:Mrs?|Ms|Dr|Prof)\. [A-ZÀ-Þ][\w-]+")
_MEASURE = re.compile(r"%|\b(?:percent|stage|behind|ahead|progress|goal|target|so far|halfway)\b", re.IGNORECASE)
_REASON = re.compile(
    r"\b(?:because|so that|since|reason|in order to|due to|that is why|which is why|caused?)\b", re.IGNORECASE
)
_ROLE = re.compile(
    r"\b(?:mother|father|brother|sister|son|daughter|wife|husband|partner|friend|neighbour|cousin|aunt|uncle|niece|nephew"
    r"|boss|manager|colleague|tutor|teacher|coach|trainer|doctor|dentist|physio\w*|therapist|lawyer|landlord)(?:'s|s)?\b",
    re.IGNORECASE,
)
_FOCUS = re.compile(r"(\d+(?:\.\d+)?)% of all")
_ALLOCATED = re.compile(r"(\d+(?:\.\d+)?)% allocated")
_RECENT_DAYS = 60


class Question(Struct, frozen=True):
    """``topic`` maps the stems of what it is about to the words as they were asked; it may name nothing."""

    text: str
    topic: dict[str, str]
    today: date | None

    @property
    def nouns(self) -> dict[str, str]:
        return {stem: word for stem, word in self.topic.items() if stem not in ACTIONS}

    @property
    def is_past(self) -> bool:
        return _PAST.search(self.text) is not None

    def comes_after(self, day: date | None) -> bool:
        return day is not None and self.today is not None and day < self.today


def is_open(said: Statement, asked: Question) -> float:
    return 2 if said.kind == "task" and said.is_state and not said.is_over else 0


def is_overdue(said: Statement, asked: Question) -> float:
    return is_open(said, asked) if asked.comes_after(max(said.days, default=None)) else 0


def has_happened(said: Statement, asked: Question) -> float:
    """Of an entry every sentence tells of its day; of a finished task the one that says when it was finished."""
    return 1 if said.happened and not (asked.today and said.happened > asked.today) else 0


def is_dated(said: Statement, asked: Question) -> float:
    if asked.is_past:
        return has_happened(said, asked) or (1 if said.days and not said.line else 0)
    if not said.days:
        return 1 if not said.is_over and _TIME.search(said.text) else 0
    is_gone = asked.comes_after(max(said.days))
    if said.is_over:
        return 0.2
    if said.line or said.is_state:
        return 0.4 if said.kind == "project" and is_gone else 3
    return 0.3 if is_gone else 2


def is_counted(said: Statement, asked: Question) -> float:
    if not _NUMBER.search(DAY.sub("", said.text)):
        return 0
    units = [told for wanted, told in _UNITS.items() if re.search(wanted, asked.text, re.IGNORECASE)]
    if units:
        return 2 if re.search("|".join(units), said.text, re.IGNORECASE) else 0.4
    return 0.5 if said.is_state or said.line else 1


def names_somebody(said: Statement, asked: Question) -> float:
    """Somebody whom the question does not name itself."""
    told, known = (said.subject, said.text), asked.text.lower()
    if any(title.lower() not in known for text in told for title in _TITLED.findall(text)):
        return 1.4
    names = (name for text in told for name in _NAME.findall(text) if not _NO_NAME.fullmatch(name))
    return 1 if any(name.lower() not in known for name in names) else 0


def tells_progress(said: Statement, asked: Question) -> float:
    if said.kind == "project" and said.is_state:
        return 1 if said.is_over or said.text.startswith("On Hold") else 3
    if said.happened is None or (asked.today and (asked.today - said.happened).days > _RECENT_DAYS):
        return 0.2
    return 1.2 if _MEASURE.search(said.text) else 0.8


def introduces(said: Statement, asked: Question) -> float:
    """Says what somebody is to the user."""
    return 2 if _ROLE.search(said.text) else 0.6


def gives_a_reason(said: Statement, asked: Question) -> float:
    return 1 if _REASON.search(said.text) else 0


def measures_balance(said: Statement, asked: Question) -> float:
    return 1 if said.kind in ("pillar", "area", "behavior_summary") else 0


def surplus(said: Statement) -> float:
    """Percent of all focus beyond what is allocated; a pillar without focus this week lacks all of it."""
    focus, allocated = _FOCUS.search(said.text), _ALLOCATED.search(said.text)
    return (float(focus[1]) if focus else 0) - (float(allocated[1]) if allocated else 0)
