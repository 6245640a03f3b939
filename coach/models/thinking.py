"""``<think>…</think>`` in an answer: what a model thinks aloud, parted from what it says."""

from __future__ import annotations

import re

from coach.models.base import Delta, Reasoning

_NAMES = ("think", "thinking", "thought", "reasoning")
_TAG = re.compile(rf"(?<![`\"'“‘])<(/?)({'|'.join(_NAMES)})>", re.IGNORECASE)
_TAGS = tuple(f"<{slash}{name}>" for name in _NAMES for slash in ("", "/"))


class ThinkingTags:
    """Parts ``<think>…</think>`` from the answer as both come, a tag that is cut in two included.

    A tag behind a quotation mark or a backtick is only spoken of. White space at either beginning is left out.

    The templates of some models write the opening tag into the prompt. ``is_unopened`` tells at the end that this is
    one; its next answer is read as ``is_unopened`` from the start. If that never closes, it was all answer.
    """

    def __init__(self, *, is_unopened: bool = False) -> None:
        self.is_unopened = is_unopened
        self._held, self._said = "", 0  # and how much of it is told already
        self._closing = "</think>" if is_unopened else ""
        self._presumed: list[str] | None = [] if is_unopened else None
        self._has_opened = False
        self._is_fresh = True

    def feed(self, text: str) -> list[Delta | Reasoning]:
        """What is certain so far: what may be the beginning of a tag is held back."""
        pieces: list[Delta | Reasoning] = []
        self._held += text
        kept = len(self._held)
        if "<" in self._held:
            while found := self._next_tag():
                self._say(found.start(), pieces)
                self._said = found.end()
                self._pass(found)
            kept = self._first_of_a_tag()
        self._say(kept, pieces)
        # The character before a tag decides about it.
        self._held, self._said = self._held[max(kept - 1, 0) :], min(kept, 1)
        return pieces

    def end(self, *, is_whole: bool = True) -> list[Delta | Reasoning]:
        """``is_whole``: the answer was not cut off."""
        pieces: list[Delta | Reasoning] = []
        self._say(len(self._held), pieces)
        if self._presumed and is_whole:
            pieces.append(Delta("".join(self._presumed)))
            self._presumed, self.is_unopened = None, False
        return pieces

    def _next_tag(self) -> re.Match[str] | None:
        pattern = re.compile(re.escape(self._closing), re.IGNORECASE) if self._closing else _TAG
        return pattern.search(self._held, self._said)

    def _first_of_a_tag(self) -> int:
        """Where the text ends in what may become one."""
        at = self._held.rfind("<", self._said)
        begun = self._held[at:].lower()
        tags = (self._closing.lower(),) if self._closing else _TAGS
        return at if at >= 0 and any(tag.startswith(begun) for tag in tags) else len(self._held)

    def _pass(self, tag: re.Match[str]) -> None:
        self._is_fresh = True
        if self._closing:
            self._closing, self._presumed = "", None
        elif tag[1]:
            self.is_unopened = not self._has_opened
        else:
            self._closing, self._has_opened = f"</{tag[2]}>", True

    def _say(self, end: int, pieces: list[Delta | Reasoning]) -> None:
        text, self._said = self._held[self._said : end], end
        text = text.lstrip() if self._is_fresh else text
        if text:
            self._is_fresh = False
            pieces.append(Reasoning(text) if self._closing else Delta(text))
            if self._presumed is not None:
                self._presumed.append(text)
