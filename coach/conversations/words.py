"""What a search looks for, in whatever script it is written."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from coach.conversations.schemas import MAX_QUERY
from coach.errors import InvalidInput

# The same as coach.is_unspaced (sql/migrations/0004_values.sql): no spaces between words, or endings that hang on them.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f]+"
)
_WORD = re.compile(r"[^\W_]+")
AROUND = 80
"""Characters that an excerpt shows on either side."""


class Words(Struct, frozen=True):
    """``plain`` reads like a web search in English; ``prefixes`` begin words, ``runs`` stand anywhere as they are."""

    plain: str
    prefixes: tuple[str, ...]
    runs: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """All forms that may occur in a text that was found."""
        return (*self.runs, *self.prefixes, *_WORD.findall(self.plain))


def words_of(q: str) -> Words:
    """Take a query apart by script.

    English words are compared by their stems. For other languages the endings are unknown, so a word finds all words
    that begin with it, as ``knee*`` does. Text without spaces is found as it is.

    :raises InvalidInput: empty or too long.
    """
    if not q.strip() or len(q) > MAX_QUERY:
        raise InvalidInput("q", f"must have 1 to {MAX_QUERY} characters.")
    runs = tuple(dict.fromkeys(_UNSPACED.findall(q)))
    plain, prefixes = list[str](), list[str]()
    # Only one dash refuses a word: more than 32 of them, with or without spaces, are an internal error of PostgreSQL.
    for token in re.sub(r"(?<!\S)-+", "-", _UNSPACED.sub(" ", q)).split():
        if not token.strip("-"):
            continue
        if token.endswith("*") or (not token.isascii() and '"' not in token and not token.startswith("-")):
            prefixes.append(token.rstrip("*"))
        else:
            plain.append(token)
    return Words(" ".join(plain), tuple(dict.fromkeys(prefixes)), runs)


def excerpt(text: str, words: Sequence[str]) -> str:
    """Some of ``text`` around the first of ``words`` that stands in it, on one line."""
    flat = " ".join(text.split())
    low = flat.lower()
    # Stems differ from words in their endings only: "running" is found by "run", so its beginning has to do.
    places = [at for word in words for at in (low.find(word.lower()), low.find(word.lower()[:4])) if at >= 0]
    start = max(0, min(places, default=0) - AROUND)
    end = min(len(flat), start + 2 * AROUND)
    return ("…" if start else "") + flat[start:end].strip() + ("…" if end < len(flat) else "")
