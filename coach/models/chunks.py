"""What single chunks of a provider say, in all the shapes that they have."""

from __future__ import annotations

import json
from typing import Any

import msgspec

UNREADABLE = object()
_NO_ERRORS: tuple[Any, ...] = (None, False, 0, 200, "", "0", "200", "ok", "OK", "success", [])
_DEEPEST = 5


def tells_failure(chunk: dict[str, Any]) -> bool:
    """``{"error": …}``, ``{"error_code": …}``, ``{"object": "error"}``, ``{"base_resp": {"status_code": …}}``; beside
    empty choices ``{"code": …}``, in the place of choices ``{"detail": …}`` too.
    """
    if "error" in (chunk.get("object"), chunk.get("type"), chunk.get("status")):
        return True
    inner = chunk.get("base_resp")
    named = [chunk.get(name) for name in ("error", "errors", "error_code", "errcode", "err")]
    if any(told not in _NO_ERRORS for told in (*named, inner.get("status_code") if isinstance(inner, dict) else None)):
        return True
    if chunk.get("choices") or chunk.get("usage"):
        return False
    status = chunk.get("status")
    code = chunk.get("code", chunk.get("status_code", status if isinstance(status, int) else None))
    if chunk.keys() & {"choices", "usage"}:
        return code not in _NO_ERRORS
    is_told = any(chunk.get(name) and isinstance(chunk[name], str) for name in ("message", "msg", "error_msg"))
    return bool(chunk.get("detail")) or code not in _NO_ERRORS or (is_told and code is None)


def read_parts(content: Any, depth: int = 0) -> tuple[str, str]:
    """Thoughts and text of a content that is a string, a part, or a list of parts."""
    if isinstance(content, str):
        return "", content
    if isinstance(content, list) and depth < _DEEPEST:
        parts = [read_parts(part, depth + 1) for part in content]
        return "".join(thoughts for thoughts, _ in parts), "".join(text for _, text in parts)
    if not isinstance(content, dict) or depth >= _DEEPEST:
        return "", ""
    fields = (content.get(name) for name in ("text", "content", "thinking", "reasoning", "summary", "refusal"))
    told = next(("".join(read_parts(field, depth + 1)) for field in fields if field), "")
    is_thought = any(word in str(content.get("type")) for word in ("think", "reason", "thought"))
    return (told, "") if is_thought else ("", told)


def clean(text: str) -> str:
    """What PostgreSQL stores and UTF-8 can say: no NUL, no half of a surrogate pair."""
    if text.isascii() or text.isprintable():
        return text.replace("\0", "")
    return text.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def decode_chunk(data: bytes) -> Any:
    """What msgspec refuses (half surrogates, 1e999, NaN, bytes that are no UTF-8) is left to the slower one."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass
    try:
        return json.loads(data.decode("utf-8", "replace"), parse_int=lambda digits: int(digits[:20]))
    except (ValueError, RecursionError):
        return UNREADABLE
