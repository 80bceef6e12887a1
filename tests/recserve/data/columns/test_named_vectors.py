"""Rows of named vectors: unit length, zeros where there is none, newer ones over older ones."""

from __future__ import annotations

import numpy as np

from recserve import Catalogue, Vocabulary
from recserve.data.columns.named_vectors import LaterVectors, NamedVectors, unit_rows, vectors_in


def test_rows_follow_the_vocabulary() -> None:
    named = NamedVectors(["c", "x", "a"], np.array([[3, 4], [1, 1], [0, -2]], dtype=np.float32))
    np.testing.assert_allclose(named.over(Vocabulary(["a", "b", "c"])), [[0, -1], [0, 0], [0.6, 0.8]])


def test_unit_rows_are_so_whatever_their_size() -> None:
    huge = np.float32(3e38)
    rows = np.array([[huge, huge], [1e-38, 0], [0, 0], [2e-45, 2e-45]], dtype=np.float32)
    root = np.sqrt(0.5)
    np.testing.assert_allclose(unit_rows(rows), [[root, root], [1, 0], [0, 0], [root, root]], atol=1e-6)


def test_newer_rows_come_over_the_bundles() -> None:
    space = np.eye(3, dtype=np.float32)
    later = {"image": LaterVectors(np.array([1, 3]), np.array([[0, 0, 1], [1, 0, 0]], dtype=np.float32))}
    rows = np.array([[0, 1, 2], [3, 4, -1]], dtype=np.int32)
    found = vectors_in(space, "image", rows, later)
    assert found.tolist() == [[[1, 0, 0], [0, 0, 1], [0, 0, 1]], [[1, 0, 0], [0, 0, 0], [0, 0, 0]]]
    catalogue = Catalogue(["a", "b", "c"], spaces={"image": space})
    assert catalogue.gather_space("image", rows).tolist()[1] == [[0, 0, 0]] * 3
    np.testing.assert_array_equal(catalogue.gather_space("image", rows, later), found)
    assert catalogue.with_vectors(space).spaces.keys() == {"image"}
