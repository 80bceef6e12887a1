from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from recserve_popular import register_retrievers
from recserve_popular.parameters import PopularParams, TrendingParams
from recserve_popular.retriever import PopularityRetriever

from recserve import (
    BundleError,
    Catalogue,
    Dataset,
    FitContext,
    Histories,
    Queries,
    Ragged,
    Retrieved,
    Vocabulary,
    mask_scores,
    top_k,
)
from recserve.testing import check_retriever

DAY = 86_400_000


def dataset(events: Sequence[tuple[int, int, float, float]], n_items: int) -> Dataset:
    """Events as (user, item, weight, day)."""
    events = sorted(events, key=lambda event: event[3])
    users = np.array([event[0] for event in events], dtype=np.int32)
    return Dataset(
        Catalogue([f"i{row}" for row in range(n_items)]),
        Vocabulary(f"u{row}" for row in range(int(users.max(initial=-1)) + 1)),
        users,
        np.array([event[1] for event in events], dtype=np.int32),
        np.zeros(len(events), dtype=np.int16),
        np.array([event[2] for event in events], dtype=np.float32),
        np.array([event[3] * DAY for event in events], dtype=np.int64),
        ("view",),
    )


def fitted(
    data: Dataset, *, distinct_users: bool = False, half_life_days: float | None = None
) -> PopularityRetriever:
    retriever = PopularityRetriever(
        data.catalogue, distinct_users=distinct_users, half_life_days=half_life_days
    )
    retriever.fit(data, FitContext())
    return retriever


def anonymous(batch: int = 1, excluded: list[list[int]] | None = None) -> Queries:
    return Queries.of(
        Histories.empty(batch),
        np.zeros(batch, dtype=np.int64),
        excluded=None if excluded is None else Ragged.of(excluded),
    )


def items_of(found: Retrieved, row: int = 0) -> list[int]:
    return [int(item) for item in found.items[row]]


def test_counts_confidences_of_positive_events_only() -> None:
    data = dataset([(0, 2, 1.5, 0), (1, 2, 1.0, 1), (0, 1, 2.0, 2), (1, 0, -9.0, 3)], 4)
    found = fitted(data).retrieve(anonymous(), 4)
    assert items_of(found) == [2, 1, 0, 3]
    np.testing.assert_allclose(found.scores[0], [2.5, 2.0, 0.0, 0.0], rtol=1e-6)
    assert (found.evidence == -1).all()


def test_a_busy_user_counts_once_with_the_strongest_event() -> None:
    data = dataset(
        [(0, 0, 1.0, day) for day in range(5)] + [(0, 0, 3.0, 6), (1, 1, 2.0, 7), (2, 1, 2.0, 8)], 2
    )
    everything = fitted(data).retrieve(anonymous(), 2)
    assert items_of(everything) == [0, 1]
    assert everything.scores[0, 0] == pytest.approx(8.0)
    distinct = fitted(data, distinct_users=True).retrieve(anonymous(), 2)
    assert items_of(distinct) == [1, 0]
    np.testing.assert_allclose(distinct.scores[0], [4.0, 3.0], rtol=1e-6)


def test_ties_go_to_the_more_recent_item_then_to_the_lower_row() -> None:
    data = dataset([(0, 1, 1.0, 5), (0, 3, 1.0, 9), (0, 0, 1.0, 5)], 6)
    assert items_of(fitted(data).retrieve(anonymous(), 6)) == [3, 0, 1, 2, 4, 5]


def test_trending_halves_an_event_every_half_life() -> None:
    data = dataset([(0, 0, 4.0, 0), (1, 1, 1.5, 10), (0, 2, 1.0, 20)], 3)
    found = fitted(data, half_life_days=10.0).retrieve(anonymous(), 3)
    assert items_of(found) == [2, 0, 1]
    np.testing.assert_allclose(found.scores[0], [1.0, 1.0, 0.75], rtol=1e-6)


def test_trending_keeps_the_order_of_events_too_old_for_a_float() -> None:
    old = [(0, item, 1.0, float(item)) for item in range(3)]
    data = dataset([*old, (0, 3, 1.0, 100_000.0)], 5)
    found = fitted(data, half_life_days=0.5).retrieve(anonymous(), 5)
    assert items_of(found) == [3, 2, 1, 0, 4]
    assert (np.diff(found.scores[0]) <= 0).all()


def test_trending_with_distinct_users_takes_the_strongest_decayed_event() -> None:
    data = dataset([(0, 0, 3.0, 0), (0, 0, 1.0, 20), (1, 1, 1.2, 20)], 2)
    found = fitted(data, distinct_users=True, half_life_days=5.0).retrieve(anonymous(), 2)
    assert items_of(found) == [1, 0]
    np.testing.assert_allclose(found.scores[0], [1.2, 1.0], rtol=1e-6)


@pytest.mark.parametrize("half_life_days", [None, 3.0])
def test_answers_an_empty_catalogue_and_an_unfitted_one(half_life_days: float | None) -> None:
    empty = PopularityRetriever(Catalogue(), distinct_users=True, half_life_days=half_life_days)
    found = empty.retrieve(anonymous(2), 5)
    assert found.items.shape == found.scores.shape == found.evidence.shape == (2, 0)
    unfitted = PopularityRetriever(Catalogue(["a", "b", "c"]), distinct_users=True)
    assert items_of(unfitted.retrieve(anonymous(), 2)) == [0, 1]


@pytest.mark.parametrize("half_life_days", [None, 3.0])
def test_data_without_a_positive_event_ranks_in_catalogue_order(
    half_life_days: float | None,
) -> None:
    data = dataset([(0, 2, -1.0, 0)], 3)
    retriever = fitted(data, half_life_days=half_life_days)
    assert items_of(retriever.retrieve(anonymous(), 9)) == [0, 1, 2]


def test_everything_excluded_gives_pads() -> None:
    found = fitted(dataset([(0, 0, 1.0, 0)], 2)).retrieve(anonymous(excluded=[[0, 1, 1]]), 2)
    assert items_of(found) == [-1, -1]
    assert np.isneginf(found.scores).all()


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_agrees_with_masking_and_sorting_all_scores(data: st.DataObject) -> None:
    n_items = data.draw(st.integers(1, 30))
    rows = st.integers(-1, n_items + 2)
    events = data.draw(
        st.lists(
            st.tuples(
                st.integers(0, 5),
                st.integers(0, n_items - 1),
                st.sampled_from([-1.0, 0.5, 1.0, 2.0]),
                st.floats(0, 400),
            ),
            max_size=60,
        )
    )
    batch = data.draw(st.integers(1, 4))
    half_life = data.draw(st.sampled_from([None, 0.5, 30.0]))
    retriever = fitted(
        dataset(events, n_items),
        distinct_users=data.draw(st.booleans()),
        half_life_days=half_life,
    )
    ranking = items_of(retriever.retrieve(anonymous(), n_items))
    assert sorted(ranking) == list(range(n_items))

    masks = st.lists(st.booleans(), min_size=n_items, max_size=n_items)
    queries = Queries.of(
        Histories.empty(batch),
        np.zeros(batch, dtype=np.int64),
        anchors=np.array(data.draw(st.lists(rows, min_size=batch, max_size=batch)), np.int32),
        excluded=Ragged.of([data.draw(st.lists(rows.filter(lambda row: row >= 0))) for _ in range(batch)]),
    ).with_allowed(
        tuple(
            None if mask is None else np.array(mask)
            for mask in (data.draw(st.none() | masks) for _ in range(batch))
        )
    )
    k = data.draw(st.integers(1, n_items + 5))
    found = retriever.retrieve(queries, k)
    places = np.empty((batch, n_items), dtype=np.float32)
    places[:, ranking] = -np.arange(n_items)
    expected, _ = top_k(mask_scores(places, queries), k)
    np.testing.assert_array_equal(found.items, expected)
    np.testing.assert_array_equal(np.isneginf(found.scores), expected < 0)
    assert (found.scores[:, 1:] <= found.scores[:, :-1]).all()


def test_a_saved_ranking_comes_back_and_equal_data_give_equal_bytes(tmp_path: Path) -> None:
    data = dataset([(u, (u * 7) % 5, 1.0 + u, float(u)) for u in range(12)], 8)
    contents = []
    for name in ("a", "b"):
        directory = tmp_path / name
        directory.mkdir()
        fitted(data, half_life_days=4.0).save(directory)
        contents.append({path.name: path.read_bytes() for path in directory.iterdir()})
    assert contents[0] == contents[1]
    again = PopularityRetriever(data.catalogue, distinct_users=False)
    again.load(tmp_path / "a")
    expected = fitted(data, half_life_days=4.0).retrieve(anonymous(), 8)
    found = again.retrieve(anonymous(), 8)
    np.testing.assert_array_equal(found.items, expected.items)
    np.testing.assert_array_equal(found.scores, expected.scores)


@pytest.mark.parametrize("name", ["order.npy", "scores.npy"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "pickle", "shorter"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str, damage: str) -> None:
    data = dataset([(0, 1, 1.0, 0)], 50)
    fitted(data).save(tmp_path)
    path = tmp_path / name
    raw = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(raw[:-9])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "pickle":
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    else:
        np.save(path, np.load(path)[:-1])
    with pytest.raises(BundleError, match=name) as caught:
        PopularityRetriever(data.catalogue, distinct_users=True).load(tmp_path)
    assert "\n" not in caught.value.message


def test_an_order_that_is_no_ranking_and_rising_scores_are_refused(tmp_path: Path) -> None:
    retriever = fitted(dataset([(0, 1, 1.0, 0)], 3))
    retriever.save(tmp_path)
    np.save(tmp_path / "order.npy", np.array([0, 0, 1], dtype=np.int32))
    with pytest.raises(BundleError, match="not a ranking"):
        retriever.load(tmp_path)
    retriever.save(tmp_path)
    np.save(tmp_path / "scores.npy", np.array([0, 1, np.nan], dtype=np.float32))
    with pytest.raises(BundleError, match="falling"):
        retriever.load(tmp_path)


def test_the_hook_registers_both_with_strict_searchable_parameters() -> None:
    components = {component.name: component for component in register_retrievers()}
    assert sorted(components) == ["popular", "trending"]
    catalogue = Catalogue(["a"])
    for component in components.values():
        retriever = component.factory(component.params(), catalogue)
        assert items_of(retriever.retrieve(anonymous(), 3)) == [0]
        assert "search" in component.params.model_json_schema()["properties"]["distinct_users"]
    with pytest.raises(ValidationError):
        TrendingParams(half_life_days=0)
    with pytest.raises(ValidationError):
        PopularParams.model_validate({"half_life": 3})


def test_serving_imports_neither_torch_nor_numba() -> None:
    code = (
        "import sys, recserve_popular, recserve_popular.retriever\n"
        "assert not {'torch', 'numba', 'transformers', 'ray'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("name", ["popular", "trending"])
@pytest.mark.parametrize("distinct_users", [False, True])
def test_keeps_the_contract_of_a_retriever(name: str, distinct_users: bool) -> None:
    check_retriever(name, distinct_users=distinct_users)
