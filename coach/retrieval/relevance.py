"""The relevance gate: whether what a search found bears on the question at all. Measured in decision 0004.

A search always finds something. The three best together, or one of them alone, tell whether it is more than noise; the
rest cannot: a message often answers without a word of the question, and is found by its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from coach.retrieval.search import Found

LOOKED_AT = 8
TOGETHER, ALONE = 0.40, 0.55
"""What the three best have on average, and one has by itself."""

ALONE_AMONG_FEW = 0.30
"""Where a user has fewer rows than are looked at, the mean says nothing, and noise has had few chances to come near."""

WORD = 0.04
"""What a unit of a row's words adds to its similarity: a rare word that it shares with the question about 0.12."""

UNRELATED = {"text-embedding-ada-002": 0.7}
"""The cosine of texts that have nothing in common, by embedding model. Of a model that is not listed it is taken as 0,
so that a wrong guess lets noise through and keeps no source out."""


def is_relevant(found: Sequence[Found], model: str) -> bool:
    """Whether ``found``, best first, by vectors of ``model``, is worth showing. Where there are none, words decide."""
    best = found[:LOOKED_AT]
    if any(row.has_all_words for row in best) or all(row.similarity is None for row in best):
        return bool(best)
    near = sorted((_nearness(row, model) for row in best), reverse=True)
    words = sorted((WORD * row.words for row in best), reverse=True)
    alone = max(_nearness(row, model) + WORD * row.words for row in best)
    if len(found) < LOOKED_AT:
        return alone >= ALONE_AMONG_FEW
    return alone >= ALONE or fmean(near[:3]) + fmean(words[:3]) >= TOGETHER


def _nearness(row: Found, model: str) -> float:
    """0 for unrelated, 1 for the same."""
    unrelated = UNRELATED.get(model, 0.0)
    return ((row.similarity or 0.0) - unrelated) / (1 - unrelated)
