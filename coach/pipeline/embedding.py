"""Embeds many texts at once, and decides on a failure whether the provider or one text is at fault."""

from __future__ import annotations

from collections.abc import Sequence

from coach.errors import EmbedderUnavailable
from coach.kinds.text import searched
from coach.retrieval.base import Embedder, Vector
from coach.values.background import log_failure

CALL = 500
PROBE = "A quiet walk before breakfast."
"""A harmless text that is no user's. If even this fails, no text is at fault."""

Outcome = Vector | EmbedderUnavailable


async def embed(embedder: Embedder, texts: Sequence[str]) -> list[Outcome]:
    """A vector for what is ``searched`` of each text, or the fault that is this text's own.

    :raises EmbedderUnavailable: the upstream as a whole: away, at its rate limit, refusing us.
    """
    outcomes: list[Outcome] = []
    for start in range(0, len(texts), CALL):
        outcomes.extend(await _embed(embedder, [searched(text) for text in texts[start : start + CALL]]))
    return outcomes


async def _embed(embedder: Embedder, texts: Sequence[str]) -> list[Outcome]:
    try:
        return list(await embedder.embed_documents(texts))
    except EmbedderUnavailable as error:
        if error.is_refusal or error.retry_after is not None:
            raise
        fault = error
    except Exception as error:  # noqa: BLE001 - of one text, whatever it is that it does to an embedder
        log_failure("texts_not_embedded", error, texts=len(texts))
        fault = EmbedderUnavailable(f"It could not be embedded ({type(error).__name__}).")
    # Probe before the search and before each verdict. Halving 500 texts at a dead provider would be a thousand calls.
    # If the provider dies during the search, the text of that moment would be blamed.
    await embedder.embed_query(PROBE)
    if len(texts) == 1:
        return [fault]
    middle = len(texts) // 2
    return [*await _embed(embedder, texts[:middle]), *await _embed(embedder, texts[middle:])]
