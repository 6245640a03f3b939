"""What the offline model says: what the question is after, one next step, one question back.

It invents nothing. Every figure and date it writes stands in the prompt, so that the check of an answer's figures
against the rows holds for it as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from coach.models.offline_criteria import Question
from coach.models.offline_evidence import find_evidence, live_evidence, missing_words, relevant_excerpts, weigh_topic
from coach.models.offline_intents import Intent, read_question
from coach.models.offline_reading import Reading
from coach.models.offline_statements import Statement, read_source, read_statements
from coach.models.offline_wording import close, word_excerpt, word_item, word_statement

STAND_IN = (
    "(I am Aurum Coach's offline stand-in: I put this together from your own rows, without a language model; "
    "set COACH_OPENAI_API_KEY, or COACH_CHAT_MODEL, to connect a real one.)"
)
NOTHING = "I looked through what I may read of yours and found nothing on that, so I would rather not guess."
TOLD = "Thank you, I have read that. I may read nothing else of yours on it yet, so I would rather not guess."
_ABOUT_TOLD = "What would be the first small piece of it?"
_OF_ONESELF = re.compile(r"\b(?:i|my|me|we|our)\b", re.IGNORECASE)
_ABOUT_THE_DAY = "Which of these would you be gladdest to have behind you tonight?"
_ABOUT_NOTHING = "What would you like me to know about it?"
_OF_A_KIND, _OF_EACH_KIND, _RELATED = 5, 3, 3


def compose_answer(reading: Reading) -> str:
    """The answer to a prompt; equal prompts get equal answers."""
    if reading.has_context:
        body = _grounded(reading)
    elif reading.question:
        body = [NOTHING, _ABOUT_NOTHING]
    else:
        body = ["Ask me anything about your goals, projects, tasks or journal."]
    return "\n\n".join([STAND_IN, *body] if reading.is_first else body)


def _grounded(reading: Reading) -> list[str]:
    statements = read_statements(reading)
    intent, asked = read_question(reading.question, reading.now)
    body = _direct(statements, intent, asked) if intent else []
    return body or _related(reading, statements, intent, asked) or _nothing_direct(reading, intent)


def _direct(statements: Sequence[Statement], intent: Intent, asked: Question) -> list[str]:
    """What the intent is after. Empty where the prompt does not say it."""
    if asked.nouns or (asked.topic and not intent.falls_back):
        if told := _told(statements, intent, asked):
            return told
        if not intent.falls_back:
            return []
    found = live_evidence(statements, intent, _OF_A_KIND if len(intent.live) == 1 else _OF_EACH_KIND)
    if not found:
        return []
    lacking = f"I found {intent.lacks} that names {_quoted(asked.nouns.values())}. " if asked.nouns else ""
    is_a_day = len(found) > 1 and found[0].kind in ("overdue", "today")
    return [_listed(lacking + intent.opening, found), *close(found, asked.text, _ABOUT_THE_DAY if is_a_day else "")]


def _told(statements: Sequence[Statement], intent: Intent, asked: Question) -> list[str]:
    evidence = find_evidence(statements, intent, asked)
    found = evidence.found
    if not found:
        return []
    opening = intent.opening
    if evidence.missing:
        opening = f"Nothing of yours names {_quoted(evidence.missing)}. The nearest that I have"
    elif evidence.is_weak and intent.lacks:
        opening = f"I found {intent.lacks} for that. The nearest that I have"
    if len(found) > 1 and (intent.lists or found[0].kind == "alignment"):
        body = [_listed(opening, found)]
    else:
        first = word_statement(found[0])
        is_opened = intent.latest_first or opening != intent.opening
        body = [f"{opening}: {first[0].lower()}{first[1:]}" if is_opened else first]
        body += [_listed("Beside that", found[1:])] if found[1:] else []
    return [*body, *close(found, asked.text)]


def _listed(heading: str, found: Sequence[Statement]) -> str:
    is_mixed = len({said.kind for said in found}) > 1
    return "\n".join([f"{heading}:", *(f"- {word_item(said, names_kind=is_mixed)}" for said in found)])


def _quoted(names: Iterable[str]) -> str:
    return " or ".join(f"“{name}”" for name in names)


def _related(reading: Reading, statements: Sequence[Statement], intent: Intent | None, asked: Question) -> list[str]:
    """What shares words with a question that is after nothing in particular, or whose answer stands nowhere."""
    topic = asked.topic.keys()
    live = [said for said in statements if said.line and 2 * len(topic & said.own) >= len(topic) > 0][:_RELATED]
    sources = relevant_excerpts(reading.sources, weigh_topic(statements, asked.topic))[:_RELATED]
    found = live + [said for source in sources for said in read_source(source)]
    if not found:
        return []
    lacking = ""
    if missing := missing_words(statements, asked, found[0]):
        lacking = f"Nothing of yours names {_quoted(missing)}. "
    elif intent and intent.lacks:
        lacking = f"I found {intent.lacks} for that in what I may read. "
    facts = [_listed("Your current rows say", live)] if live else []
    if sources:
        too = "And from what you have written:" if live else "From what you have written:"
        heading = "What comes nearest:" if lacking else too
        facts.append("\n".join([heading, *(f"- {word_excerpt(source, topic)}" for source in sources)]))
    return [lacking + facts[0], *facts[1:], *close(found, reading.question)]


def _nothing_direct(reading: Reading, intent: Intent | None) -> list[str]:
    """Nothing shares a word with the question. What retrieval thought nearest is offered as no more than that."""
    question = reading.question
    if not reading.sources:
        is_told = intent is None and "?" not in question and _OF_ONESELF.search(question)
        return [TOLD, _ABOUT_TOLD] if is_told else [NOTHING, _ABOUT_NOTHING]
    return [
        "I found nothing of yours that names that directly. The closest I have, and it may be beside the point:\n- "
        + word_excerpt(reading.sources[0], frozenset()),
        "One next step: tell me in a sentence what you have in mind, in other words, and I will look again.",
        _ABOUT_NOTHING,
    ]
