"""``<think>…</think>`` in an answer: what a model thinks aloud, parted from what it says."""

from __future__ import annotations

import re

from coach.models.base import Delta, Reasoning

_NAMES = ("think", "thinking", "thought", "reasoning")
_OPENING = re.compile(rf"(?<![`\"'“‘])<({'|'.join(_NAMES)})>", re.IGNORECASE)
_OPENINGS = tuple(f"<{name}>" for name in _NAMES)


class ThinkingTags:
    """Parts ``<think>…</think>`` from the answer as both come, a tag that is cut in two included.

    A tag behind a quotation mark or a backtick is only spoken of. White space at either beginning is left out.
    """

    def __init__(self) -> None:
        self._held, self._said = "", 0  # the first ``_said`` characters of it, one at most, are told already
        self._closing = ""
        self._is_fresh = True

    def feed(self, text: str) -> list[Delta | Reasoning]:
        """What is certain so far: what may be the beginning of a tag is held back."""
        pieces: list[Delta | Reasoning] = []
        self._held += text
        if "<" not in self._held:
            self._say(len(self._held), pieces)
            return pieces
        while found := self._next_tag():
            rest = self._held[found.end() :]
            self._say(found.start(), pieces)
            self._held, self._said = rest, 0
            self._closing, self._is_fresh = "" if self._closing else f"</{found[1]}>", True
        at = self._held.rfind("<", self._said)
        begun = self._held[at:].lower()
        tags = (self._closing.lower(),) if self._closing else _OPENINGS
        is_held = at >= 0 and any(tag.startswith(begun) for tag in tags)
        self._say(at if is_held else len(self._held), pieces)
        return pieces

    def end(self) -> list[Delta | Reasoning]:
        pieces: list[Delta | Reasoning] = []
        self._say(len(self._held), pieces)
        return pieces

    def _next_tag(self) -> re.Match[str] | None:
        pattern = re.compile(re.escape(self._closing), re.IGNORECASE) if self._closing else _OPENING
        return pattern.search(self._held, self._said)

    def _say(self, end: int, pieces: list[Delta | Reasoning]) -> None:
        text = self._held[self._said : end]
        if end > self._said:
            self._held, self._said = self._held[end - 1 :], 1
        text = text.lstrip() if self._is_fresh else text
        if text:
            self._is_fresh = False
            pieces.append(Reasoning(text) if self._closing else Delta(text))
