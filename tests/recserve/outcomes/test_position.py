"""Position bias is found in clicks, whatever is shown where."""

from __future__ import annotations

import numpy as np

from recserve.outcomes.position import PLACES, comparisons, examination


def clicks(
    truth: list[float], per_item: int, seed: int = 0
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Comparisons of made-up clicks: better items are more often at the top, but are everywhere."""
    draw = np.random.default_rng(seed)
    items, places = 200, len(truth)
    attraction = draw.uniform(0.02, 0.6, items)
    item = np.repeat(np.arange(items), per_item)
    # Items that attract more stand higher more often, so that raw rates by place are biased.
    wish = draw.beta(1 + 3 * (1 - attraction[item]), 1 + 3 * attraction[item])
    place = np.minimum((wish * places).astype(int), places - 1)
    hit = draw.random(len(item)) < attraction[item] * np.array(truth)[place]
    keys, rows = np.unique(item * PLACES + place, return_inverse=True)
    return comparisons(
        keys // PLACES, keys % PLACES, np.bincount(rows).astype(float), np.bincount(rows, hit).astype(float)
    )


def test_examination_is_estimated() -> None:
    truth = [1.0, 0.7, 0.45, 0.3, 0.2]
    found = examination(clicks(truth, 3_000))
    np.testing.assert_allclose(found[:5], truth, rtol=0.05)
    assert found[5:].tolist() == [found[4]] * (PLACES - 5), "places that nothing is known of"


def test_few_impressions_an_item_are_enough() -> None:
    truth = [1.0, 0.5, 0.25]
    weights = sum(clicks(truth, 6, seed) for seed in range(150))
    np.testing.assert_allclose(examination(weights)[:3], truth, rtol=0.1)


def test_strata_that_say_nothing_do_no_harm() -> None:
    nobody = comparisons(np.array([1, 1]), np.array([0, 1]), np.array([50.0, 50.0]), np.zeros(2))
    alone = comparisons(np.array([1, 2]), np.array([0, 1]), np.array([50.0, 50.0]), np.array([9.0, 9.0]))
    assert not nobody.any()
    assert not alone.any()
    assert examination(nobody + alone).tolist() == [1.0] * PLACES


def test_places_that_are_never_clicked_are_not_looked_at() -> None:
    weights = comparisons(np.array([1, 1]), np.array([0, 1]), np.array([500.0, 500.0]), np.array([90.0, 0.0]))
    assert examination(weights)[1] < 1e-6


def test_comparisons_of_days_add_up() -> None:
    first, second = clicks([1.0, 0.5], 50, 1), clicks([1.0, 0.5], 50, 2)
    np.testing.assert_allclose((first + second).T, first.T + second.T)
    assert (first >= 0).all()
