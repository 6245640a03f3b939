"""Vectors of any width come to the stored one with every cosine as it was."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest

from coach.errors import EmbedderUnavailable
from coach.retrieval.base import DIMENSIONS
from coach.retrieval.lift import lift


def vectors(count: int, width: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)


def cosines(rows: np.ndarray) -> np.ndarray:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit @ unit.T


@pytest.mark.parametrize("width", [1, 3, 100, 256, 257, 384, 512, 768, 1024, 1536])
def test_every_cosine_stays_and_lengths_become_one(width: int) -> None:
    rows = vectors(20, width)

    lifted = lift(rows, "any")

    assert lifted.shape == (20, DIMENSIONS)
    assert lifted.dtype == np.float32
    np.testing.assert_allclose(cosines(lifted), cosines(rows), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(lifted, axis=1), 1, atol=1e-5)


def test_all_sign_bits_of_a_narrow_vector_say_something() -> None:
    """Zero-padding would leave 1,280 of them always off."""
    lifted = lift(vectors(400, 256), "any")

    share_of_ones = (lifted > 0).mean(axis=0)

    assert share_of_ones.min() > 0.35
    assert share_of_ones.max() < 0.65


def test_hamming_distance_of_the_lifted_signs_finds_the_nearest() -> None:
    rows = vectors(3_000, 256)
    question = rows[7] + 0.7 * vectors(1, 256, seed=2)[0]
    lifted, asked = lift(rows, "any"), lift(question[None], "any")[0]

    candidates = np.argsort(((lifted > 0) != (asked > 0)).sum(axis=1))[:200]
    nearest = np.argsort(-(lifted @ asked))[:10]

    assert set(nearest) <= set(candidates)


def test_the_lift_is_the_one_that_stored_vectors_were_made_with() -> None:
    """Another isometry would make every stored vector noise."""
    basis = np.eye(256, dtype=np.float32)
    signs = np.packbits(lift(basis, "any") > 0).tobytes()

    assert sha256(signs).hexdigest() == "c3d00425063db65561da87c2a9a07cc84dc532b73c130610d9d545b6540fb990"


def test_a_vector_without_direction_gets_one_instead_of_not_being_a_number() -> None:
    lifted = lift(np.zeros((2, 256), np.float32), "any")

    assert np.isfinite(lifted).all()
    np.testing.assert_allclose(np.linalg.norm(lifted, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("width", [0, 1537, 3072])
def test_a_width_that_does_not_fit_is_named(width: int) -> None:
    with pytest.raises(EmbedderUnavailable, match=rf"giant-embed answered with {width} dimensions"):
        lift(np.ones((1, width), np.float32), "giant-embed")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(bad: float) -> None:
    rows = vectors(3, 256)
    rows[1, 5] = bad

    with pytest.raises(EmbedderUnavailable, match="not finite"):
        lift(rows, "any")
