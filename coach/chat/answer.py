"""The answer while it comes: its text and its pace."""

from __future__ import annotations

from time import monotonic

from coach.models.base import Completion, FinishReason, Usage


class Answer:
    """Text so far. ``completion`` is there once the model has said how it ended; ``began`` is a ``monotonic`` time."""

    def __init__(self, began: float) -> None:
        self._pieces: list[str] = []
        self._began = began
        self.bytes = 0
        self.first_token_ms: int | None = None
        self.completion: Completion | None = None

    def append(self, text: str) -> None:
        if self.first_token_ms is None:
            self.first_token_ms = self.elapsed_ms
        self._pieces.append(text)
        self.bytes += len(text.encode())

    @property
    def elapsed_ms(self) -> int:
        """Since the question arrived."""
        return round((monotonic() - self._began) * 1000)

    @property
    def text(self) -> str:
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    @property
    def usage(self) -> Usage | None:
        return self.completion.usage if self.completion else None

    @property
    def reason(self) -> FinishReason:
        return self.completion.reason if self.completion else "other"
