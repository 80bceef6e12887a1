"""Versions of the catalogue, patches, vectors, deletion, listing, trials."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from recserve import InvalidRequestError, Item
from recserve.data.arrays import FloatArray
from recserve.store import ItemPatch, ItemState, ItemVectors, Pulse, Store, Trials


def vector(*values: float) -> FloatArray:
    return np.array(values, dtype=np.float32)


def states(store: Store, since: int = -1, **more: bool) -> dict[str, ItemState]:
    return {state.item.item_id: state for state in store.item_changes(since, **more)}


def versions(store: Store) -> dict[str, tuple[int, int]]:
    return {name: (state.created, state.changed) for name, state in states(store).items()}


def test_a_version_is_used_up_by_a_change_only(store: Store) -> None:
    assert store.pulse() == Pulse()
    store.upsert_items([Item("a", {"n": 1}), Item("b")])
    assert store.pulse().catalogue == 1
    assert store.upsert_items([Item("a", {"n": 1}), Item("b")]) == 2
    assert store.pulse().catalogue == 1
    store.upsert_items([Item("a", {"n": 1}), Item("b", hidden=True), Item("c", expires_at=5)])
    assert versions(store) == {"a": (1, 1), "b": (1, 2), "c": (2, 2)}
    assert store.items(["a", "b", "c"]) == {
        "a": Item("a", {"n": 1}),
        "b": Item("b", hidden=True),
        "c": Item("c", expires_at=5),
    }


@pytest.mark.parametrize(("before", "after"), [(1, 1.0), (1, True), (0, False), ("1", 1), (None, {})])
def test_values_that_python_holds_for_equal_are_different(store: Store, before: Any, after: Any) -> None:
    store.upsert_items([Item("a", {"n": before})])
    store.patch_items([ItemPatch("a", {"n": after})])
    found = store.items(["a"])["a"].attributes["n"]
    assert (found, type(found)) == (after, type(after))
    assert store.pulse().catalogue == 2


def test_changes_come_in_the_order_of_version_and_id(store: Store) -> None:
    store.upsert_items([Item(one) for one in ("é", "b", "B", "10")])
    store.upsert_items([Item("b", {"n": 2})])
    assert [state.item.item_id for state in store.item_changes(-1)] == ["10", "B", "é", "b"]
    assert [state.item.item_id for state in store.item_changes(1)] == ["b"]
    assert store.item_changes(2) == []


def test_barred_items_are_told_whenever_they_changed(store: Store) -> None:
    store.upsert_items([Item("plain"), Item("hidden", hidden=True), Item("old", expires_at=0), Item("gone")])
    store.delete_items(["gone"])
    store.upsert_items([Item("new")])
    since = store.pulse().catalogue
    assert states(store, since) == {}
    assert set(states(store, since, barred=True)) == {"hidden", "old", "gone"}
    assert set(states(store, since - 1, barred=True)) == {"hidden", "old", "gone", "new"}


def test_deleted_items_leave_id_and_versions_and_may_come_back(store: Store) -> None:
    store.upsert_items(
        [Item("a", {"n": 1}, hidden=True, expires_at=9), Item("b")],
        ItemVectors("f", {"a": vector(1, 0)}),
    )
    assert store.delete_items(["a", "unknown", "a"]) == 1
    assert store.delete_items(["a"]) == 0
    assert store.pulse().catalogue == 2
    assert states(store)["a"] == ItemState(Item("a"), 1, 2, deleted=True)
    assert store.items(["a", "b"]) == {"b": Item("b")}
    assert [item.item_id for item in store.list_items(None, 9)] == ["b"]
    assert store.counts().items == 1
    tables = store.snapshot()
    assert tables.items["item_id"].to_pylist() == ["b"]
    assert tables.version == 2
    store.upsert_items([Item("a", {"n": 2})])
    assert states(store)["a"] == ItemState(Item("a", {"n": 2}), 1, 3)


def test_hidden_items_stay_in_the_snapshot(store: Store) -> None:
    store.upsert_items([Item("a", hidden=True), Item("b", expires_at=0)])
    assert store.snapshot().items["item_id"].to_pylist() == ["a", "b"]


def test_patches_of_one_call_merge_in_order(store: Store) -> None:
    store.upsert_items([Item("a", {"x": 1, "y": None, "z": 3}, expires_at=7), Item("gone")])
    store.delete_items(["gone"])
    patches = [
        ItemPatch("nowhere"),
        ItemPatch("a", {"x": None, "new": [1, {"é": 2}]}),
        ItemPatch("gone", {"x": 1}),
        ItemPatch("a", {"z": 4}, hidden=True),
        ItemPatch("nowhere"),
    ]
    assert store.patch_items(patches) == ["nowhere", "gone", "nowhere"]
    attributes = {"y": None, "z": 4, "new": [1, {"é": 2}]}
    assert store.items(["a"]) == {"a": Item("a", attributes, hidden=True, expires_at=7)}
    assert store.pulse().catalogue == 3  # one for the call
    assert store.patch_items([ItemPatch("a", {"z": 4, "x": None}, hidden=True, expires_at=7)]) == []
    assert store.pulse().catalogue == 3
    store.patch_items([ItemPatch("a", hidden=False, expires_at=None)])
    assert store.items(["a"]) == {"a": Item("a", attributes)}
    assert store.patch_items([]) == []


def test_a_patch_that_cannot_be_stored_changes_nothing(store: Store) -> None:
    store.upsert_items([Item("a"), Item("b")])
    with pytest.raises(InvalidRequestError):
        store.patch_items([ItemPatch("a", {"n": 1}), ItemPatch("b", {"n": float("nan")})])
    with pytest.raises(InvalidRequestError):
        store.patch_items([ItemPatch("a", {"n": 1}), ItemPatch("b\x00")])
    assert store.items(["a"]) == {"a": Item("a")}
    assert store.pulse().catalogue == 1


def test_patches_of_different_fields_at_once_are_all_kept(open_again: Callable[[], Store]) -> None:
    stores = [open_again(), open_again()]
    stores[0].upsert_items([Item("a")])

    def patch(n: int) -> None:
        stores[n % 2].patch_items([ItemPatch("a", {f"field {n}": n})])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(patch, range(40)))
    assert stores[0].items(["a"])["a"].attributes == {f"field {n}": n for n in range(40)}
    assert stores[0].pulse().catalogue == 41


def test_vectors_are_kept_until_the_attributes_change(store: Store) -> None:
    store.upsert_items([Item("a", {"n": 1}), Item("b")], ItemVectors("f", {"a": vector(0.5, -1)}))
    found = states(store)
    assert found["a"].fingerprint == "f"
    assert found["a"].vector is not None
    assert found["a"].vector.dtype == np.float32
    assert found["a"].vector.tolist() == [0.5, -1]
    assert (found["b"].vector, found["b"].fingerprint) == (None, "")
    assert [state.item.item_id for state in store.unencoded_items("f", -1, 9)] == ["b"]
    assert [state.item.item_id for state in store.unencoded_items("g", -1, 9)] == ["a", "b"]
    store.patch_items([ItemPatch("a", hidden=True)])
    store.upsert_items([Item("a", {"n": 1})])
    assert states(store)["a"].vector is not None
    store.upsert_items([Item("a", {"n": 2})])
    assert states(store)["a"].vector is None
    store.upsert_items([Item("a", {"n": 2})], ItemVectors("f", {"a": vector(2)}))
    before = store.pulse().catalogue
    store.upsert_items([Item("a", {"n": 2})], ItemVectors("f", {"a": vector(2)}))
    assert store.pulse().catalogue == before
    store.patch_items([ItemPatch("a", {"n": 3})])
    assert states(store)["a"].vector is None


def test_unencoded_items_oldest_change_first(store: Store) -> None:
    for n in range(5):
        store.upsert_items([Item(f"i{n}")])
    store.upsert_items([Item("i0", {"n": 1})])
    store.delete_items(["i3"])
    found = store.unencoded_items("f", 1, 99)
    assert [state.item.item_id for state in found] == ["i1", "i2", "i4", "i0"]
    assert [state.item.item_id for state in store.unencoded_items("f", 1, 2)] == ["i1", "i2"]
    assert store.unencoded_items("f", store.pulse().catalogue, 9) == []


def test_vectors_of_attributes_that_are_gone_are_not_stored(store: Store) -> None:
    store.upsert_items([Item("a"), Item("b"), Item("c")])
    read = {state.item.item_id: state.changed for state in store.unencoded_items("f", -1, 9)}
    store.upsert_items([Item("b", {"n": 1})])
    store.delete_items(["c"])
    new = ItemVectors("f", {one: vector(1, 2) for one in ("a", "b", "c", "unknown")})
    before = store.pulse().catalogue
    assert store.set_vectors(new, {**read, "unknown": 1}) == 1
    assert store.pulse().catalogue == before + 1
    found = states(store)
    assert found["a"].vector is not None
    assert found["a"].changed == before + 1  # so that who follows the catalogue gets it
    assert (found["b"].vector, found["c"].vector) == (None, None)
    assert store.set_vectors(new, read) == 0
    assert store.pulse().catalogue == before + 1


@pytest.mark.parametrize("bad", [vector(), vector(float("nan")), np.ones((2, 2), dtype=np.float32)])
def test_vectors_that_are_none_are_refused(store: Store, bad: FloatArray) -> None:
    with pytest.raises(InvalidRequestError):
        store.upsert_items([Item("a")], ItemVectors("f", {"a": bad}))
    assert store.counts().items == 0


def test_listing_under_writes_repeats_nothing_and_misses_nothing(open_again: Callable[[], Store]) -> None:
    store, other = open_again(), open_again()
    steady = {f"steady {n} é" for n in range(300)}
    store.upsert_items([Item(one) for one in steady])
    stop = threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            other.upsert_items([Item(f"passing {n}"), Item(f"steady {n % 300} é", {"n": n})])
            other.delete_items([f"passing {n - 3}"])
            n += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for size in (1, 7, 100):
            seen: list[str] = []
            while page := store.list_items(seen[-1] if seen else None, size):
                assert len(page) <= size
                seen.extend(item.item_id for item in page)
            assert len(seen) == len(set(seen))
            assert steady <= set(seen)
    finally:
        stop.set()
        thread.join()


def test_who_sees_a_version_sees_every_change_up_to_it(open_again: Callable[[], Store]) -> None:
    writers, reader = [open_again() for _ in range(3)], open_again()
    stop = threading.Event()

    def write(n: int) -> None:
        for round_ in range(1_000_000):
            if stop.is_set():
                return
            writers[n].upsert_items([Item(f"{n}/{round_}")])

    threads = [threading.Thread(target=write, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    try:
        known: set[str] = set()
        since = 0
        for _ in range(40):
            version = reader.pulse().catalogue
            found = reader.item_changes(since)
            # Every version is one item here; a late one would leave a gap.
            assert [state.changed for state in found] == list(range(since + 1, since + 1 + len(found)))
            assert since + len(found) >= version
            since += len(found)
            known.update(state.item.item_id for state in found)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    known.update(state.item.item_id for state in reader.item_changes(since))
    assert len(known) == reader.counts().items == reader.pulse().catalogue


def test_trials_add_up_from_all_sides(open_again: Callable[[], Store]) -> None:
    stores = [open_again(), open_again()]
    for store in stores:
        for _ in range(10):
            store.add_trials({"a": 2, "b": 1}, {"b": 1, "c": 1})
        store.flush()
    assert stores[0].trials(["a", "b", "c", "d"]) == {
        "a": Trials(40, 0),
        "b": Trials(20, 20),
        "c": Trials(0, 20),
    }
    assert stores[0].trials([]) == {}
