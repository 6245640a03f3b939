"""Makes a user's text safe and short enough for its place."""

from __future__ import annotations

import re

from msgspec import Meta

_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}(?:\\u[dD][c-fC-F][0-9a-fA-F]{2})?|u[dD][c-fC-F][0-9a-fA-F]{2}|.)", re.S
)


def up_to(characters: int, least: int | None = None) -> Meta:
    """As the API describes a text of that length. Whoever reads it tells how long it was, as msgspec would not."""
    lengths = {"maxLength": characters} | ({} if least is None else {"minLength": least})
    return Meta(extra_json_schema=lengths)


def escape(text: str) -> str:
    """Nothing in ``text`` can open or close a delimiter of a prompt afterwards."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


def shorten(text: str, limit: int) -> str:
    """The beginning of ``text`` in at most ``limit`` characters, cut at a word where one ends near."""
    flat = " ".join(text[: limit * 4].split())
    if len(flat) <= limit:
        return flat
    cut = flat[: limit - 1]
    head, _, tail = cut.rpartition(" ")
    return (head if head and len(tail) < limit // 3 else cut) + "…"


def mend_surrogates(json: str) -> str:
    """JSON in which each half of a surrogate pair that stands alone is U+FFFD, as in browsers. No text can hold one."""
    return _ESCAPE.sub(lambda escape: r"\ufffd" if len(escape[0]) == len(r"\ud800") else escape[0], json)


_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def storable(text: str) -> str:
    """``text`` as PostgreSQL and JSON take it: U+FFFD for a NUL and for a half of a surrogate pair."""
    return _UNSTORABLE.sub("\ufffd", text)
