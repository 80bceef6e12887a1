"""Default features: those that the catalogue and the events allow."""

from __future__ import annotations

from recserve_features.inputs.schema import Kinds, default_features

from recserve import Catalogue, EventOrder, Item
from recserve.testing import dataset_of, example_catalogue, example_dataset


def test_attributes_are_told_by_their_values() -> None:
    kinds = Kinds.of(example_catalogue())
    assert list(kinds.numbers) == ["price", "year"]
    assert list(kinds.labels) == ["tags", "topic"], "titles are shared by no two items"
    assert kinds.categories == {"topic"}


def test_prose_identifiers_and_rare_attributes_are_left_out() -> None:
    items = [
        Item(
            f"i{row}",
            {"isbn": f"x{row}", "about": "word " * (20 + row % 2), "one": "a", "flag": row % 2 == 0},
        )
        for row in range(100)
    ]
    items.append(Item("last", {"rare": "a"}))
    kinds = Kinds.of(Catalogue.of(items))
    assert not kinds.numbers
    assert list(kinds.labels) == ["flag"]


def test_times_of_the_example_give_moments_and_windows() -> None:
    found = default_features(example_dataset(), "UTC")
    assert {"weekend", "topic_weekend_affinity", "tags_daypart_lift", "age", "popularity_recent"} <= set(
        found
    )
    assert {"topic_category", "topic_aversion", "year_distance", "similarity", "rate"} <= set(found)


def test_without_times_texts_or_attributes_little_is_left() -> None:
    data = dataset_of([(user, item, 1.0) for user in range(3) for item in range(3)], 4)
    data.event_order = EventOrder.NONE
    assert set(default_features(data, "UTC")) == {"retrieval", "popularity", "history"}


def test_items_that_come_again_count() -> None:
    data = dataset_of([(0, 1, 1.0), (0, 1, 1.0), (1, 0, 1.0)], 2)
    assert "repeats" in default_features(data, "UTC")
