"""Items, snapshots, bundles and exposures."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pyarrow as pa
import pytest

from recserve import Event, InvalidRequestError, Item, NotFoundError
from recserve.store import BundleRecord, Counts, ExposedItem, Exposure, Grounds, Store


def test_items_are_replaced_and_the_last_of_equal_ids_wins(store: Store) -> None:
    assert store.upsert_items([Item("a", {"title": "old"}), Item("b"), Item("a", {"title": "A"})]) == 2
    assert store.items(["a", "b", "c"]) == {"a": Item("a", {"title": "A"}), "b": Item("b")}
    store.upsert_items(iter([Item("b", {"year": 1995, "genres": ["Drama", "Комедия 🎬"]})]))
    assert store.items(["b"])["b"].attributes == {"year": 1995, "genres": ["Drama", "Комедия 🎬"]}
    assert store.counts() == Counts(users=0, items=2, events=0)
    assert store.upsert_items([]) == 0
    assert store.items([]) == {}


def test_many_items_and_long_ids(store: Store) -> None:
    long = ["y" * 9_999 + end for end in "ab"]
    store.upsert_items([Item(f"i{n}", {"n": n}) for n in range(12_000)] + [Item(one) for one in long])
    found = store.items([f"i{n}" for n in range(11_500)] + long + ["unknown"])
    assert len(found) == 11_502
    assert found["i11499"].attributes == {"n": 11499}


@pytest.mark.parametrize(
    "item",
    [
        Item("", {}),
        Item("a\x00b", {}),
        Item("a", {"price": float("nan")}),
        Item("a", {"blob": b"bytes"}),
        Item("a", {"title": "\udc80"}),
    ],
)
def test_items_that_cannot_be_stored_are_refused(store: Store, item: Item) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        store.upsert_items([Item("good"), item])
    assert "\n" not in refusal.value.message
    assert store.counts().items == 0


def test_snapshot_is_canonical(store: Store) -> None:
    store.upsert_items([Item(one, {"title": one}) for one in ("b", "é", "A", "a", "B", "Ж", "10", "9")])
    store.add_events([Event("u", "a", "rating", 20, 4.5, "e2"), Event("v", "gone", "view", 10, None, "e1")])
    tables = store.snapshot()
    assert tables.items["item_id"].to_pylist() == ["10", "9", "A", "B", "a", "b", "é", "Ж"]
    assert json.loads(tables.items["attributes"][6].as_py()) == {"title": "é"}
    assert tables.items.schema == pa.schema({"item_id": pa.string(), "attributes": pa.string()})
    assert tables.events.to_pydict() == {
        "user_id": ["u", "v"],
        "item_id": ["a", "gone"],
        "event": ["rating", "view"],
        "value": [4.5, None],
        "timestamp": [20, 10],
    }
    assert tables.events.schema.field("value").type == pa.float64()
    assert tables.events.schema.field("timestamp").type == pa.int64()


def test_snapshot_of_an_empty_store_has_all_columns(store: Store) -> None:
    tables = store.snapshot()
    assert (len(tables.items), len(tables.events)) == (0, 0)
    assert tables.events.column_names == ["user_id", "item_id", "event", "value", "timestamp"]


def test_snapshot_shows_one_moment(open_again: Callable[[], Store]) -> None:
    reader, writer = open_again(), open_again()
    stop = threading.Event()

    def write_pairs() -> None:
        for n in range(10_000):
            if stop.is_set():
                return
            # An item is acknowledged before any event refers to it.
            writer.upsert_items([Item(f"i{n}")])
            writer.add_events([Event("a", f"i{n}", "view", n), Event("b", f"i{n}", "view", n)])

    thread = threading.Thread(target=write_pairs)
    thread.start()
    try:
        for _ in range(15):
            tables = reader.snapshot()
            users = tables.events["user_id"].to_pylist()
            assert users.count("a") == users.count("b")
            known = set(tables.items["item_id"].to_pylist())
            assert set(tables.events["item_id"].to_pylist()) <= known
            assert len(known) <= len(users) // 2 + 1
    finally:
        stop.set()
        thread.join()


def test_bundles_and_the_way_back(store: Store) -> None:
    assert store.current_bundle() is None
    assert store.bundle_history() == []
    assert store.bundles() == []
    for created, name in enumerate(["one", "two", "three"]):
        store.record_bundle(name, created, {"metrics": {"ndcg@10": 0.1 * created}})
    assert [record.bundle_id for record in store.bundles()] == ["three", "two", "one"]
    assert store.bundles()[1] == BundleRecord("two", 1, {"metrics": {"ndcg@10": 0.1}})
    assert store.current_bundle() is None
    for name in ("one", "two", "two", "three", "two"):
        store.set_current(name)
        assert store.current_bundle() == name
    assert store.bundle_history() == ["two", "three", "one"]


def test_the_history_of_promotions_keeps_who_and_why(store: Store) -> None:
    for name in ("one", "two"):
        store.record_bundle(name, 1, {})
    why = Grounds("cli:ada", "promote", "it is better 🎬", {"offline": {"difference": 0.01}})
    store.set_current("one")
    store.set_current("two", why)
    store.set_current("two", Grounds("cli:bo", "promote"))
    store.set_current("one", Grounds("cli:bo", "rollback"))
    found = store.promotions(9)
    assert [(one.bundle_id, one.grounds) for one in found] == [
        ("one", Grounds("cli:bo", "rollback")),
        ("two", why),
        ("one", Grounds()),
    ]
    assert found[0].promoted_ms >= found[1].promoted_ms
    assert store.promotions(1) == found[:1]


def test_recording_a_bundle_again_replaces_it(store: Store) -> None:
    store.record_bundle("one", 1, {"a": 1})
    store.set_current("one")
    store.record_bundle("one", 5, {"b": 2})
    assert store.bundles() == [BundleRecord("one", 5, {"b": 2})]
    assert store.current_bundle() == "one"


def test_an_unknown_bundle_cannot_become_current(store: Store) -> None:
    store.record_bundle("one", 1, {})
    store.set_current("one")
    with pytest.raises(NotFoundError, match="'nope'"):
        store.set_current("nope")
    assert store.current_bundle() == "one"


def exposure(name: str, user: str | None = "u") -> Exposure:
    shown = (ExposedItem("a", 0.5, ("mf", "content")), ExposedItem("b'🎬", -1.25, propensity=0.125))
    return Exposure(name, user, "bundle", "home", 123, shown)


def test_exposures_are_written_in_the_background(store: Store) -> None:
    store.add_exposures([exposure("r1"), exposure("r2", None)])
    store.add_exposures([exposure("r1", "somebody else")])
    store.flush()
    assert store.exposures("r1") == exposure("r1")
    assert store.exposures("r2") == exposure("r2", None)
    assert store.exposures("r3") is None


def test_close_writes_waiting_exposures(open_again: Callable[[], Store]) -> None:
    with open_again() as first:
        first.add_exposures([exposure(f"r{n}") for n in range(500)])
    assert open_again().exposures("r499") == exposure("r499")


def test_exposures_arrive_without_anybody_waiting(store: Store) -> None:
    store.add_exposures([exposure("r")])
    patience = threading.Event()
    for _ in range(200):
        if store.exposures("r") is not None:
            break
        patience.wait(0.05)
    assert store.exposures("r") == exposure("r")


def test_exposures_that_cannot_be_stored_are_refused(store: Store) -> None:
    for bad in (exposure(""), exposure("x" * 201), exposure("r", "\x00")):
        with pytest.raises(InvalidRequestError):
            store.add_exposures([bad])
