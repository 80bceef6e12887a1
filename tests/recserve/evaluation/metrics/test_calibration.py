"""Calibration and popularity lift against numbers worked out by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pytest

from recserve import Catalogue, ConfigError, Dataset, EventType, Histories
from recserve.evaluation import choose_attribute
from recserve.evaluation.bootstrap import growth_interval
from recserve.evaluation.metrics.calibration import Calibration, list_popularity, popularity


def catalogue(*attributes: dict) -> Catalogue:
    return Catalogue([f"i{row}" for row in range(len(attributes))], [json.dumps(one) for one in attributes])


def histories(*lists: list[tuple[int, float]]) -> Histories:
    flat = [one for events in lists for one in events]
    return Histories(
        np.concatenate([[0], np.cumsum([len(one) for one in lists])]).astype(np.int64),
        np.array([item for item, _ in flat], np.int32),
        np.zeros(len(flat), np.int16),
        np.array([weight for _, weight in flat], np.float32),
        np.arange(len(flat), dtype=np.int64),
    )


FILMS = catalogue(
    {"genres": ["drama"], "title": "A"},
    {"genres": ["drama", "war"], "title": "B"},
    {"genres": ["war"], "title": "C"},
    {"genres": [], "title": "D"},
    {"genres": ["comedy"], "title": "E"},
)


def test_calibration_by_hand():
    calibration = Calibration(FILMS, "genres")
    # The user: drama twice as much as war, from weights 1 and 1 on (drama) and (drama, war) ... 3/4, 1/4.
    past = histories([(0, 1.0), (1, 1.0)], [(0, 1.0), (1, 1.0)], [(0, 1.0)], [], [(0, -1.0)])
    ranked = np.array([[0, 1], [2, 3], [4, -1], [0, 1], [0, 1]], dtype=np.int32)
    values = calibration.divergence(ranked, past, [2])["calibration@2"]
    # The very same items: the very same mix.
    assert values[0] == pytest.approx(0.0, abs=1e-12)
    # Only war, and an item without any genre.
    drama, war = 0.75, 0.25
    expected = drama * math.log(drama / (0.01 * drama)) + war * math.log(war / (0.99 + 0.01 * war))
    assert values[1] == pytest.approx(expected)
    assert values[2] == pytest.approx(math.log(1 / 0.01))
    # Nobody has a mix who did nothing, or liked nothing.
    assert np.isnan(values[3:]).all()


def test_weights_of_events_count():
    calibration = Calibration(FILMS, "genres")
    ranked = np.array([[0, 2], [0, 2]], dtype=np.int32)
    even = histories([(0, 1.0), (2, 1.0)], [(0, 9.0), (2, 1.0)])
    values = calibration.divergence(ranked, even, [2])["calibration@2"]
    assert values[0] == pytest.approx(0.0, abs=1e-12)
    assert values[1] > 0.3


def test_an_unknown_attribute_is_one_clear_line():
    with pytest.raises(ConfigError, match=r"no item has the attribute 'genre' .*known: genres, title"):
        Calibration(FILMS, "genre")


def test_the_attribute_is_the_one_that_most_items_have():
    assert choose_attribute(FILMS) == "title"
    many = catalogue(
        *(
            {"title": f"t{row}", "genres": ["a", "b"][: 1 + row % 2], "year": 1990 + row % 3}
            for row in range(300)
        )
    )
    # Titles are too many, years are numbers.
    assert choose_attribute(many) == "genres"
    assert choose_attribute(catalogue({"title": "x"}, {})) is None
    assert choose_attribute(catalogue({}, {})) is None


def test_popularity_lift_by_hand():
    events = pa.table(
        {
            "user_id": ["a", "b", "c", "d", "a"],
            "item_id": ["i0", "i0", "i0", "i1", "i2"],
            "event": ["view"] * 5,
            "value": pa.array([None] * 5, pa.float64()),
            "timestamp": pa.array(range(5), pa.int64()),
        }
    )
    popular = popularity(Dataset.from_tables(FILMS, events, {"view": EventType()}))
    assert popular.tolist() == [0.75, 0.25, 0.25, 0.0, 0.0]
    past = histories([(1, 1.0), (2, 1.0)], [(0, 1.0)], [])
    ranked = np.array([[0, 1], [1, 2], [0, -1]], dtype=np.int32)
    before, lists = list_popularity(ranked, past, popular, [1, 2])
    assert before[:2].tolist() == [0.25, 0.75]
    assert np.isnan(before[2])
    assert lists[1].tolist() == [0.75, 0.25, 0.75]
    assert lists[2].tolist() == [0.5, 0.25, 0.75]


def test_growth_divides_means_and_leaves_out_who_has_only_one_value():
    before = np.array([0.2, 0.4, np.nan, 0.5])
    after = np.array([0.4, 0.5, 0.9, np.nan])
    grown = growth_interval(before, after)
    assert grown.mean == pytest.approx(0.9 / 0.6 - 1)
    assert grown.low == pytest.approx(0.5 / 0.4 - 1)
    assert grown.high == pytest.approx(0.4 / 0.2 - 1)
    assert np.isnan(growth_interval(before[2:], after[2:]).mean)
    rng = np.random.default_rng(0)
    many = rng.gamma(5.0, size=4000)
    grown = growth_interval(many, many * rng.normal(1.2, 0.3, size=4000), seed=1)
    assert grown.low < 0.2 < grown.high
    assert grown.high - grown.low < 0.05
