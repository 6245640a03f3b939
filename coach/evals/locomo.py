"""How much of five people's long conversations the search brings back: the LoCoMo benchmark, by turn.

Each conversation of the file becomes one user's past, stored and searched by the project's own code. Scored are the
questions that have an answer (categories 1-4) against the turns that are labelled as their evidence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
from msgspec import Struct

from coach.database.pool import Database
from coach.errors import InvalidInput
from coach.evals.past import PastConversation, PastMessage, ranked, remember
from coach.evals.ranking import METRICS, Scores, score
from coach.retrieval.base import Embedder

CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop"}
DEPTH = 20


class Question(Struct, frozen=True):
    text: str
    category: str
    evidence: tuple[str, ...]


class LocomoUser(Struct, frozen=True):
    """One of the file's conversations: what was said in its sessions, and what is asked about it."""

    name: str
    past: tuple[PastConversation, ...]
    questions: tuple[Question, ...]


class Result(Struct, frozen=True):
    """Mean figures of all questions (``all``) and of each category."""

    questions: int
    messages: int
    means: dict[str, Scores]


async def run(
    db: Database, embedder: Embedder, file: Path, *, progress: Callable[[str], None] = lambda line: None
) -> Result:
    """Load the file's conversations as new users of ``db``, ask their questions, forget them again."""
    people = read(file)
    asked: list[tuple[str, Scores]] = []
    for person in people:
        progress(f"{person.name}: {len(person.past)} conversations, {len(person.questions)} questions")
        user_id = await _live(db, embedder, person)
        try:
            asked += await _ask(db, embedder, user_id, person.questions)
        finally:
            async with db.as_operator() as tx:
                await tx.execute("delete from auth.users where id = %s", (user_id,))
    messages = sum(len(past.messages) for person in people for past in person.past)
    groups = {"all": [scores for _, scores in asked]}
    for category in CATEGORIES.values():
        groups[category] = [scores for kind, scores in asked if kind == category]
    means = {name: Scores.mean(group) for name, group in groups.items() if group}
    return Result(questions=len(asked), messages=messages, means=means)


def table(result: Result) -> str:
    """The result as text, a line per category."""
    lines = [f"{'':12}" + "".join(f"{name:>9}" for name in METRICS)]
    for category, means in result.means.items():
        lines.append(f"{category:12}" + "".join(f"{value:9.3f}" for value in msgspec.structs.astuple(means)))
    return "\n".join([*lines, f"{result.questions} questions over {result.messages} messages"])


def read(file: Path) -> list[LocomoUser]:
    """The users of a LoCoMo file.

    :raises InvalidInput: the file is not one.
    """
    try:
        return [_person(sample) for sample in msgspec.json.decode(file.read_bytes())]
    except (OSError, msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput("file", f"{file} is not a LoCoMo file ({type(error).__name__})") from error


def _person(sample: dict[str, Any]) -> LocomoUser:
    talk = sample["conversation"]
    numbers = sorted(int(key.removeprefix("session_")) for key in talk if re.fullmatch(r"session_\d+", key))
    past = tuple(_session(talk, number) for number in numbers if talk[f"session_{number}"])
    known = {message.client_id for session in past for message in session.messages}
    questions = (_question(entry, known) for entry in sample["qa"] if entry["category"] in CATEGORIES)
    return LocomoUser(sample["sample_id"], past, tuple(question for question in questions if question.evidence))


def _session(talk: dict[str, Any], number: int) -> PastConversation:
    began = datetime.strptime(talk[f"session_{number}_date_time"], "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)
    messages = tuple(
        PastMessage(
            client_id=turn["dia_id"],
            role="user" if turn["speaker"] == talk["speaker_a"] else "assistant",
            content=_content(turn),
            said_at=began + timedelta(seconds=30 * position),
            author=turn["speaker"],
        )
        for position, turn in enumerate(talk[f"session_{number}"])
    )
    return PastConversation(f"session-{number}", f"Session {number}", began, messages)


def _content(turn: dict[str, Any]) -> str:
    """What was said, and what the picture shows that was shared with it."""
    caption = turn.get("blip_caption")
    return f"{turn['text']} [shared image: {caption}]".strip() if caption else turn["text"].strip() or "(no text)"


def _question(entry: dict[str, Any], known: set[str]) -> Question:
    """Labels are hand-written: ``D8:6; D9:17`` in one string, ``D:11:26``, ``D30:05`` for turn 5."""
    labels = re.findall(r"D:?(\d+):(\d+)", " ".join(entry.get("evidence", [])))
    turns = dict.fromkeys(f"D{int(session)}:{int(turn)}" for session, turn in labels)
    return Question(entry["question"], CATEGORIES[entry["category"]], tuple(turn for turn in turns if turn in known))


async def _live(db: Database, embedder: Embedder, person: LocomoUser) -> UUID:
    """Create the user with those past conversations."""
    user_id = uuid4()
    async with db.as_operator() as tx:
        await tx.execute("insert into auth.users (id) values (%s)", (user_id,))
    for conversation in person.past:
        vectors = await embedder.embed_documents([message.text for message in conversation.messages])
        async with db.as_user(user_id) as tx:
            await remember(tx, user_id, conversation, vectors, embedder.model)
    return user_id


async def _ask(
    db: Database, embedder: Embedder, user_id: UUID, questions: Sequence[Question]
) -> list[tuple[str, Scores]]:
    asked = []
    for question in questions:
        found = await ranked(db, user_id, question.text, embedder, DEPTH, domains={"conversation"})
        asked.append((question.category, score([source.message_id or "" for source in found], question.evidence)))
    return asked
