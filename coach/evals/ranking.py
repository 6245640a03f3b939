"""How good a ranking is: the usual figures of information retrieval, each between 0 and 1."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Self

import msgspec
from msgspec import Struct

METRICS = ("R@5", "R@10", "R@20", "hit@10", "nDCG@10", "MRR")


class Scores(Struct, frozen=True):
    """Of one question, or the means of many; in the order of ``METRICS``."""

    recall_5: float
    recall_10: float
    recall_20: float
    hit_10: float
    ndcg_10: float
    mrr: float

    @classmethod
    def mean(cls, scores: Sequence[Self]) -> Self:
        columns = zip(*(msgspec.structs.astuple(each) for each in scores), strict=True)
        return cls(*(sum(column) / len(scores) for column in columns))


def score(ranked: Sequence[str], relevant: Collection[str]) -> Scores:
    """``ranked`` ids, best first, against the ``relevant`` ones (binary gains, against the best possible order)."""
    hits = [id_ in relevant for id_ in ranked]

    def recall(depth: int) -> float:
        return sum(hits[:depth]) / len(relevant)

    gain = sum(discount(rank) for rank, hit in enumerate(hits[:10]) if hit)
    best = sum(discount(rank) for rank in range(min(10, len(relevant))))
    first = next((rank for rank, hit in enumerate(hits) if hit), None)
    return Scores(
        recall_5=recall(5),
        recall_10=recall(10),
        recall_20=recall(20),
        hit_10=float(any(hits[:10])),
        ndcg_10=gain / best,
        mrr=0.0 if first is None else 1 / (first + 1),
    )


def discount(rank: int) -> float:
    return 1 / math.log2(rank + 2)
