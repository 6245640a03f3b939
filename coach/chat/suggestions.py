"""What the user may ask: four questions made of their live facts and largest areas; sentences to begin with if none.

Only what a prompt may hold is named, so that a consent keeps out of a suggestion what it keeps out of an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from uuid import UUID

from msgspec import Struct

from coach.database.pool import Database
from coach.database.queries import load
from coach.retrieval.live_facts import Facts, facts_of_rows, live_facts_statement

_sql = load("live_facts")

SHOWN = 4
_NAME = 60
"""Characters of a name; a longer one makes no short question."""

_OF_ANY_LIFE = ("What should I do next?", "What have I been putting off?", "What is still open?", "How did my week go?")
BEGINNINGS = (
    "My most important goal is …",
    "This week I have to …",
    "What I keep putting off is …",
    "Lately I have been feeling …",
)


class Suggestion(Struct, frozen=True):
    """A question as it can be sent; in an empty account the beginning of a sentence, ending in ``…``."""

    text: str


class Suggestions(Struct, frozen=True):
    """``is_empty`` where the user has no life data yet: ``items`` are then what to tell the coach first."""

    items: Sequence[Suggestion]
    is_empty: bool


class Subjects(Struct, frozen=True):
    """What ``suggestion_subjects`` found, of the largest area first."""

    names: Sequence[str]
    has_rows: bool


async def suggest(db: Database, user_id: UUID, now: datetime) -> Suggestions:
    """Four of them, in the order in which they are worth asking."""
    subjects = _sql.suggestion_subjects.statement(Subjects, user_id=user_id)
    told, (found,) = await db.once(user_id, live_facts_statement(user_id, now), subjects, is_snapshot=True)
    facts = facts_of_rows(told)
    names = found.names if facts.person.record_rag_snippets else ()
    texts = _questions(facts, names) if found.has_rows else BEGINNINGS
    return Suggestions([Suggestion(text) for text in islice(dict.fromkeys(texts), SHOWN)], not found.has_rows)


def _questions(facts: Facts, names: Sequence[str]) -> Iterator[str]:
    ending = [deadline.name for deadline in facts.deadlines if len(deadline.name) <= _NAME][:1]
    others = [name for name in names if len(name) <= _NAME and name not in ending]
    if any(task.is_overdue for task in facts.tasks):
        yield "What have I been putting off?"
    yield from (f"{name}: how is it coming along?" for name in ending)
    yield from (f"{name}: what is next?" for name in others[:1])
    if any(week.alignment is not None for week in facts.alignment):
        yield "Which part of my life gets too little time?"
    if any(not task.is_overdue for task in facts.tasks):
        yield "What should I focus on today?"
    yield from (f"{name}: how is it going?" for name in others[1:])
    yield from _OF_ANY_LIFE
