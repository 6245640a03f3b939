"""The default embedder: wordllama's 256 dimensions, out of the wheel, with numpy alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from coach.retrieval.base import DIMENSIONS, Vector
from coach.retrieval.lift import lift

NAME = "wordllama"
INLINE_CHARACTERS = 8_000
"""Up to here embedding takes well under a millisecond, less than handing it to a thread and back."""
TOKENIZED_ALONE = 8
TOKENIZED_TOGETHER = 200_000
"""Characters. A batch holds some 200 bytes for each: 64 messages of 32,000 characters took 1.4 GB."""
BLOCK = 8_192

_loading = Lock()


class WordllamaEmbedder:
    """Means of word-piece vectors, lifted to the stored width. Loads (0.3 s) on first use; needs no network."""

    model = NAME

    async def embed_query(self, text: str) -> Vector:
        rows = await self.embed_documents([text])
        return rows.reshape(-1)

    async def embed_documents(self, texts: Sequence[str]) -> Vector:
        loaded = _load.cache_info().currsize
        if loaded and sum(map(len, texts)) <= INLINE_CHARACTERS:
            return _embed(texts)
        return await asyncio.to_thread(_embed, texts)

    async def aclose(self) -> None:
        """There is nothing to let go of."""


def _embed(texts: Sequence[str]) -> Vector:
    if not texts:
        return np.empty((0, DIMENSIONS), np.float32)
    with _loading:
        wordllama = _load()
    pieces = wordllama.embedding
    # A lone surrogate is no text, and the tokenizer refuses it.
    clean = [text.encode("utf-8", "replace").decode() for text in texts]
    means = np.zeros((len(texts), pieces.shape[1]), np.float32)
    for row, ids in enumerate(_tokenized(wordllama.tokenizer, clean)):
        if ids:
            means[row] = _mean(pieces, ids)
    return lift(means, NAME)


def _mean(pieces: Vector, ids: Sequence[int]) -> Vector:
    """Block by block: the vectors of a message of 2 MB, all at once, took 530 MB."""
    total = np.zeros(pieces.shape[1], np.float32)
    for first in range(0, len(ids), BLOCK):
        total += pieces[ids[first : first + BLOCK]].sum(axis=0)
    return total / np.float32(len(ids))


@cache
def _load() -> Any:
    """Once a process: the table and the tokenizer take 75 MB."""
    import_quietly()
    import wordllama

    model = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
    model.tokenizer.no_padding()
    return model


def _tokenized(tokenizer: Any, texts: Sequence[str]) -> Iterator[list[int]]:
    """A turn's two texts one by one: for them the threads of a batch take three times as long, and a core each."""
    if len(texts) <= TOKENIZED_ALONE or sum(map(len, texts)) > TOKENIZED_TOGETHER:
        return (tokenizer.encode(text, add_special_tokens=False).ids for text in texts)
    return (encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False))


def import_quietly() -> None:
    """Import wordllama, which calls ``logging.basicConfig`` on import, without letting it set up this process's log."""
    root, occupied = logging.getLogger(), logging.NullHandler()
    root.addHandler(occupied)
    try:
        import wordllama  # noqa: F401
    finally:
        root.removeHandler(occupied)
