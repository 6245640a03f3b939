"""``offline``: answers from the context it is given, with no key, no network and no LangChain import.

``coach.models.offline_chat.OfflineChat`` is the same model for LangChain users; ``offline_reply`` serves both.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence

from msgspec import Struct

from coach.models.base import (
    AS_THE_MODEL_LIKES,
    ChatMessage,
    Completion,
    Delta,
    FinishReason,
    ModelOptions,
    Piece,
    Usage,
)
from coach.models.offline_answer import compose_answer
from coach.models.offline_reading import read_prompt
from coach.models.offline_ui_tasks import answer_ui_task

NAME = "offline"
CONTEXT_TOKENS = 16_384

_LONGEST = 24
_TOKEN = re.compile(rf"\s*\S{{1,{_LONGEST}}}|\s+\Z")
"""Its tokens are words with the space before them; a run without spaces counts once per 24 characters."""

# Without a delay a whole answer would keep the event loop for itself; a pause at every word costs 10x the composing.
_WORDS_BETWEEN_PAUSES = 8


class Reply(Struct, frozen=True):
    """A whole answer, cut into the words it streams as."""

    pieces: tuple[str, ...]
    reason: FinishReason
    usage: Usage


def offline_reply(messages: Sequence[ChatMessage], options: ModelOptions = AS_THE_MODEL_LIKES) -> Reply:
    """Compose the answer to a prompt. ``stop`` and ``max_tokens`` are obeyed; it has no temperature and no seed."""
    reading = read_prompt(messages)
    text = answer_ui_task(reading.question) if reading.is_ui_task else compose_answer(reading)
    ends = [at for stop in options.stop if stop and (at := text.find(stop)) >= 0]
    pieces = tuple(_TOKEN.findall(text[: min(ends)] if ends else text))
    reason: FinishReason = "stop"
    if options.max_tokens is not None and len(pieces) > options.max_tokens:
        pieces, reason = pieces[: options.max_tokens], "length"
    return Reply(pieces, reason, Usage(sum(count_words(m.content) for m in messages), len(pieces)))


def count_words(text: str) -> int:
    """As many as ``_TOKEN`` finds, in a tenth of its time: a turn counts its whole prompt."""
    runs = text.split()
    if not runs or len(max(runs, key=len)) <= _LONGEST:
        return len(runs)
    return sum(-(-len(run) // _LONGEST) for run in runs)


class OfflineModel:
    """A ``ChatModel`` that needs nothing. ``word_delay`` is the seconds between two words."""

    name = NAME
    context_tokens = CONTEXT_TOKENS

    def __init__(self, word_delay: float = 0.0) -> None:
        self.word_delay = word_delay

    async def stream(
        self, messages: Sequence[ChatMessage], options: ModelOptions = AS_THE_MODEL_LIKES
    ) -> AsyncGenerator[Piece, None]:
        reply = offline_reply(messages, options)
        for number, piece in enumerate(reply.pieces):
            if self.word_delay or number % _WORDS_BETWEEN_PAUSES == 0:
                await asyncio.sleep(self.word_delay)
            yield Delta(piece)
        yield Completion(reply.reason, reply.usage, self.name)

    def count_tokens(self, text: str) -> int:
        return count_words(text)

    async def aclose(self) -> None:
        """It holds nothing."""
