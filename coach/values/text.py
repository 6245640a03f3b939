"""Text of a user's, made fit for the place where it will stand."""

from __future__ import annotations


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
