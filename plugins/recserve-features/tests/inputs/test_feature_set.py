"""Each type of feature on a few events, against values worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter
from recserve_features.inputs.clock import DAY_MS
from recserve_features.inputs.feature_set import FeatureSet
from recserve_features.parameters import Feature

from recserve import (
    Candidates,
    Catalogue,
    Dataset,
    EventOrder,
    FloatArray,
    Histories,
    Item,
    Queries,
    Vocabulary,
)

# 28 November 2026 is a Saturday.
SATURDAY = 20_785 * DAY_MS
ITEMS = [
    Item("a", {"topic": "x", "tags": ["p", "q"], "year": 2000}),
    Item("b", {"topic": "x", "tags": ["p"], "year": 2010}),
    Item("c", {"topic": "y", "tags": [], "year": 1990}),
    Item("d", {}),
]
CATALOGUE = Catalogue.of(ITEMS, np.eye(4, 5, dtype=np.float32))
# User, item, weight, day before Saturday.
EVENTS = [(0, 0, 1.0, 9), (0, 0, 1.0, 8), (1, 1, 1.0, 7), (1, 2, -1.0, 2), (2, 2, 1.0, 1)]


def data() -> Dataset:
    users, items, weights, days = (np.array(column) for column in zip(*EVENTS, strict=True))
    made = Dataset(
        CATALOGUE,
        Vocabulary(["u", "v", "w"]),
        users.astype(np.int32),
        items.astype(np.int32),
        np.zeros(len(users), np.int16),
        weights.astype(np.float32),
        (SATURDAY - days * DAY_MS).astype(np.int64),
        ("view",),
    )
    made.event_order = EventOrder.TIME
    return made


def query(
    events: Sequence[tuple[int, float, float]], at: int = SATURDAY, context: Mapping[str, Any] | None = None
) -> Queries:
    """One query of a history of (item, weight, days before)."""
    history = Histories(
        np.array([0, len(events)]),
        np.array([event[0] for event in events], dtype=np.int32),
        np.zeros(len(events), np.int16),
        np.array([event[1] for event in events], dtype=np.float32),
        np.array([at - event[2] * DAY_MS for event in events], dtype=np.int64),
    )
    asked = Queries.of(history, np.array([at]))
    return asked if context is None else _with_context(asked, context)


def _with_context(asked: Queries, context: Mapping[str, Any]) -> Queries:
    from dataclasses import replace

    return replace(asked, contexts=(context,))


def candidates(
    items: Sequence[int], sources: tuple[str, ...] = (), scores: Sequence[Sequence[float]] = ()
) -> Candidates:
    shape = (1, len(items))
    return Candidates(
        np.array([items], np.int32),
        -np.arange(len(items), dtype=np.float32)[None],
        sources,
        np.array([scores], np.float32).reshape(*shape, len(sources)),
        np.full(shape, -1, np.int32),
    )


def features(
    declared: Mapping[str, Any],
    asked: Queries | None = None,
    offered: Candidates | None = None,
    contexts: Sequence[Mapping[str, Any]] = (),
) -> FloatArray:
    """Columns of the one query's candidates, by default all items and a pad, shape (K, F)."""
    offered = candidates([0, 1, 2, 3, -1]) if offered is None else offered
    read = TypeAdapter(dict[str, Feature]).validate_python(declared)
    made = FeatureSet.of(read, CATALOGUE, "UTC").counted(data()).learnt(offered.sources, contexts)
    found = made.compute(query([]) if asked is None else asked, offered)
    assert found.shape[2] == len(made.names())
    return found[0]


def test_numbers_and_categories() -> None:
    found = features(
        {"year": {"type": "number", "attribute": "year"}, "topic": {"type": "category", "attribute": "topic"}}
    )
    np.testing.assert_array_equal(found[:, 0], [2000, 2010, 1990, np.nan, np.nan])
    np.testing.assert_array_equal(found[:, 1], [0, 0, 1, np.nan, np.nan])


def test_popularity_is_relative_and_decays() -> None:
    # Liked: a twice, b and c once; the mean of those with any is 4/3.
    found = features({"popularity": {"type": "popularity"}})[:, 0]
    expected = np.log((np.array([2, 1, 1, 0]) / (4 / 3) + 0.1) / 1.1)
    np.testing.assert_allclose(found[:4], expected, rtol=1e-6)
    assert np.isnan(found[4])
    aged = features({"popularity": {"type": "popularity", "half_life_days": 1.0}})[:, 0]
    assert aged[2] > aged[0], "c was liked last"
    by_topic = features({"popularity": {"type": "popularity", "attribute": "topic"}})[:, 0]
    assert by_topic[0] == by_topic[1] > by_topic[2]
    assert np.isnan(by_topic[3])


def test_a_rate_is_drawn_to_the_mean() -> None:
    found = features({"rate": {"type": "rate", "prior_events": 2.0}})[:, 0]
    mean = 3 / 5
    expected = [2 * (1 - mean) / 4, (1 - mean) / 3, (0 - 2 * mean) / 4, 0.0]
    np.testing.assert_allclose(found[:4], expected, rtol=1e-6)


def test_age_since_the_first_event() -> None:
    found = features({"age": {"type": "age"}})[:, 0]
    np.testing.assert_allclose(found[:3], np.log1p([9.0, 7.0, 2.0]), rtol=1e-6)
    assert np.isnan(found[3])


def test_affinity_is_the_share_of_the_history_over_everybodys() -> None:
    declared = {"affinity": {"type": "affinity", "attribute": "topic", "prior_events": 2.0}}
    nobody = features(declared)[:, 0]
    np.testing.assert_allclose(nobody[:3], 0.0, atol=1e-7)
    found = features(declared, query([(0, 1.0, 3.0), (2, 1.0, 1.0), (1, 1.0, 1.0), (2, -1.0, 1.0)]))[:, 0]
    # Everybody likes x three times and y once, of four events.
    x, y = 4 / 6, 2 / 6
    expected = [np.log((2 + 2 * x) / 5 / x)] * 2 + [np.log((1 + 2 * y) / 5 / y)]
    np.testing.assert_allclose(found[:3], expected, rtol=1e-5)
    assert np.isnan(found[3:]).all()
    disliked = {"aversion": {"type": "affinity", "attribute": "topic", "sign": "disliked"}}
    against = features(disliked, query([(2, -1.0, 1.0)]))[:, 0]
    assert against[2] > 0 > against[0]


def test_affinity_at_such_a_moment() -> None:
    # x on the Saturday before, y on weekdays; asked on a Saturday.
    past = [(0, 1.0, 7.0), (2, 1.0, 2.0), (2, 1.0, 3.0)]
    plain = {"affinity": {"type": "affinity", "attribute": "topic"}}
    then = {"affinity": {"type": "affinity", "attribute": "topic", "when": "weekend"}}
    assert features(plain, query(past))[0, 0] < features(plain, query(past))[2, 0]
    lifted = features(then, query(past))[:, 0] - features(plain, query(past))[:, 0]
    assert lifted[0] > 0 > lifted[2]
    monday = features(then, query(past, SATURDAY + 2 * DAY_MS))[:, 0]
    assert monday[0] < monday[2]


def test_recent_events_count_more() -> None:
    declared = {"affinity": {"type": "affinity", "attribute": "topic", "half_life_days": 1.0}}
    found = features(declared, query([(0, 1.0, 20.0), (2, 1.0, 0.0)]))[:, 0]
    assert found[2] > 0 > found[0]


def test_distance_from_what_was_liked() -> None:
    found = features(
        {"year": {"type": "distance", "attribute": "year"}}, query([(0, 1.0, 2.0), (1, 1.0, 1.0)])
    )
    np.testing.assert_array_equal(found[:, 0], [-5, 5, -15, np.nan, np.nan])
    assert np.isnan(features({"year": {"type": "distance", "attribute": "year"}})).all()


def test_similarity_to_the_newest_items() -> None:
    found = features(
        {"like": {"type": "similarity", "events": 2}}, query([(2, 1, 3.0), (0, 1, 2.0), (1, 1, 1.0)])
    )
    np.testing.assert_allclose(found[:4, 0], [0.5**0.5, 0.5**0.5, 0, 0], atol=1e-6)
    assert np.isnan(found[4, 0])
    assert np.isnan(features({"like": {"type": "similarity"}})).all()


def test_repeats() -> None:
    found = features({"again": {"type": "repeats"}}, query([(1, 1.0, 5.0), (0, 1.0, 3.0), (1, 1.0, 1.0)]))
    np.testing.assert_array_equal(found[:4, 0], [1, 2, 0, 0])
    np.testing.assert_allclose(found[:2, 1], np.log1p([3.0, 1.0]), rtol=1e-6)
    assert np.isnan(found[2:, 1]).all()


def test_history_and_moment_are_the_querys() -> None:
    declared = {"history": {"type": "history"}, "weekday": {"type": "moment", "unit": "weekday"}}
    found = features(declared, query([(1, 1.0, 5.0), (0, -1.0, 3.0)]))
    np.testing.assert_allclose(found[0], [np.log1p(2), np.log1p(3), 5], rtol=1e-6)
    assert np.isnan(features(declared)[0, 1]), "nobody's history has no newest event"


def test_a_lift_says_what_goes_with_the_moment() -> None:
    declared = {"lift": {"type": "lift", "when": "weekend", "prior_events": 1.0}}
    found = features(declared)[:, 0]
    # Of four events b's alone was at a weekend; a draws with a share of (1 + 1) / (4 + 2).
    np.testing.assert_allclose(found[:4], np.log([1 / 3, 2, 1 / 2, 1]), rtol=1e-5, atol=1e-6)
    monday = features(declared, query([], SATURDAY + 2 * DAY_MS))[:, 0]
    assert monday[0] > 0 > monday[1]
    by_topic = features({"lift": {**declared["lift"], "attribute": "topic"}})[:, 0]
    np.testing.assert_allclose(by_topic[:3], np.log([1, 1, 1 / 2]), rtol=1e-5, atol=1e-6)


def test_context_by_category_and_number() -> None:
    declared = {
        "device": {"type": "context", "key": "device"},
        "distance": {"type": "context", "key": "km", "values": "number"},
    }
    met = [{"device": "phone"}, {"device": "desktop", "km": 2}, {}]
    asked = query([], context={"device": "phone", "km": 3.5})
    np.testing.assert_array_equal(features(declared, asked, contexts=met)[0], [1, 3.5])
    crossed = {"both": {"type": "context", "key": "device", "attribute": "topic"}}
    np.testing.assert_array_equal(features(crossed, asked, contexts=met)[:, 0], [2, 2, 3, np.nan, np.nan])
    unknown = query([], context={"device": "fridge", "km": "far"})
    assert np.isnan(features(declared, unknown, contexts=met)).all()


def test_what_retrieval_says() -> None:
    offered = candidates(
        [0, 1, 2, -1], ("mf", "new"), [[1.0, 5.0], [3.0, np.nan], [np.nan] * 2, [np.nan] * 2]
    )
    found = features({"retrieval": {"type": "retrieval", "retrievers": ["mf"]}}, offered=offered)
    np.testing.assert_array_equal(found[:, 0], [0, 1, 2, np.nan])
    np.testing.assert_allclose(found[:2, 1], [-1, 1])
    np.testing.assert_array_equal(found[:2, 2], [1, 0])
    assert np.isnan(found[2:, 1:]).all()


def test_wanted_candidates_have_what_they_have_among_all() -> None:
    declared = {
        "retrieval": {"type": "retrieval"},
        "taste": {"type": "affinity", "attribute": "tags"},
        "like": {"type": "similarity"},
    }
    read = TypeAdapter(dict[str, Feature]).validate_python(declared)
    offered, asked = candidates([0, 1, 2, 3, -1]), query([(1, 1.0, 2.0)])
    made = FeatureSet.of(read, CATALOGUE, "UTC").counted(data()).learnt((), ())
    wanted = np.array([[False, True, True, False, False]])
    np.testing.assert_array_equal(
        made.compute(asked, offered, wanted)[wanted], made.compute(asked, offered)[wanted]
    )


def test_items_behind_the_catalogue_are_unknown() -> None:
    found = features({"popularity": {"type": "popularity"}}, offered=candidates([4, 0]))
    assert np.isnan(found[0, 0])
    assert np.isfinite(found[1, 0])


@pytest.mark.parametrize("kind", ["unknown", None])
def test_an_unknown_type_is_refused(kind: str | None) -> None:
    with pytest.raises(ValueError, match="type"):
        features({"odd": {"type": kind}})
