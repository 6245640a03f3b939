"""What a request and its answer look like, as the API describes them; a test sends the one and compares the other."""

from __future__ import annotations

from typing import Any

REQUEST: dict[str, Any] = {
    "id": "c-2026-11-23",
    "messages": [
        {"id": "m-1", "role": "user", "parts": [{"type": "text", "text": "What should I do about my knee this week?"}]}
    ],
    "trigger": "submit-message",
}

STREAM = """\
data: {"type":"start","messageId":"a-1","messageMetadata":{"conversation_id":"c-2026-11-23","user_message_id":"m-1",\
"interaction_id":"0d3f…","model":"offline","prompt":"goal_coaching@1"}}

data: {"type":"data-quota","data":{"limit":250,"used":12,"remaining":238,"resets_at":"2026-12-01T00:00:00Z",\
"warning":null},"transient":true}

data: {"type":"data-context","id":"context","data":{"used":["task:5b1e…"],"withheld":[],"stale":0,"retrieval_ms":9}}

data: {"type":"source-document","sourceId":"task:5b1e…","mediaType":"text/plain","title":"Book the knee MRI",\
"providerMetadata":{"coach":{"domain":"task","id":"5b1e…","snippet":"Book the knee MRI …","score":0.91,\
"updated_at":"2026-11-20T08:00:00Z"}}}

data: {"type":"text-start","id":"text"}

data: {"type":"text-delta","id":"text","delta":"Book the MRI first [1]."}

data: {"type":"text-end","id":"text"}

data: {"type":"finish","finishReason":"stop","messageMetadata":{"usage":{"input_tokens":812,"output_tokens":9,\
"total_tokens":821},"first_token_ms":41,"processing_time_ms":63}}

data: [DONE]

"""

_SOURCE: dict[str, Any] = {
    "type": "source-document",
    "sourceId": "task:5b1e…",
    "mediaType": "text/plain",
    "title": "Book the knee MRI",
    "providerMetadata": {
        "coach": {
            "domain": "task",
            "id": "5b1e…",
            "snippet": "Book the knee MRI …",
            "score": 0.91,
            "updated_at": "2026-11-20T08:00:00Z",
        }
    },
}

FINISHED_TURN: dict[str, Any] = {
    "conversation_id": "c-2026-11-23",
    "message": {
        "id": "a-1",
        "role": "assistant",
        "parts": [_SOURCE, {"type": "text", "text": "Book the MRI first [1].", "state": "done"}],
        "metadata": {
            "user_message_id": "m-1",
            "model": "offline",
            "prompt": "goal_coaching@1",
            "status": "complete",
            "finish_reason": "stop",
            "first_token_ms": 41,
            "processing_time_ms": 63,
        },
    },
    "sources": [_SOURCE],
    "context": {"used": ["task:5b1e…"], "withheld": [], "stale": 0, "retrieval_ms": 9},
    "quota": {"limit": 250, "used": 12, "remaining": 238, "resets_at": "2026-12-01T00:00:00Z", "warning": None},
    "usage": {"input_tokens": 812, "output_tokens": 9, "total_tokens": 821},
    "interaction_id": "0d3f…",
}
