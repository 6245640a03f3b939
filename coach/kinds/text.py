"""Text in the shape that is embedded: sentences joined, long ones in pieces, days in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

CHUNK_CHARACTERS = 900
"""About 200 tokens: an ordinary journal entry is one chunk. The vector of a longer text would be a mean of
everything."""

# The last line of a snippet, which is read but not searched.
_FARTHER_UP = re.compile(r"\n↑ [^\n]*\Z")
# A title is no end of a sentence, or a chunk would end with "Dr.".
_SENTENCE = re.compile(
    r"(?<!\bDr\.)(?<!\bMr\.)(?<!\bMrs\.)(?<!\bMs\.)(?<=[.!?…])([\"'”’)\]]*)\s+(?=[\"'“‘(\[]?[^\Wa-z_])|\n\s*\n"
)


def searched(text: str) -> str:
    """What of a snippet is embedded and searched for words; ``coach.snippet_document`` does the same in SQL.

    That is all but what lies farther up than the next parent. In the demo's life 46 rows mention the knee only because
    they lie below "Running and the knee", and stood before the entry that says what is wrong with it (decision 0004).
    """
    return _FARTHER_UP.sub("", text)


def chunked(text: str, characters: int = CHUNK_CHARACTERS) -> list[str]:
    """``text`` in pieces of at most ``characters``, cut between sentences, or between words of a longer one.

    It takes linear time, whatever the text.
    """
    pieces: list[str] = []
    for part in _parts(text.strip(), characters):
        if pieces and len(pieces[-1]) + 1 + len(part) <= characters:
            pieces[-1] = f"{pieces[-1]} {part}"
        else:
            pieces.append(part)
    return pieces


def _parts(text: str, characters: int) -> Iterator[str]:
    for sentence in _sentences(text):
        rest, start = sentence.strip(), 0
        while len(rest) - start > characters:
            cut = rest.rfind(" ", start + 1, start + characters + 1)
            cut = start + characters if cut < 0 else cut
            yield rest[start:cut].strip()
            start = cut
            while rest[start].isspace():
                start += 1
        if rest:
            yield rest[start:]


def _sentences(text: str) -> Iterator[str]:
    """A closing quote or bracket belongs to the sentence before it."""
    start = 0
    for end in _SENTENCE.finditer(text):
        yield text[start : end.start() if end[1] is None else end.end(1)]
        start = end.end()
    yield text[start:]


def farther_up(*names: str | None) -> str:
    above = ", ".join(" ".join(name.split()) for name in names if name)
    return f"\n↑ Part of {above}." if above else ""


def joined(*sentences: str | None) -> str:
    return " ".join(stripped for sentence in sentences if sentence and (stripped := sentence.strip()))


def day_in_words(day: date) -> str:
    """As in 4 May 2026."""
    return f"{day.day} {day:%B %Y}"
