"""Random vectors that lie as those of texts do: in topics, within far fewer directions than their width."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from coach.retrieval.base import DIMENSIONS, Vector

DIRECTIONS = 128
"""How many directions the vectors really use; embeddings of texts use about a hundred. With all 1,536 (isotropic noise)
an off-topic question has no near rows at all, the best cosine being .08, and no order to find among them."""


class Space:
    """``topics`` random topics; a vector about one has a cosine of about .5 with another about it."""

    def __init__(self, topics: int, dice: Generator) -> None:
        self.topics, self._dice = topics, dice
        self._centres = self._noise(topics)
        frame, _ = np.linalg.qr(dice.standard_normal((DIMENSIONS, DIRECTIONS)))
        self._frame = frame.T.astype(np.float32)

    def about(self, topics: NDArray[np.integer[Any]]) -> Vector:
        """A vector ``(DIMENSIONS,)`` of length one for each of ``topics``."""
        rows: Vector = (self._centres[topics] + self._noise(len(topics))) @ self._frame
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows

    def _noise(self, count: int) -> Vector:
        return self._dice.standard_normal((count, DIRECTIONS), dtype=np.float32)
