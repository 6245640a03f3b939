"""The messages of a call, taken apart: the question, what was said before, and what is only data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct, field

from coach.chat.schemas import MAX_TEXT
from coach.errors import InvalidInput, NotFound
from coach.http.bodies import read
from coach.http.shapes import shown_as
from coach.models.base import Role
from coach.openai_api.errors import Unsupported
from coach.openai_api.ui_task_shapes import looks_like_ui_task

Speaker = Literal["system", "developer", "user", "assistant"]

MOST_NOTES = 8
"""System messages of a UI task; each is looked at together with the question."""

NotServed = Annotated[Any, Meta(description="Not served: refused by its name where silence would mislead.")]
"""A parameter of which only the presence matters."""


class _Part(Struct):
    type: str = ""
    text: Annotated[Any, shown_as(str)] = None
    refusal: Annotated[Any, shown_as(str)] = None


_CONTENT: Any = str | list[_Part] | None


class Message(Struct):
    """One of the caller's. Of an item of the responses API ``type`` is looked at too, of a reference its ``id``."""

    role: Annotated[str, shown_as(Speaker)] = ""
    content: Annotated[Raw, shown_as(_CONTENT)] = field(default_factory=lambda: Raw(b"null"))
    type: str | None = None
    id: str | None = None
    tool_calls: NotServed = None
    function_call: NotServed = None


class CallMessages(Struct, frozen=True):
    """``question`` is the last user message, ``history`` what stood before it, newest first.

    ``notes`` are the system and developer messages: wishes of the caller's application, and no instructions of ours.
    """

    question: str
    history: tuple[tuple[Role, str], ...]
    notes: tuple[str, ...]
    at: str

    @property
    def is_ui_task(self) -> bool:
        """A chat UI sends the person's own system messages in front of its tasks, or its template as one of them."""
        if self.history or len(self.notes) > MOST_NOTES:
            return False
        return any(looks_like_ui_task(f"{note}\n{self.question}") for note in ("", *self.notes))

    def within(self, limit: int = MAX_TEXT) -> CallMessages:
        """:raises InvalidInput: the question, or the notes together, are longer than ``limit`` characters."""
        for what, length in (("text", len(self.question)), ("system messages", sum(map(len, self.notes)))):
            if length > limit:
                raise InvalidInput(self.at, f"the {what} has {length:,} characters; at most {limit:,} are accepted.")
        return self


_TEXTS = ("text", "input_text", "output_text")
REFERENCE = "item_reference"
MOST_REFERENCES = 1_000


def referenced(messages: Sequence[Message]) -> tuple[str, ...]:
    """The ids of the stored answers to which the messages refer.

    :raises InvalidInput: there are too many.
    """
    ids = tuple(message.id for message in messages if message.type == REFERENCE and message.id)
    if len(ids) > MOST_REFERENCES:
        raise InvalidInput("input", f"refers to {len(ids):,} answers; at most {MOST_REFERENCES:,} are looked up.")
    return ids


def read_call_messages(
    messages: Sequence[Message], path: str, answers: Mapping[str, str] | None = None
) -> CallMessages:
    """Find the question and what belongs to it; ``path`` is the parameter's name.

    ``answers`` has the texts of the ``referenced`` answers by their ids.

    :raises InvalidInput: names the message or the part. :raises NotFound: an answer is not there.
    """
    history: list[tuple[Role, str]] = []
    notes: list[str] = []
    question_at = ""
    for number, message in enumerate(messages):
        at = f"{path}[{number}]"
        if message.type == REFERENCE:
            history.append(("assistant", _recalled(message, answers or {}, at)))
            continue
        text = _text(message, at)
        match message.role:
            case "system" | "developer":
                notes += [text] if text.strip() else []
            case "user":
                history.append(("user", text))
                question_at = f"{at}.content"
            case "assistant":
                history += [("assistant", text)] if text else []
            case _:
                raise InvalidInput(f"{at}.role", "must be one of system, developer, user, assistant.")
    if not history and len(notes) == 1 and looks_like_ui_task(notes[0]):
        return CallMessages(notes[0], (), (), f"{path}[0].content")
    if not history or history[-1][0] != "user":
        raise InvalidInput(path, 'must end with the message to answer, with role "user".')
    *before, (_, question) = history
    if not question.strip():
        raise InvalidInput(question_at, "must hold a text that is not empty.")
    said_before = tuple((role, text) for role, text in reversed(before) if text.strip())
    return CallMessages(question, said_before, tuple(notes), question_at)


def _recalled(reference: Message, answers: Mapping[str, str], at: str) -> str:
    if reference.id is None or reference.id not in answers:
        raise NotFound(f"{at}.id names no stored answer; send the message itself.")
    return answers[reference.id]


def _text(message: Message, at: str) -> str:
    if message.type not in (None, "message"):
        raise Unsupported(f"{at}.type", "only messages and references to answers are understood here, no tools.")
    if message.role in ("tool", "function"):
        raise Unsupported(f"{at}.role", "tools are not called here, so there are no results of theirs.")
    for name in ("tool_calls", "function_call"):
        if getattr(message, name):
            raise Unsupported(f"{at}.{name}", "tools are not called here.")
    content: str | list[_Part] | None = read(bytes(message.content), _CONTENT, f"{at}.content")
    text = content if isinstance(content, str) else _joined(content or [], at)
    if "\0" in text:
        raise InvalidInput(f"{at}.content", "must not contain a NUL character.")
    return text


def _joined(parts: Sequence[_Part], at: str) -> str:
    texts = []
    for number, part in enumerate(parts):
        path = f"{at}.content[{number}]"
        text = part.refusal if part.type == "refusal" else part.text
        if part.type not in (*_TEXTS, "refusal"):
            raise Unsupported(f"{path}.type", "only text can be read; images, audio and files cannot.")
        if not isinstance(text, str):
            raise InvalidInput(f"{path}.text", "must be a string.")
        texts.append(text)
    return "\n".join(texts)
