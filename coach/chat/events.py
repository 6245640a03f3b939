"""What happens in a turn, as its readers see it. One type, several encoders."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from coach.models.base import FinishReason, Usage
from coach.retrieval.base import Receipt, Source


class Started(Struct, frozen=True):
    """The question is stored and a unit of quota reserved."""

    message_id: str
    conversation_id: str
    user_message_id: str
    interaction_id: str
    model: str
    prompt: str


class QuotaTold(Struct, frozen=True):
    """The month's quota after this turn's reservation. ``warning`` is the highest threshold passed: 80, 95 or 100."""

    limit: int
    used: int
    remaining: int
    resets_at: datetime
    warning: int | None = None


class ContextRead(Struct, frozen=True):
    """What was read to answer."""

    receipt: Receipt


class SourceFound(Struct, frozen=True):
    """``[n]`` in the answer is the n-th of these."""

    source: Source


class TextDelta(Struct, frozen=True):
    """The next piece of the answer."""

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


Event = Started | QuotaTold | ContextRead | SourceFound | TextDelta | Finished | Interrupted | Failed
Terminal = Finished | Interrupted | Failed
