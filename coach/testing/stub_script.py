"""The steps of the provider stub: it answers a request, or fails as providers fail."""

from __future__ import annotations

from msgspec import Struct

FOREVER = 1e9
HELD = -1.0
"""Instead of seconds: until the stub is told to go on."""

WORDS = ("one", "small", "honest", "step", "today", "beats", "a", "plan", "for", "someday")


class Answer(Struct, frozen=True, tag=True):
    """A good answer: ``text``, or ``tokens`` words; ``rate`` tokens a second (0: all at once).

    ``held_after`` tokens it says no more until ``StubProvider.go_on``: what a reader does in the middle of an answer
    does not depend on how fast it is.
    """

    text: str | None = None
    tokens: int = 10
    rate: float = 0.0
    first_token: float = 0.0
    held_after: int | None = None
    finish: str | None = "stop"
    has_usage: bool = True
    is_done: bool = True

    @property
    def pieces(self) -> list[str]:
        if self.text is None:
            return [f"{WORDS[i % len(WORDS)]} " for i in range(self.tokens)]
        words = self.text.split(" ")
        return [f" {word}" if i else word for i, word in enumerate(words)] if self.text else []


class Status(Struct, frozen=True, tag=True):
    """An HTTP error. ``retry_after`` goes into the header as it stands."""

    code: int
    retry_after: str | float | None = None
    message: str = "The stub was told to refuse this."


class Stall(Struct, frozen=True, tag=True):
    """Silence after ``after`` tokens, until the client leaves; with no ``headers`` not even the status line comes."""

    after: int = 0
    headers: bool = True


class Garbage(Struct, frozen=True, tag=True):
    """A line that is no JSON after ``after`` tokens; the rest follows."""

    after: int = 0
    line: str = 'data: {"choices": [{"delta": {"con'


class ErrorEvent(Struct, frozen=True, tag=True):
    """A JSON error event in the stream after ``after`` tokens, and the stream ends."""

    after: int = 0
    message: str = "The server had an error while processing your request."
    code: str = "server_error"


class Raw(Struct, frozen=True, tag=True):
    """Exactly these bytes from the status line on, and the connection is closed: a cut at any byte."""

    data: bytes


class Body(Struct, frozen=True, tag=True):
    """A whole body of any kind with status 200."""

    text: str
    content_type: str = "application/json"


class Embeddings(Struct, frozen=True, tag=True):
    """Vectors that follow from the text, ``missing`` of them left out; ``has_nan`` in the first one."""

    width: int | None = None
    missing: int = 0
    has_nan: bool = False
    delay: float = 0.0


ChatStep = Answer | Status | Stall | Garbage | ErrorEvent | Raw | Body
EmbeddingStep = Embeddings | Status | Stall | Raw | Body


class Script(Struct, frozen=True):
    """What ``POST /_stub/script`` takes. Queued steps are used once each, in order, then the default serves again."""

    reset: bool = False
    go_on: bool = False
    chat: tuple[ChatStep, ...] = ()
    embeddings: tuple[EmbeddingStep, ...] = ()
    always: ChatStep | None = None
    always_embeddings: EmbeddingStep | None = None
    refused_parameters: tuple[str, ...] = ()
