"""What retrieval works with: vectors, sources, and the receipt of what was read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from pgvector.utils import HalfVector

DIMENSIONS = 1536
"""Width of every stored vector; each embedder brings its own to it without changing a cosine."""

Vector = NDArray[np.float32]


def halfvec(vector: Vector) -> object:
    """A vector as a statement's parameter; it travels in binary, a fifth of the text's time."""
    return HalfVector(vector)  # type: ignore[no-untyped-call]


Domain = str
"""A kind of source: one of ``coach.kinds.registry.kind_names()``."""


class Embedder(Protocol):
    """Turns text into unit vectors of ``DIMENSIONS``.

    Raises ``EmbedderUnavailable`` where the upstream does not answer, or answers with a wrong count or width.
    """

    @property
    def model(self) -> str:
        """The name that is stored beside each vector; two models' vectors are never compared."""

    async def embed_query(self, text: str) -> Vector:
        """``text`` as float32 ``(DIMENSIONS,)``."""

    async def embed_documents(self, texts: Sequence[str]) -> Vector:
        """``texts`` as float32 ``(len(texts), DIMENSIONS)``."""

    async def aclose(self) -> None:
        """Let go of connections."""


class Source(Struct, frozen=True):
    """One row of this user's that the coach may cite.

    ``source_id`` is ``<domain>:<entity id>``, of memory ``conversation:<row id>``; ``text`` is the whole snippet, what
    the model reads; ``score`` is comparable within one search only, higher is better.
    """

    source_id: str
    domain: Domain
    id: str
    title: str
    text: str
    score: float
    updated_at: datetime
    conversation_id: str | None = None
    message_id: str | None = None


class Withheld(Struct, frozen=True):
    """A kind of source that was not read, and the consent (or fault) that kept it out."""

    source: str
    reason: str


class Receipt(Struct, frozen=True):
    """What a turn read: shown to the user, stored with the answer."""

    used: tuple[str, ...] = ()
    withheld: tuple[Withheld, ...] = ()
    stale: int = 0
    retrieval_ms: int = 0


class Context(Struct, frozen=True):
    """Combined context for one question, best source first. ``state`` is the block of live facts (plain lines)."""

    sources: tuple[Source, ...] = ()
    state: str = ""
    receipt: Receipt = Receipt()
