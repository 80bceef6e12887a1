"""The projection behind the map of vectors."""

from __future__ import annotations

import numpy as np

from recserve import Catalogue, Item
from recserve.api.backends.desks.vector_map import project


def catalogue(vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> Catalogue:
    return Catalogue.of([Item(f"i{n}") for n in range(len(vectors))], vectors)


def test_it_keeps_the_two_directions_in_which_vectors_differ_most() -> None:
    rng = np.random.default_rng(3)
    plane = rng.normal(size=(300, 2)) * (5.0, 2.0)
    axes, _ = np.linalg.qr(rng.normal(size=(16, 2)))
    vectors = (plane @ axes.T + 0.01 * rng.normal(size=(300, 16)) + 3.0).astype(np.float32)
    found = project("b", catalogue(vectors))
    assert found.explained > 0.99
    assert np.abs(found.points).max() == 1.0
    assert abs(np.corrcoef(found.points[:, 0], plane[:, 0])[0, 1]) > 0.99
    assert abs(np.corrcoef(found.points[:, 1], plane[:, 1])[0, 1]) > 0.99
    again = project("b", catalogue(vectors))
    assert np.array_equal(found.points, again.points)


def test_of_many_items_it_shows_a_sample() -> None:
    vectors = np.random.default_rng(4).normal(size=(500, 8)).astype(np.float32)
    found = project("b", catalogue(vectors), most=100)
    assert (len(found.points), found.items) == (100, 500)
    assert len(np.unique(found.rows)) == 100
    assert found.rows[0] < 50 < 450 < found.rows[-1]


def test_odd_catalogues_are_mapped_too() -> None:
    assert len(project("b", Catalogue(["a", "b"])).points) == 0
    same = project("b", catalogue(np.ones((3, 4), np.float32)))
    assert (same.explained, same.points.tolist()) == (0.0, [[0.0, 0.0]] * 3)
    line = project("b", catalogue(np.array([[0.0], [1.0], [2.0]], np.float32)))
    assert line.points[:, 1].tolist() == [0.0] * 3
    assert sorted(line.points[:, 0].tolist()) == [-1.0, 0.0, 1.0]
