"""What an import brings, in our own form. It is read value by value, so that a bad one spoils no other."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from coach.chat.schemas import MAX_TEXT
from coach.conversations.schemas import MAX_TITLE
from coach.values.ids import Id
from coach.values.text import up_to

MAX_MESSAGES = 500
MAX_NAME = 200


class SentMessage(Struct, forbid_unknown_fields=True):
    """Without a time it was said just after the one before it."""

    id: Id
    role: Literal["user", "assistant"]
    content: Annotated[str, up_to(MAX_TEXT, least=1)]
    name: Annotated[str, up_to(MAX_NAME)] | None = None
    created_at: datetime | UnsetType = UNSET
    parent_id: Annotated[
        Id | UnsetType | None,
        Meta(description="What it answers, where there are branches. Left out: the one before it in time."),
    ] = UNSET


class SentConversation(Struct, forbid_unknown_fields=True):
    id: Id
    messages: list[SentMessage]
    title: Annotated[str, up_to(MAX_TITLE)] | None = None
    created_at: datetime | UnsetType = UNSET
    current_message_id: Annotated[Id | UnsetType, Meta(description="The end of the branch that is shown.")] = UNSET


class Import(Struct, forbid_unknown_fields=True):
    """Up to 500 messages. Exports of ChatGPT, DeepSeek, Claude, Open WebUI and LibreChat are taken as they are, too."""

    conversations: Annotated[list[SentConversation], Meta(extra_json_schema={"maxItems": MAX_MESSAGES})]


EXAMPLE = {
    "conversations": [
        {
            "id": "before-2025",
            "title": "The knee",
            "created_at": "2025-03-01T12:00:00Z",
            "messages": [
                {
                    "id": "q1",
                    "role": "user",
                    "name": "Maya",
                    "content": "My knee hurts on the hills.",
                    "created_at": "2025-03-01T12:00:00Z",
                },
                {
                    "id": "a1",
                    "role": "assistant",
                    "content": "Then walk down for a week.",
                    "created_at": "2025-03-01T12:00:09Z",
                },
            ],
        }
    ]
}
