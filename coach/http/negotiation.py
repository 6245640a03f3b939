"""Which of the two forms of an answer a caller prefers, by RFC 9110, section 12.5.1."""

from __future__ import annotations

JSON, STREAM = "application/json", "text/event-stream"


def prefers_json(accept: str | None) -> bool:
    """True only where ``application/json`` ranks above ``text/event-stream``; nothing and ``*/*`` mean the stream."""
    if not accept:
        return False
    ranges = dict(_range(entry) for entry in accept.split(","))
    return _quality(ranges, JSON) > _quality(ranges, STREAM)


def _range(entry: str) -> tuple[str, float]:
    name, *parameters = (part.strip().lower() for part in entry.split(";"))
    quality = 1.0
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                quality = float(parameter[2:])
            except ValueError:
                quality = 0.0
    return name, quality


def _quality(ranges: dict[str, float], media_type: str) -> float:
    """The most specific range decides."""
    family = media_type.split("/", 1)[0] + "/*"
    return next((ranges[name] for name in (media_type, family, "*/*") if name in ranges), 0.0)
