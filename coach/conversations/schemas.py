"""Conversations on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Struct, UnsetType

from coach.errors import InvalidInput
from coach.values.text import up_to

MAX_TITLE = 200
MAX_QUERY = 500
MAX_REASON = 2_000
MAX_CORRECTION = 32_000


class Match(Struct):
    """Where a search found its words: the newest message that holds them, with some of its text."""

    message_id: str
    snippet: str


class Conversation(Struct):
    """``current_message_id`` is the last message of the branch that is shown; ``running``: a turn is being answered.

    ``match`` is there in a search that found its words in a message, and null where they stand in the title alone.
    """

    id: str
    title: str
    feature: str
    archived: bool
    incognito: bool
    current_message_id: str | None
    running: bool
    created_at: datetime
    updated_at: datetime
    match: Match | UnsetType | None = UNSET


class ConversationPage(Struct):
    """The one with the newest activity first."""

    items: list[Conversation]
    next_cursor: str | None = None


class ConversationChange(Struct, forbid_unknown_fields=True):
    """What is left out stays. ``current_message_id`` has to be a message of this conversation."""

    title: Annotated[str, up_to(MAX_TITLE)] | UnsetType = UNSET
    archived: bool | UnsetType = UNSET
    current_message_id: str | UnsetType = UNSET

    def checked_title(self) -> str | None:
        """The title on one line, or None where it stays.

        :raises InvalidInput: empty, too long, or with a NUL.
        """
        if self.title is UNSET or isinstance(self.title, UnsetType):
            return None
        title = " ".join(bounded(self.title, "title", MAX_TITLE).split())
        if not title:
            raise InvalidInput("title", f"must have 1 to {MAX_TITLE} characters.")
        return title


class Feedback(Struct, forbid_unknown_fields=True):
    """``correction`` is what the answer should have been."""

    rating: Literal["up", "down"]
    reason: Annotated[str, up_to(MAX_REASON)] | None = None
    correction: Annotated[str, up_to(MAX_CORRECTION)] | None = None

    def check(self) -> None:
        """:raises InvalidInput: a text is too long, or holds a NUL."""
        bounded(self.reason or "", "reason", MAX_REASON)
        bounded(self.correction or "", "correction", MAX_CORRECTION)


class GivenFeedback(Struct):
    """As it is stored."""

    rating: Literal["up", "down"]
    reason: str | None
    correction: str | None
    given_at: datetime


class UIMessage(Struct):
    """A UIMessage of the AI SDK: sources and text as parts, as the stream brings them.

    ``siblings`` are the other versions of this message and itself, oldest first, as ids: other answers to the same
    question, or other wordings of it. ``metadata`` has ``status`` (``streaming``, ``complete``, ``interrupted`` or
    ``failed``, then with ``problem``), ``created_at``, and of answers model, prompt, usage and times.
    """

    id: str
    role: Literal["user", "assistant", "system"]
    parent_id: str | None
    siblings: list[str]
    parts: list[dict[str, Any]]
    metadata: dict[str, Any]


class MessagePage(Struct):
    """A stretch of one branch, oldest first; ``next_cursor`` leads to what was said before it."""

    items: list[UIMessage]
    next_cursor: str | None = None


def bounded(text: str, path: str, limit: int) -> str:
    """``text`` as it is.

    :raises InvalidInput: longer than ``limit``, or with a NUL, which PostgreSQL cannot store.
    """
    if "\0" in text:
        raise InvalidInput(path, "must not contain a NUL character.")
    if len(text) > limit:
        raise InvalidInput(path, f"has {len(text):,} characters; at most {limit:,} are accepted.")
    return text
