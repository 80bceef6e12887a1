"""Vectors of items in named spaces, as the store keeps them."""

from __future__ import annotations

import numpy as np
import pytest

from recserve import InvalidRequestError, Item
from recserve.data.arrays import FloatArray
from recserve.store import ItemPatch, ItemVectors, Store


def vector(*numbers: float) -> FloatArray:
    return np.array(numbers, dtype=np.float32)


def given(store: Store) -> dict[str, dict[str, list[float]]]:
    """What a training would read: by space and item."""
    return {
        space: dict(zip(named.item_ids, named.vectors.tolist(), strict=True))
        for space, named in store.snapshot().vectors.items()
    }


def test_vectors_are_read_as_they_were_given(store: Store) -> None:
    store.upsert_items(
        [
            Item("b", {"title": "b"}, vectors={"image": vector(3, 4), "audio": vector(1, 2, 3)}),
            Item("a", vectors={"image": vector(0, -1)}),
            Item("c"),
        ]
    )
    assert given(store) == {"audio": {"b": [1, 2, 3]}, "image": {"a": [0, -1], "b": [3, 4]}}
    assert store.items(["b"])["b"].attributes == {"title": "b"}


def test_spaces_that_are_not_named_stay_and_none_takes_away(store: Store) -> None:
    store.upsert_items([Item("a", vectors={"image": vector(1, 0), "audio": vector(0, 1)})])
    version = store.pulse().catalogue
    store.upsert_items([Item("a", {"title": "other"})])
    assert given(store) == {"audio": {"a": [0, 1]}, "image": {"a": [1, 0]}}
    assert store.patch_items([ItemPatch("a", vectors={"image": None}), ItemPatch("x")]) == ["x"]
    assert given(store) == {"audio": {"a": [0, 1]}}
    assert [(one.item_id, one.space, one.vector) for one in store.space_changes(version)] == [
        ("a", "image", None)
    ]


def test_the_same_vector_again_changes_nothing(store: Store) -> None:
    store.upsert_items([Item("a", vectors={"image": vector(1, 2)})])
    before = store.pulse()
    store.upsert_items([Item("a", vectors={"image": vector(1, 2)})])
    assert store.pulse() == before
    store.upsert_items([Item("a", vectors={"image": vector(1, 3)})])
    (change,) = store.space_changes(before.catalogue)
    assert change.vector is not None
    assert change.vector.tolist() == [1, 3]
    # The item itself is as it was: whoever follows it has nothing to encode anew.
    assert store.item_changes(before.catalogue) == []


def test_vectors_go_with_the_item(store: Store) -> None:
    store.upsert_items([Item("a", vectors={"image": vector(1, 2)})])
    before = store.pulse().catalogue
    store.delete_items(["a"])
    assert given(store) == {}
    assert [(one.space, one.vector) for one in store.space_changes(before)] == [("image", None)]
    store.upsert_items([Item("a")])
    assert given(store) == {}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (vector(0, 0), "zero"),
        (vector(1, np.nan), "finite"),
        (np.array([1e300, 1.0]), "finite"),
        (vector(), "row of finite numbers"),
        (np.ones((2, 2), dtype=np.float32), "row of finite numbers"),
    ],
)
def test_what_is_no_direction_is_refused(store: Store, bad: FloatArray, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said) as refusal:
        store.upsert_items([Item("a", vectors={"image": bad})])
    assert "'a'" in refusal.value.message
    assert store.items(["a"]) == {}


def test_vectors_of_an_unknown_item_are_not_stored_by_a_patch(store: Store) -> None:
    store.patch_items([ItemPatch("x", vectors={"image": vector(1, 2)})])
    assert given(store) == {}


def test_the_most_frequent_width_is_read(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.upsert_items([Item(name, vectors={"image": vector(1, 2, 3)}) for name in "ab"])
    store.upsert_items([Item("c", vectors={"image": vector(1, 2)})])
    assert given(store) == {"image": {"a": [1, 2, 3], "b": [1, 2, 3]}}
    assert "1 vectors of the space image have 2 numbers instead of 3" in caplog.text


def test_what_is_computed_yields_to_what_is_given(store: Store) -> None:
    def computed(**vectors: FloatArray) -> dict[str, ItemVectors]:
        return {"image": ItemVectors("model", vectors)}

    store.upsert_items(
        [Item("a", vectors={"image": vector(1, 0)}), Item("b"), Item("c")],
        None,
        computed(a=vector(0, 1), b=vector(0, 1), stranger=vector(0, 1)),
    )
    changes = {one.item_id: (one.fingerprint, one.vector) for one in store.space_changes(-1)}
    assert {name: fingerprint for name, (fingerprint, _) in changes.items()} == {"a": "", "b": "model"}
    # Trainings compute those anew, from what the items are then.
    assert given(store) == {"image": {"a": [1, 0]}}
    store.upsert_items([Item("a"), Item("b")], None, computed(a=vector(0, 3), b=vector(0, 3)))
    store.patch_items([ItemPatch("c", vectors={"image": vector(5, 5)})])
    changes = {one.item_id: (one.fingerprint, one.vector) for one in store.space_changes(-1)}
    assert [changes[name][1].tolist() for name in "abc"] == [[1, 0], [0, 3], [5, 5]]  # type: ignore[union-attr]
    store.patch_items([ItemPatch("b", vectors={"image": vector(7, 7)})])
    assert given(store)["image"]["b"] == [7, 7]
