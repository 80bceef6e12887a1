"""Following the catalogue: every replica gives an item the same row, whenever it looked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recserve import Catalogue, Item, Vocabulary
from recserve.data.columns.strings import Texts
from recserve.errors import StoreError
from recserve.serving.state.live_catalogue import CatalogueFollower, LiveCatalogue
from recserve.store import ItemPatch, ItemVectors, Store, open_store

BASE = [Item(f"b{n}", {"title": f"Base {n}"}) for n in range(6)]
NOW = 1_700_000_000_000


def vector(number: int) -> np.ndarray:
    return np.eye(8, dtype=np.float32)[number % 8]


def trained(store: Store, compact: bool = False) -> tuple[Catalogue, int]:
    """A bundle's catalogue and the version it was trained on."""
    store.upsert_items(BASE)
    vectors = np.stack([vector(n) for n in range(6)])
    made = Catalogue.of(BASE, vectors)
    if compact:
        made = Catalogue(Vocabulary(made.ids, compact=True), Texts.of(made.attributes_json), vectors)
    return made, store.pulse().catalogue


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(None, tmp_path) as opened:
        yield opened


def follow(live: CatalogueFollower, store: Store) -> Any:
    """The view of now, whatever the pause between rebuilds says."""
    live._rebuild_at = 0.0
    return live.at_least(store.pulse().catalogue)


@pytest.mark.parametrize("compact", [False, True])
def test_new_items_have_the_rows_behind_the_bundle(store: Store, compact: bool) -> None:
    catalogue, since = trained(store, compact)
    live = CatalogueFollower(catalogue, store, since, "f")
    view = follow(live, store)
    assert view.catalogue is catalogue, "nothing happened: no other catalogue is made"
    store.upsert_items(
        [Item("z", {"title": "Z"}), Item("a", {"title": "A"})], ItemVectors("f", {"a": vector(7)})
    )
    store.upsert_items([Item("c", {"title": "C"})], ItemVectors("other encoder", {"c": vector(1)}))
    view = follow(live, store)
    assert list(view.catalogue.ids)[6:] == ["a", "z", "c"]
    assert view.encoded.tolist() == [True, False, False]
    assert view.catalogue.ids.row("c") == 8
    assert view.catalogue.ids.rows(["b5", "c", "nobody"]).tolist() == [5, 8, -1]
    assert view.catalogue.item(7).title == "Z"
    assert view.catalogue.item(2) is catalogue.item(2)
    rows = np.array([[0, 6, 7, -1]], dtype=np.int32)
    np.testing.assert_array_equal(
        view.catalogue.gather(rows)[0], [vector(0), vector(7), 0 * vector(0), 0 * vector(0)]
    )


@pytest.mark.parametrize("compact", [False, True])
def test_changed_items_keep_their_row(store: Store, compact: bool) -> None:
    catalogue, since = trained(store, compact)
    live = CatalogueFollower(catalogue, store, since, "f")
    store.upsert_items([Item("b3", {"title": "Other"})], ItemVectors("f", {"b3": vector(7)}))
    view = follow(live, store)
    assert isinstance(view.catalogue, LiveCatalogue)
    assert view.catalogue.item(3).title == "Other"
    assert view.catalogue.column("title")[2:4] == ["Base 2", "Other"]
    rows, vectors = view.encoded_rows()
    assert rows.tolist() == [3]
    np.testing.assert_array_equal(vectors, [vector(7)])
    np.testing.assert_array_equal(
        view.catalogue.gather(np.array([2, 3], dtype=np.int32)), [vector(2), vector(7)]
    )
    # So many that a product with the bundle's vectors would be cheaper, and wrong.
    many = np.tile(np.array([2, 3], dtype=np.int32), 8)[None, :]
    np.testing.assert_array_equal(view.catalogue.products(many, vector(7)[None, :]), [[0.0, 1.0] * 8])


def test_what_is_barred_takes_effect_without_a_new_catalogue(store: Store) -> None:
    catalogue, since = trained(store)
    live = CatalogueFollower(catalogue, store, since, "f")
    store.upsert_items([Item("new", {})])
    view = follow(live, store)
    live._rebuild_at = float("inf")
    store.patch_items([ItemPatch("b1", hidden=True), ItemPatch("b2", expires_at=NOW)])
    store.delete_items(["b0", "new"])
    barred = live.at_least(store.pulse().catalogue)
    assert barred.catalogue is view.catalogue
    served = barred.bars.served(NOW - 1)
    assert served is not None
    assert served.tolist() == [False, False, True, True, True, True, False]
    served = barred.bars.served(NOW)
    assert served is not None
    assert served.tolist() == [False, False, False, True, True, True, False]
    store.patch_items([ItemPatch("b1", hidden=False), ItemPatch("b2", expires_at=None)])
    store.upsert_items([Item("b0", {}), Item("new", {})])
    assert live.at_least(store.pulse().catalogue).bars.served(NOW) is None


@pytest.mark.parametrize("compact", [False, True])
def test_a_bundle_of_unknown_origin_is_compared_with_the_store(store: Store, compact: bool) -> None:
    catalogue, _ = trained(store, compact)
    store.upsert_items([Item("b4", {"title": "Other"}), Item("new", {}), Item("b5", {}, hidden=True)])
    view = follow(CatalogueFollower(catalogue, store, -1, "f"), store)
    assert list(view.catalogue.ids)[6:] == ["new"]
    assert view.catalogue.item(4).title == "Other"
    assert view.bars.barred.tolist() == [False] * 5 + [True, False]


def test_an_unreachable_store_keeps_the_view_at_hand(store: Store) -> None:
    catalogue, since = trained(store)
    live = CatalogueFollower(catalogue, store, since, "f")
    store.patch_items([ItemPatch("b1", hidden=True)])
    view = follow(live, store)
    store.close()
    assert live.newest(view.version + 5).bars.barred[1]
    with pytest.raises(StoreError):
        live.at_least(view.version + 5)


ids = st.sampled_from(["b0", "b3", "n0", "n1", "n2", "n3"])
actions = st.lists(
    st.one_of(
        st.tuples(st.just("upsert"), st.lists(ids, min_size=1, max_size=3), st.booleans()),
        st.tuples(st.just("delete"), st.lists(ids, min_size=1, max_size=2), st.booleans()),
        st.tuples(st.just("hide"), st.lists(ids, min_size=1, max_size=2), st.booleans()),
        st.tuples(st.just("look"), st.just([]), st.booleans()),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions)
def test_replicas_agree_whenever_they_look(
    tmp_path_factory: pytest.TempPathFactory, story: list[Any]
) -> None:
    """One looks all the time, one now and then, one only in the end: rows, bars and vectors are equal."""
    with open_store(None, tmp_path_factory.mktemp("live")) as store:
        catalogue, since = trained(store)
        eager, lazy = (CatalogueFollower(catalogue, store, since, "f") for _ in range(2))
        seen: dict[str, int] = {}
        for number, (action, names, flag) in enumerate(story):
            if action == "upsert":
                items = [Item(name, {"title": f"{name} {number}"}, hidden=False) for name in names]
                store.upsert_items(items, ItemVectors("f", {names[0]: vector(number)}) if flag else None)
            elif action == "delete":
                store.delete_items(names)
            elif action == "hide":
                store.patch_items([ItemPatch(name, hidden=flag) for name in dict.fromkeys(names)])
            else:
                follow(lazy, store)
            view = follow(eager, store)
            for item_id, row in seen.items():
                assert view.catalogue.ids.row(item_id) == row, "a row never changes"
            seen.update({item_id: view.catalogue.ids.row(item_id) for item_id in view.catalogue.ids})
        late = follow(CatalogueFollower(catalogue, store, since, "f"), store)
        for view in (follow(eager, store), follow(lazy, store)):
            assert list(view.catalogue.ids) == list(late.catalogue.ids)
            assert view.bars.barred.tolist() == late.bars.barred.tolist()
            np.testing.assert_array_equal(view.vectors, late.vectors)
            np.testing.assert_array_equal(view.encoded, late.encoded)
            assert sorted(view.changed.tolist()) == sorted(late.changed.tolist())
            assert [one.attributes for one in view.catalogue.items()] == [
                one.attributes for one in late.catalogue.items()
            ]
        current = store.items(list(late.catalogue.ids))
        for row, item_id in enumerate(late.catalogue.ids):
            served = item_id in current and not current[item_id].hidden
            assert late.bars.barred[row] == (not served), item_id


class TestNamedVectors:
    """Vectors of named spaces that are written after a bundle was trained."""

    @staticmethod
    def made(store: Store) -> CatalogueFollower:
        catalogue, since = trained(store)
        space = np.eye(6, 3, dtype=np.float32)
        return CatalogueFollower(catalogue.with_spaces({"image": space}), store, since, "f")

    def test_one_that_comes_with_a_new_item_is_there_with_it(self, store: Store) -> None:
        live = self.made(store)
        item = Item("new", {"title": "New"}, vectors={"image": np.array([0, 3, 4], dtype=np.float32)})
        store.upsert_items([item], ItemVectors("f", {"new": vector(7)}))
        view = follow(live, store)
        rows, _ = view.encoded_rows()
        assert rows.tolist() == [6]
        assert view.later["image"].rows.tolist() == [6]
        np.testing.assert_allclose(view.later["image"].vectors, [[0, 0.6, 0.8]])

    def test_one_of_a_known_item_has_it_judged_anew_with_the_text_it_had(self, store: Store) -> None:
        live = self.made(store)
        store.patch_items([ItemPatch("b2", vectors={"image": np.array([5, 0, 0], dtype=np.float32)})])
        view = follow(live, store)
        rows, vectors = view.encoded_rows()
        assert rows.tolist() == [2]
        np.testing.assert_array_equal(vectors, [vector(2)])
        assert view.later["image"].vectors.tolist() == [[1, 0, 0]]
        assert len(view.rewritten) == 0

    def test_one_that_is_taken_away_is_gone(self, store: Store) -> None:
        live = self.made(store)
        given = {"image": np.array([0, 1, 0], dtype=np.float32)}
        store.patch_items([ItemPatch("b0", vectors=given)])
        assert follow(live, store).later["image"].vectors.tolist() == [[0, 1, 0]]
        store.patch_items([ItemPatch("b0", vectors={"image": None})])
        assert follow(live, store).later["image"].vectors.tolist() == [[0, 0, 0]]

    def test_what_the_bundle_does_not_know_or_has_already_is_left_out(self, store: Store) -> None:
        live = self.made(store)
        given = {
            "audio": np.ones(3, dtype=np.float32),
            "image": np.array([7, 0, 0], dtype=np.float32),  # the direction that the bundle has
        }
        store.patch_items([ItemPatch("b0", vectors=given)])
        store.patch_items([ItemPatch("b1", vectors={"image": np.ones(5, dtype=np.float32)})])
        view = follow(live, store)
        # Of another width: as good as none.
        assert view.later["image"].rows.tolist() == [1]
        assert not view.later["image"].vectors.any()

    def test_a_store_is_not_asked_for_them_where_a_bundle_has_no_space(self, store: Store) -> None:
        catalogue, since = trained(store)
        asked: list[int] = []
        live = CatalogueFollower(catalogue, store, since, "f")
        live._newer._source = type("Source", (), {"space_changes": asked.append})()
        store.patch_items([ItemPatch("b0", vectors={"image": np.ones(3, dtype=np.float32)})])
        assert follow(live, store).later == {}
        assert asked == []

    def test_computed_ones_count_if_the_bundles_encoder_made_them(self, store: Store) -> None:
        catalogue, since = trained(store)
        catalogue = catalogue.with_spaces({"image": np.eye(6, 3, dtype=np.float32)})
        live = CatalogueFollower(catalogue, store, since, "f", {"image": "model"})
        made = np.array([0, 0, 1], dtype=np.float32)
        items = [Item("x"), Item("y")]
        for item, fingerprint in zip(items, ("model", "another"), strict=True):
            computed = {"image": ItemVectors(fingerprint, {item.item_id: made})}
            store.upsert_items([item], ItemVectors("f", {item.item_id: vector(7)}), computed)
        assert follow(live, store).later["image"].rows.tolist() == [6]
