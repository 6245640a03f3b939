"""What a request and its answer look like, as the API describes them; a test sends the one and compares the other."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from coach.chat.collected import finished_turn
from coach.chat.encoders import DONE, UIMessageParts, encode_batch
from coach.chat.events import ContextRead, Event, Finished, Quota, SourceFound, Started, TextDelta
from coach.models.base import Usage
from coach.retrieval.base import Receipt, Source

REQUEST: dict[str, Any] = {
    "id": "c-2026-11-23",
    "messages": [
        {"id": "m-1", "role": "user", "parts": [{"type": "text", "text": "What should I do about my knee this week?"}]}
    ],
    "trigger": "submit-message",
}

_EVENTS: tuple[Event, ...] = (
    Started("a-1", "c-2026-11-23", "m-1", "0d3f…", "offline", "goal_coaching@1"),
    Quota(250, 12, 238, datetime(2026, 12, 1, tzinfo=UTC)),
    ContextRead(Receipt(("task:5b1e…",), retrieval_ms=9)),
    SourceFound(
        Source(
            source_id="task:5b1e…",
            domain="task",
            id="5b1e…",
            title="Book the knee MRI",
            text="Book the knee MRI …",
            score=0.91,
            updated_at=datetime(2026, 11, 20, 8, tzinfo=UTC),
        )
    ),
    TextDelta("Book the MRI first [1]."),
    Finished("stop", Usage(812, 9), first_token_ms=41, processing_time_ms=63),
)

STREAM = (encode_batch(UIMessageParts(), _EVENTS) + DONE).decode()

FINISHED_TURN: dict[str, Any] = msgspec.to_builtins(finished_turn(_EVENTS))
