from __future__ import annotations

import numpy as np

from core.models.student import MAX_VECTOR, reduce_vectors

GOLDEN = [0.0, -0.5, 1.75, -0.75, 0.5, -1.75]


def test_narrow_vectors_are_kept():
    vectors = np.array([[1.5, -2.0], [0.25, 1e9]], dtype=np.float32)
    assert reduce_vectors(vectors).tolist() == [[1.5, -2.0], [0.25, 65504.0]]


def test_wide_vectors_are_projected_and_keep_their_distances():
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(200, 384)).astype(np.float32)
    reduced = reduce_vectors(vectors).astype(np.float64)
    assert reduced.shape == (200, MAX_VECTOR)
    before = np.linalg.norm(vectors[:100] - vectors[100:], axis=1)
    after = np.linalg.norm(reduced[:100] - reduced[100:], axis=1)
    assert abs(np.mean(after / before) - 1) < 0.05
    assert np.std(after / before) < 0.15  # 1/sqrt(2 * 64) = 0.09


def test_the_projection_is_the_same_on_every_machine():
    assert reduce_vectors(np.ones((1, 100), np.float32))[0, :6].tolist() == GOLDEN
