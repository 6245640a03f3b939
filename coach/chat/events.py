"""The events of a turn: its start, its parts, its text, its end."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from coach.chat.parts import Part
from coach.models.base import FinishReason, Usage
from coach.retrieval.base import Receipt, Source
from coach.values.text import shorten

SNIPPET = 160
"""Characters of a source that a stream shows."""


class Started(Struct, frozen=True):
    """The question is stored and a unit of quota reserved."""

    message_id: str
    conversation_id: str
    user_message_id: str
    interaction_id: str
    model: str
    prompt: str


class Quota(Part, frozen=True):
    """The month's quota. ``warning`` is the highest threshold passed: 80, 95 or 100 (percent)."""

    type: ClassVar[str] = "data-quota"
    answered_as: ClassVar[str | None] = "quota"

    limit: int
    used: int
    remaining: int
    resets_at: datetime
    warning: int | None = None


class ContextRead(Part, frozen=True):
    """The receipt of what was read for the answer."""

    type: ClassVar[str] = "data-context"
    id: ClassVar[str | None] = "context"
    stored_as: ClassVar[str | None] = "receipt"
    answered_as: ClassVar[str | None] = "context"

    receipt: Receipt

    def content(self) -> Receipt:
        return self.receipt

    @classmethod
    def restored(cls, content: Any) -> ContextRead:
        return cls(msgspec.convert(content, Receipt))


class SourceFound(Part, frozen=True):
    """``[n]`` in the answer is the n-th of these."""

    type: ClassVar[str] = "source-document"
    stored_as: ClassVar[str | None] = "sources"
    answered_as: ClassVar[str | None] = "sources"
    is_list: ClassVar[bool] = True

    source: Source

    def content(self) -> Source:
        return self.source

    @classmethod
    def restored(cls, content: Any) -> SourceFound:
        return cls(msgspec.convert(content, Source))

    def shown(self) -> dict[str, Any]:
        """A stock part of the AI SDK. Our own fields are under ``coach``."""
        source = self.source
        ours = {
            "domain": source.domain,
            "id": source.id,
            "snippet": shorten(source.text, SNIPPET),
            "score": round(source.score, 4),
            "updated_at": source.updated_at,
        }
        if source.conversation_id is not None:
            ours |= {"conversation_id": source.conversation_id, "message_id": source.message_id}
        return {
            "type": self.type,
            "sourceId": source.source_id,
            "mediaType": "text/plain",
            "title": source.title,
            "providerMetadata": {"coach": ours},
        }

    def answered(self) -> dict[str, Any]:
        return self.shown()


class ModelLoading(Part, frozen=True):
    """Nothing has come yet, and the model seems to be loading."""

    type: ClassVar[str] = "data-loading"


class TextDelta(Struct, frozen=True):
    """The next piece of the answer."""

    text: str


class ReasoningDelta(Struct, frozen=True):
    """The next piece of what the model thinks aloud. It is shown while it comes and stored nowhere: no replay, no
    history, no memory and no later prompt has it."""

    text: str


class Finished(Struct, frozen=True):
    """The answer is complete and stored. Times in milliseconds since the question arrived."""

    reason: FinishReason
    usage: Usage
    first_token_ms: int
    processing_time_ms: int


class Interrupted(Struct, frozen=True):
    """Stopped on purpose, or by a shutdown; what was said so far is stored."""

    reason: str


class Failed(Struct, frozen=True):
    """No (whole) answer came. ``slug`` is the problem's, ``detail`` may be shown."""

    slug: str
    detail: str


Event = Started | Part | TextDelta | ReasoningDelta | Finished | Interrupted | Failed
Terminal = Finished | Interrupted | Failed
