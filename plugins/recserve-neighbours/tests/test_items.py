"""The retriever ``item_knn`` against brute force, and what a bundle holds of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from recserve_neighbours import items, register_retrievers
from recserve_neighbours.items import ItemKnnRetriever, nearest_items
from recserve_neighbours.parameters import ItemKnnParams, UserKnnParams
from recserve_neighbours.weighting import Weighting
from scipy.sparse import csr_array

from recserve import (
    BundleError,
    Dataset,
    FitContext,
    InProcess,
)
from recserve.plugin.toolkit import item_comparison
from recserve.testing import (
    ProcessExecutor,
    check_executor,
    check_retriever,
    example_dataset,
    example_queries,
)
from recserve.testing import dataset_of as dataset
from recserve.testing import queries_after as asked

PLAIN = ItemKnnParams(shrink=0.0, neighbours=50)


def fitted(data: Dataset, params: ItemKnnParams = PLAIN) -> ItemKnnRetriever:
    retriever = ItemKnnRetriever(params, data.catalogue)
    retriever.fit(data, FitContext())
    return retriever


# Items 0 and 1 share users 0 and 1; item 2 has user 1 alone, item 3 user 2 alone; nobody likes item 4.
SMALL = dataset([(0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 1), (1, 2, 1), (2, 3, 1), (2, 4, -1)], 5)


def test_a_similarity_is_the_cosine_of_who_likes_what() -> None:
    neighbours, similarities = nearest_items(SMALL, PLAIN, FitContext())
    assert neighbours.tolist() == [[1, 2], [0, 2], [0, 1], [-1, -1], [-1, -1]]
    half = 1 / np.sqrt(2)
    np.testing.assert_allclose(similarities, [[1, half], [1, half], [half, half], [0, 0], [0, 0]], rtol=1e-6)


def test_shrinking_draws_what_rests_on_little_towards_zero() -> None:
    _, similarities = nearest_items(SMALL, ItemKnnParams(shrink=2.0), FitContext())
    np.testing.assert_allclose(similarities[0], [2 / (2 + 2), 1 / (np.sqrt(2) + 2)], rtol=1e-6)


def test_scores_are_sums_over_the_history_with_the_item_that_added_most() -> None:
    found = fitted(SMALL).retrieve(asked([0, 1], [2], [3], []), 5)
    half = 1 / np.sqrt(2)
    assert found.items[:, :2].tolist() == [[2, -1], [0, 1], [-1, -1], [-1, -1]]
    np.testing.assert_allclose(found.scores[0, 0], 2 * half, rtol=1e-6)
    np.testing.assert_allclose(found.scores[1, :2], [half, half], rtol=1e-6)
    assert found.evidence[:2, :2].tolist() == [[0, -1], [2, 2]]


def test_similar_items_are_found_from_both_ends() -> None:
    """A rare item is in nobody's short list, but has one of its own."""
    rows = [(user, item, 1.0) for user in range(6) for item in (0, 1)] + [(5, 2, 1.0)]
    retriever = fitted(dataset(rows, 3), ItemKnnParams(shrink=0.0, neighbours=1))
    found = retriever.retrieve(asked([], [], anchors=[2, 0]), 3)
    assert found.items.tolist() == [[0, -1, -1], [1, 2, -1]]
    np.testing.assert_allclose(found.scores[0, 0], 1 / np.sqrt(6), rtol=1e-6)
    assert found.evidence[0].tolist() == [2, -1, -1]


def test_an_anchor_is_joined_by_the_users_taste() -> None:
    rows = [(0, 0, 1.0), (0, 1, 1.0), (1, 0, 1.0), (1, 2, 1.0), (2, 2, 1.0), (2, 3, 1.0)]
    params = ItemKnnParams(shrink=0.0, personal_share=0.4)
    found = fitted(dataset(rows, 4), params).retrieve(asked([3], anchors=[0]), 4)
    # 2 is near both; 1 is near the anchor alone, by a cosine of 1/sqrt(2).
    assert found.items[0, :2].tolist() == [2, 1]
    np.testing.assert_allclose(
        found.scores[0, :2], [0.6 * 0.5 + 0.4 / np.sqrt(2), 0.6 / np.sqrt(2)], rtol=1e-6
    )
    assert found.evidence[0, :2].tolist() == [0, 0]


def similarity_of(matrix: np.ndarray, shrink: float) -> np.ndarray:
    """Shrunk cosines by definition, one pair at a time."""
    n_items = matrix.shape[1]
    lengths = np.linalg.norm(matrix, axis=0)
    similarity = np.zeros((n_items, n_items))
    for one in range(n_items):
        for other in range(n_items):
            below = lengths[one] * lengths[other] + shrink
            if one != other and below > 0:
                similarity[one, other] = matrix[:, one] @ matrix[:, other] / below
    return similarity


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_agrees_with_brute_force(data: st.DataObject) -> None:
    n_items = data.draw(st.integers(2, 9))
    weight = st.floats(0.1, 3.0) | st.just(-1.0)
    event = st.tuples(st.integers(0, 6), st.integers(0, n_items - 1), weight)
    events = dataset(data.draw(st.lists(event, min_size=1, max_size=40)), n_items)
    shrink, width = data.draw(st.sampled_from([0.0, 3.0])), data.draw(st.integers(1, n_items))
    history = data.draw(st.lists(st.integers(0, n_items - 1), min_size=1, max_size=5, unique=True))

    similarity = similarity_of(events.matrix().toarray().astype(np.float64), shrink)
    falling = -np.sort(-similarity, axis=1)
    if width < n_items:
        # Which of equally near items is kept is not said.
        cut = falling[:, width - 1] - falling[:, width]
        assume(((cut > 1e-4) | (falling[:, width - 1] == 0)).all())
    kept = np.where(similarity >= falling[:, [width - 1]] - 1e-9, similarity, 0.0)
    expected = kept[:, history].sum(axis=1)
    expected[history] = 0.0

    found = fitted(events, ItemKnnParams(shrink=shrink, neighbours=width)).retrieve(asked(history), n_items)
    real = found.items[0] >= 0
    returned, seeds = found.items[0][real], found.evidence[0][real]
    assert set(returned.tolist()) == set(np.flatnonzero(expected > 0).tolist())
    np.testing.assert_allclose(found.scores[0][real], expected[returned], rtol=1e-4)
    np.testing.assert_allclose(kept[returned, seeds], kept[returned][:, history].max(axis=1), rtol=1e-4)


def test_a_narrow_list_is_the_head_of_a_wide_one() -> None:
    data = example_dataset()
    wide, wide_values = nearest_items(data, ItemKnnParams(neighbours=59), FitContext())
    narrow, narrow_values = nearest_items(data, ItemKnnParams(neighbours=5), FitContext())
    np.testing.assert_array_equal(narrow, wide[:, :5])
    np.testing.assert_array_equal(narrow_values, wide_values[:, :5])
    assert (np.diff(wide_values, axis=1) <= 0).all()


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = example_dataset()
    queries = example_queries(data)
    whole = fitted(data)
    expected = whole.retrieve(queries, 10)
    monkeypatch.setattr(items, "NUMBERS_AT_A_TIME", 7 * data.n_items)
    monkeypatch.setattr(item_comparison, "PRODUCTS_AT_A_TIME", 7 * data.n_items)
    parts = fitted(data)
    found = parts.retrieve(queries, 10)
    for name in ("items", "scores", "evidence"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


class Several(InProcess):
    """This process, for several."""

    workers = 3


@settings(max_examples=40, deadline=None)
@given(parts=st.integers(1, 80), block=st.integers(1, 80), workers=st.sampled_from([InProcess, Several]))
def test_any_partition_finds_the_same_neighbours(parts: int, block: int, workers: type[InProcess]) -> None:
    data = example_dataset()
    expected = nearest_items(data, PLAIN, FitContext())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(item_comparison, "PARTS_A_WORKER", parts)
        patch.setattr(item_comparison, "LEAST_ITEMS", 1)
        patch.setattr(item_comparison, "PRODUCTS_AT_A_TIME", block * data.n_items)
        found = nearest_items(data, PLAIN, FitContext(executor=workers()))
        some = np.arange(5, data.n_items, 3)
        few = nearest_items(data, PLAIN, FitContext(executor=workers()), some)
    for alone, together, sample in zip(expected, found, few, strict=True):
        np.testing.assert_array_equal(together, alone)
        np.testing.assert_array_equal(sample, alone[some][:, : sample.shape[1]])


def test_processes_find_the_same_neighbours_and_settings(tmp_path: Path) -> None:
    data = example_dataset()
    facts = []
    with ProcessExecutor(2) as processes:
        for executor, name in ((InProcess(), "alone"), (processes, "together")):
            retriever = ItemKnnRetriever(ItemKnnParams(), data.catalogue)
            facts.append(retriever.fit(data, FitContext(executor=executor)))
            (tmp_path / name).mkdir()
            retriever.save(tmp_path / name)
    assert processes.parts
    assert facts[0] == facts[1]
    for file in (tmp_path / "alone").iterdir():
        assert file.read_bytes() == (tmp_path / "together" / file.name).read_bytes()


def test_keeps_the_contract_of_an_executor() -> None:
    check_executor("item_knn", neighbours=12, shrink=20.0, weighting="bm25")


def test_finds_the_other_items_of_a_topic() -> None:
    data = example_dataset()
    found = fitted(data, ItemKnnParams()).retrieve(asked([0, 4, 8], [1, 5]), 10)
    assert (found.items[0] % 4 == 0).mean() >= 0.9
    assert (found.items[1] % 4 == 1).mean() >= 0.9


@pytest.mark.parametrize("kind", ["tfidf", "bm25"])
def test_what_everybody_has_counts_less_than_what_few_have(kind: str) -> None:
    matrix = csr_array(np.array([[1, 1, 0], [1, 0, 1], [1, 0, 0], [1, 4, 0]], dtype=np.float32))
    weighted = Weighting(kind, matrix)(matrix).toarray()
    assert 0 <= weighted[0, 0] < weighted[0, 1] < weighted[1, 2]
    assert weighted[0, 1] < weighted[3, 1] < 4 * weighted[0, 1] + 1e-6
    np.testing.assert_array_equal(matrix.toarray()[3], [1, 4, 0])


def test_weights_of_tfidf_are_those_of_the_formula() -> None:
    matrix = csr_array(np.array([[2, 0], [1, 3]], dtype=np.float32))
    weighted = Weighting("tfidf", matrix)(matrix).toarray()
    np.testing.assert_allclose(weighted, [[0, 0], [0, np.sqrt(3) * np.log(3 / 2)]], rtol=1e-6)


def test_weights_of_bm25_are_those_of_the_formula() -> None:
    matrix = csr_array(np.array([[2, 0], [1, 3]], dtype=np.float32))
    weighted = Weighting("bm25", matrix)(matrix).toarray()
    idf = np.log(3 / 2)
    norm = 1 - 0.8 + 0.8 * 4 / 3
    np.testing.assert_allclose(weighted[1, 1], 3 * 101 / (100 * norm + 3) * idf, rtol=1e-6)


def test_a_saved_model_comes_back(tmp_path: Path) -> None:
    data = example_dataset()
    retriever = fitted(data)
    retriever.save(tmp_path)
    for path in tmp_path.iterdir():
        assert np.load(path).shape[0] == data.n_items
    again = ItemKnnRetriever(PLAIN, data.catalogue)
    again.load(tmp_path)
    queries = example_queries(data)
    for name in ("items", "scores", "evidence"):
        one, other = retriever.retrieve(queries, 10), again.retrieve(queries, 10)
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("name", ["neighbours.npy", "similarities.npy"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "pickle", "narrower", "fewer", "kind", "values"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str, damage: str) -> None:
    retriever = fitted(SMALL)
    retriever.save(tmp_path)
    path = tmp_path / name
    array = np.load(path)
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-5])
    elif damage == "pickle":
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    elif damage == "narrower":
        np.save(path, array[:, :-1])
    elif damage == "fewer":
        for one in ("neighbours.npy", "similarities.npy"):
            np.save(tmp_path / one, np.load(tmp_path / one)[:-1])
    elif damage == "kind":
        np.save(path, array.astype(np.float64))
    else:
        array[0, 0] = 5 if name == "neighbours.npy" else np.nan
        np.save(path, array)
    with pytest.raises(BundleError, match=r"neighbours\.npy|similarities\.npy") as caught:
        retriever.load(tmp_path)
    assert "\n" not in caught.value.message
    assert damage in ("narrower", "fewer") or name in caught.value.message


@pytest.mark.parametrize("n_items", [0, 1, 3])
def test_nothing_to_learn_from_answers_nothing(n_items: int, tmp_path: Path) -> None:
    data = dataset([], n_items)
    retriever = fitted(data)
    retriever.save(tmp_path)
    retriever.load(tmp_path)
    for one in (retriever, ItemKnnRetriever(PLAIN, data.catalogue)):
        assert (one.retrieve(asked([0, 1], []), 4).items == -1).all()


def test_parameters_are_strict_and_searchable() -> None:
    components = {component.name: component for component in register_retrievers()}
    assert sorted(components) == ["item_knn", "user_knn"]
    properties = ItemKnnParams.model_json_schema()["properties"]
    assert {"weighting", "shrink", "confidence_power", "half_life_events", "neighbours"} <= {
        name for name, field in properties.items() if "search" in field
    }
    for bad in ({"neighbours": 0}, {"weighting": "idf"}, {"half_life_events": 0}, {"width": 3}):
        with pytest.raises(ValidationError):
            ItemKnnParams.model_validate(bad)
    with pytest.raises(ValidationError):
        UserKnnParams(group_size=9)


def test_serving_imports_neither_torch_nor_numba() -> None:
    code = (
        "import sys, recserve_neighbours.items, recserve_neighbours.users\n"
        "assert not {'torch', 'numba', 'transformers', 'ray'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("weighting", ["none", "tfidf", "bm25"])
@pytest.mark.parametrize("half_life_events", [None, 4])
def test_keeps_the_contract_of_a_retriever(weighting: str, half_life_events: float | None) -> None:
    check_retriever("item_knn", weighting=weighting, half_life_events=half_life_events, neighbours=12)
