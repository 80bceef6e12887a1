"""Experiments in the store, and what exposures say of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from recserve import InvalidRequestError
from recserve.errors import NotFoundError
from recserve.store import ExperimentRecord, ExposedItem, Exposure, Store

FIRST = ExperimentRecord("first", 5, {"name": "first", "share": 0.5}, {"state": "created"})


def grown(mine: ExperimentRecord, all_: Sequence[ExperimentRecord]) -> Mapping[str, Any]:
    return {**mine.status, "count": mine.status.get("count", 0) + 1}


def test_experiments_come_back_as_they_were_oldest_first(store: Store) -> None:
    older = ExperimentRecord("older", 1, {"x": "é"})
    assert store.add_experiment(FIRST)
    assert store.add_experiment(older)
    assert store.experiments() == [older, FIRST]
    assert store.pulse().experiments == 2


def test_a_name_stands_for_one_experiment(store: Store) -> None:
    assert store.add_experiment(FIRST)
    assert not store.add_experiment(ExperimentRecord("first", 6, {"other": 1}))
    assert store.experiments() == [FIRST]


def test_a_change_sees_all_experiments_and_is_counted(open_again: Callable[[], Store]) -> None:
    store, other = open_again(), open_again()
    store.add_experiment(FIRST)
    store.add_experiment(ExperimentRecord("second", 6, {}))
    seen: list[list[str]] = []

    def change(mine: ExperimentRecord, all_: Sequence[ExperimentRecord]) -> Mapping[str, Any]:
        seen.append([record.name for record in all_])
        return {**mine.status, "state": "running"}

    changed = other.change_experiment("first", change)
    assert changed.status == {"state": "running"}
    assert seen[-1] == ["first", "second"]
    assert store.experiments()[0] == changed
    assert store.pulse().experiments == 3
    # What changes nothing is not counted.
    assert store.change_experiment("first", lambda mine, all_: mine.status) == changed
    assert store.pulse().experiments == 3


def test_a_change_that_is_refused_changes_nothing(store: Store) -> None:
    store.add_experiment(FIRST)

    def refuse(mine: ExperimentRecord, all_: Sequence[ExperimentRecord]) -> Mapping[str, Any]:
        raise InvalidRequestError("no")

    with pytest.raises(InvalidRequestError, match="no"):
        store.change_experiment("first", refuse)
    with pytest.raises(NotFoundError, match="no experiment 'gone'"):
        store.change_experiment("gone", grown)
    assert store.experiments() == [FIRST]
    assert store.pulse().experiments == 1


def test_changes_at_the_same_time_follow_one_another(open_again: Callable[[], Store]) -> None:
    stores = [open_again(), open_again()]
    stores[0].add_experiment(FIRST)

    def change(store: Store) -> None:
        for _ in range(10):
            store.change_experiment("first", grown)

    threads = [threading.Thread(target=change, args=(store,)) for store in stores for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stores[1].experiments()[0].status["count"] == 40


def test_an_exposure_says_what_served_it(store: Store) -> None:
    items = (
        ExposedItem("a", 0.5, ("mf",), "control"),
        ExposedItem("b", 0.25),
        ExposedItem("c", 0.1, (), "b"),
    )
    shown = [
        Exposure("split", "u", "bundle", "home", 5, items[1:2], experiment="trial", arm="control"),
        Exposure("page", "u", "bundle", "home", 5, items, experiment="trial"),
        Exposure("dark", None, "bundle", "home", 5, items[1:2], experiment="t", arm="a", shadow=True),
        Exposure("plain", "u", "bundle", "home", 5, items[1:2]),
    ]
    store.add_exposures(shown)
    store.flush()
    assert [store.exposures(one.recommendation_id) for one in shown] == shown
    old = store.old_exposures(6, 9).to_pylist()
    assert {row["recommendation_id"]: (row["experiment"], row["arm"], row["shadow"]) for row in old} == {
        "split": ("trial", "control", False),
        "page": ("trial", None, False),
        "dark": ("t", "a", True),
        "plain": (None, None, False),
    }
