"""A circuit breaker before the embedder: one that hangs costs a question a second, and then nothing until it answers.

The words decide meanwhile. While the circuit is open, one call every few seconds goes out beside a question that does
not wait for it; the first answer closes the circuit. A call that took too long is such a probe as well.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from coach.errors import EmbedderUnavailable
from coach.retrieval.base import Embedder, Vector
from coach.values.background import BackgroundTasks

PATIENCE = 1.0
"""Seconds that a question waits for its vector."""
PAUSE = 5.0
"""Seconds from one probe to the next."""

_PROBES = 4
"""Calls that may hang at a time."""

_log = structlog.get_logger(__name__)


class Breaker:
    """Of one embedder. ``patience`` and ``pause`` in seconds."""

    def __init__(self, embedder: Embedder, patience: float = PATIENCE, pause: float = PAUSE) -> None:
        self._embedder, self._patience, self._pause = embedder, patience, pause
        self._probe_from: float | None = None  # none while the circuit is closed
        self._calls = BackgroundTasks("embedder_probe_broke")

    async def embed_query(self, text: str) -> Vector:
        """:raises EmbedderUnavailable: it fails, it took too long, or it has not answered since."""
        now = asyncio.get_running_loop().time()
        if self._probe_from is not None:
            if now >= self._probe_from and len(self._calls) < _PROBES:
                self._probe_from = now + self._pause
                self._calls.start(self._probe(text))
            raise EmbedderUnavailable(f"The embedder {self._embedder.model} has not answered yet.")
        call = self._calls.start(self._call(text), is_awaited=True)
        try:
            done, _ = await asyncio.wait({call}, timeout=self._patience)
        except asyncio.CancelledError:
            call.cancel()
            raise
        if not done:
            self._open()
            raise EmbedderUnavailable(f"The embedder {self._embedder.model} did not answer in time.")
        return call.result()

    async def aclose(self) -> None:
        await self._calls.aclose()

    async def _probe(self, text: str) -> None:
        with suppress(EmbedderUnavailable):
            await self._call(text)

    async def _call(self, text: str) -> Vector:
        try:
            vector = await self._embedder.embed_query(text)
        except EmbedderUnavailable as error:
            if not error.is_about_text:
                self._open()
            raise
        if self._probe_from is not None:
            self._probe_from = None
            _log.info("embedder_answers_again", model=self._embedder.model)
        return vector

    def _open(self) -> None:
        if self._probe_from is None:
            _log.warning("embedder_does_not_answer", model=self._embedder.model)
        self._probe_from = asyncio.get_running_loop().time() + self._pause
