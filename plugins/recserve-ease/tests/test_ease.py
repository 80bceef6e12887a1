"""The retriever ``ease`` against a plain inverse, its memory, and what a bundle holds of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from recserve_ease import closed_form, model, register_retrievers, retriever, selection
from recserve_ease.closed_form import ease_weights
from recserve_ease.parameters import EaseParams
from recserve_ease.retriever import EaseRetriever
from scipy.sparse import csr_array

from recserve import (
    BundleError,
    Catalogue,
    DataError,
    Dataset,
    FitContext,
    Retrieved,
)
from recserve.testing import (
    ProcessExecutor,
    check_executor,
    check_retriever,
    example_dataset,
    example_queries,
)
from recserve.testing import dataset_of as dataset
from recserve.testing import queries_after as asked

PLAIN = EaseParams(regularization=5.0)
KINDS = [{}, {"stored": "float16"}, {"neighbours": 12}]


def fitted(data: Dataset, params: EaseParams = PLAIN) -> EaseRetriever:
    built = EaseRetriever(params, data.catalogue)
    built.fit(data, FitContext())
    return built


def naive(matrix: np.ndarray, regularization: float) -> np.ndarray:
    """The formula of the paper."""
    inverse = np.linalg.inv(matrix.T @ matrix + regularization * np.eye(matrix.shape[1]))
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights


def assert_equal(one: Retrieved, other: Retrieved) -> None:
    for name in ("items", "scores", "evidence"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(0, 30),
    st.sampled_from([0.5, 10.0, 500.0]),
    st.sampled_from(["float32", "float64"]),
    st.integers(0, 9),
)
def test_weights_are_those_of_the_inverse(
    n_users: int, n_items: int, lam: float, kind: str, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    matrix = (generator.random((n_users, n_items)) < 0.3) * generator.random((n_users, n_items))
    found = ease_weights(csr_array(matrix.astype(np.float32)), lam, kind)
    assert found.dtype == np.dtype(kind)
    assert found.flags.c_contiguous
    tolerance = 1e-4 if kind == "float32" else 1e-6
    np.testing.assert_allclose(found, naive(matrix.astype(np.float32), lam), atol=tolerance)


def test_no_item_predicts_itself_and_each_is_predicted_as_well_as_it_can_be() -> None:
    """Any other weights of an item make the penalised error of predicting it larger."""
    matrix = example_dataset().matrix().toarray().astype(np.float64)
    found = ease_weights(csr_array(matrix.astype(np.float32)), 20.0, "float64")
    assert (np.diag(found) == 0).all()
    generator = np.random.default_rng(0)

    def loss(target: int, column: np.ndarray) -> float:
        return float(((matrix[:, target] - matrix @ column) ** 2).sum() + 20.0 * (column**2).sum())

    for target in range(0, matrix.shape[1], 7):
        best = loss(target, found[:, target])
        for _ in range(20):
            step = 0.01 * generator.standard_normal(matrix.shape[1])
            step[target] = 0.0
            assert loss(target, found[:, target] + step) > best


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    matrix = csr_array(example_dataset().matrix())
    whole = ease_weights(matrix, 3.0, kind)
    monkeypatch.setattr(closed_form, "_BLOCK", 7)
    np.testing.assert_array_equal(ease_weights(matrix, 3.0, kind), whole)


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_processes_find_the_same_weights(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    matrix = csr_array(example_dataset().matrix())
    alone = ease_weights(matrix, 3.0, kind)
    monkeypatch.setattr(closed_form, "_BLOCK", 7)
    with ProcessExecutor(2) as processes:
        np.testing.assert_array_equal(ease_weights(matrix, 3.0, kind, executor=processes), alone)
        assert processes.parts == -(-matrix.shape[1] // 7)


def test_keeps_the_contract_of_an_executor() -> None:
    check_executor("ease", regularization=5.0)


def test_a_matrix_that_cannot_be_inverted_says_what_to_do() -> None:
    same = csr_array(np.full((500, 40), 1000.0, dtype=np.float32))
    with pytest.raises(DataError, match="raise the regularization, or set precision to float64") as caught:
        ease_weights(same, 1e-6, "float32")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_scores_are_the_history_times_the_weights(power: float) -> None:
    data = example_dataset()
    matrix = data.matrix().toarray().astype(np.float64)
    matrix = np.where(matrix > 0, np.maximum(matrix, 1e-9) ** power, 0.0)
    weights = naive(matrix, 5.0)
    params = EaseParams(regularization=5.0, confidence_power=power, precision="float64")
    lists = [[0, 4, 8], [1], [3, 2]]
    found = fitted(data, params).retrieve(asked(*lists), 60)
    for row, history in enumerate(lists):
        expected = weights[history].sum(axis=0)
        order = [item for item in np.argsort(-expected, kind="stable").tolist() if item not in history]
        assert found.items[row, : len(order)].tolist() == order
        np.testing.assert_allclose(found.scores[row, : len(order)], expected[order], atol=1e-5)
        for item, seed in zip(order, found.evidence[row].tolist(), strict=False):
            best = history[int(weights[history, item].argmax())]
            assert seed == (best if weights[best, item] > 0 else -1)


def test_an_anchor_weighs_most() -> None:
    data = example_dataset()
    weights = naive((data.matrix().toarray() > 0).astype(np.float64), 5.0)
    params = EaseParams(regularization=5.0, personal_share=0.2, precision="float64")
    found = fitted(data, params).retrieve(asked([3, 7], [], anchors=[4, 4]), 5)
    mixed = 0.8 * weights[4] + 0.1 * weights[[3, 7]].sum(axis=0)
    np.testing.assert_allclose(found.scores[0], mixed[found.items[0]], atol=1e-5)
    np.testing.assert_allclose(found.scores[1], weights[4][found.items[1]], atol=1e-5)
    assert (found.evidence[1] == 4).all()


def test_half_precision_and_the_largest_weights_stay_close() -> None:
    data = example_dataset()
    queries = example_queries(data)
    exact = fitted(data).retrieve(queries, 10)
    half = fitted(data, EaseParams(regularization=5.0, stored="float16")).retrieve(queries, 10)
    real = exact.items >= 0
    np.testing.assert_allclose(half.scores[real], exact.scores[real], atol=2e-3)
    every = fitted(data, EaseParams(regularization=5.0, neighbours=59)).retrieve(queries, 10)
    np.testing.assert_array_equal(every.items[real], exact.items[real])
    np.testing.assert_allclose(every.scores[real], exact.scores[real], atol=1e-5)
    np.testing.assert_array_equal(every.evidence[real], exact.evidence[real])


def test_the_weights_kept_are_those_of_largest_amount() -> None:
    weights = np.array([[0, 0.1, -0.9], [0.5, 0, 0.2], [-0.7, 0.3, 0]], dtype=np.float32)
    kept = model.largest_weights(np.array([True, False, True, True]), weights, 1)
    rows = np.arange(4, dtype=np.int32)
    expected = np.zeros((4, 4), dtype=np.float32)
    expected[3, 0], expected[3, 2], expected[0, 3] = -0.7, 0.3, -0.9
    np.testing.assert_array_equal(kept.block(rows, rows), expected)
    taste = csr_array(np.array([[1, 5, 0, 2]], dtype=np.float32))
    expected_scores = [2 * np.float32(-0.7), -np.inf, 2 * np.float32(0.3), np.float32(-0.9)]
    np.testing.assert_allclose(kept.scores(taste)[0], expected_scores)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_change_nothing(monkeypatch: pytest.MonkeyPatch, kind: dict[str, object]) -> None:
    data = example_dataset()
    queries = example_queries(data)
    built = fitted(data, EaseParams.model_validate({"regularization": 5.0, **kind}))
    expected = built.retrieve(queries, 10)
    monkeypatch.setattr(retriever, "SCORES_AT_A_TIME", 5 * data.n_items)
    assert_equal(built.retrieve(queries, 10), expected)


def test_rows_of_half_precision_are_widened_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    data = example_dataset()
    queries = example_queries(data)
    built = fitted(data, EaseParams(regularization=5.0, stored="float16"))
    expected = built.retrieve(queries, 10)
    monkeypatch.setattr(model, "_ROWS_AT_A_TIME", 7)
    found = built.retrieve(queries, 10)
    np.testing.assert_array_equal(found.items, expected.items)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)


def test_items_with_too_few_people_take_no_part() -> None:
    rows = [(user, item, 1.0) for user in range(6) for item in (1, 2, 3)] + [(0, 0, 1.0), (1, 0, 1.0)]
    rows += [(user, item, 1.0) for user in range(6, 12) for item in (2, 3)]
    built = EaseRetriever(EaseParams(regularization=1.0, min_events=3), Catalogue(list("abcde")))
    assert built.fit(dataset(rows, 5), FitContext())["items"] == 3
    found = built.retrieve(asked([1], [0], [0, 1]), 5)
    assert [sorted(row[row >= 0].tolist()) for row in found.items] == [[2, 3], [], [2, 3]]
    assert (found.evidence[2][:2] == 1).all()


def test_too_many_items_are_refused_with_the_memory_they_take() -> None:
    data = example_dataset()
    with pytest.raises(DataError, match=r"60 items need 0\.0 GB .* max_items is 59") as caught:
        fitted(data, EaseParams(max_items=59))
    assert "\n" not in caught.value.message
    fitted(data, EaseParams(max_items=60, regularization=5.0))
    with pytest.raises(DataError, match=r"ease: 40,000 items need 12\.8 GB for their float64 inverse"):
        fitted(dataset([(0, item, 1.0) for item in range(40_000)], 40_000), EaseParams(precision="float64"))


# The regularisation.


def test_the_regularization_is_chosen_and_taken_over() -> None:
    data = example_dataset(n_users=200)
    built = EaseRetriever(EaseParams(), data.catalogue)
    facts = dict(built.fit(data, FitContext()))
    tried = {float(value): score for value, score in facts["validation"].items()}
    assert len(tried) >= 2
    assert facts["regularization"] == max(tried, key=lambda value: tried[value])
    assert set(tried) <= set(selection.REGULARIZATIONS)

    again = EaseRetriever(EaseParams(), data.catalogue)
    prior = {"regularization": 77.0}
    assert again.fit(data, FitContext(previous=prior)) == {"items": 60, "regularization": 77.0}
    configured = EaseRetriever(EaseParams(regularization=3.0), data.catalogue)
    assert configured.fit(data, FitContext(previous=prior))["regularization"] == 3.0


def test_held_out_are_the_newest_events_of_each_user() -> None:
    rows = [(user, (user * 3 - step) % 50, 1.0) for step in range(10) for user in range(40)]
    training, known, wanted = selection.held_out(dataset(rows, 60), 1.0, 0) or (None, None, None)
    assert training is not None
    assert known is not None
    assert wanted is not None
    assert (training.nnz, wanted.nnz) == (9 * 40, 40)
    whole = dataset(rows, 60)
    popular = np.sort(np.argsort(-whole.item_counts, kind="stable")[: selection.MAX_ITEMS])
    for user in range(40):
        assert popular[wanted[[user]].indices].tolist() == [(user * 3 - 9) % 50]
        assert (user * 3 - 9) % 50 not in popular[known[[user]].indices].tolist()


def test_validation_ranks_what_is_not_known_yet() -> None:
    """Known items score highest; behind them the first user's item comes first, the second one's second."""
    weights = np.array([[9, 5, 3, 0], [0, 9, 0, 0], [0, 0, 9, 0], [0, 0, 0, 9]], dtype=np.float32)
    known = csr_array(np.array([[1, 0, 0, 0], [1, 0, 0, 0]], dtype=np.float32))
    wanted = csr_array(np.array([[0, 1, 0, 0], [0, 0, 1, 0]], dtype=np.float32))
    found = np.concatenate(list(selection.gains(weights, known, wanted)))
    np.testing.assert_allclose(found, [1.0, 1 / np.log2(3)])


def test_few_users_take_the_middle() -> None:
    data = example_dataset(n_users=20)
    facts = EaseRetriever(EaseParams(), data.catalogue).fit(data, FitContext())
    assert facts == {"items": 58, "regularization": 300.0}


def test_validation_needs_the_popular_items_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "MAX_ITEMS", 20)
    data = example_dataset(n_users=200)
    parts = selection.held_out(data, 0.0, 0)
    assert parts is not None
    assert [part.shape[1] for part in parts] == [20, 20, 20]
    chosen, tried = selection.choose_regularization(data, 0.0, 0, lambda *_: None)
    assert f"{chosen:g}" in tried


# Bundles.


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_comes_back(tmp_path: Path, kind: dict[str, object]) -> None:
    data = example_dataset()
    params = EaseParams.model_validate({"regularization": 5.0, **kind})
    built = fitted(data, params)
    built.save(tmp_path)
    again = EaseRetriever(params, data.catalogue)
    again.load(tmp_path)
    queries = example_queries(data)
    assert_equal(built.retrieve(queries, 10), again.retrieve(queries, 10))
    # The deletion check takes an array with a row a user for one about users.
    shapes = {path.name: np.load(path).shape for path in tmp_path.iterdir()}
    assert all(shape[0] in (1, data.n_items) for shape in shapes.values()), shapes


def no_kept(folder: Path) -> None:
    (folder / "kept.npy").unlink()


def cut(folder: Path) -> None:
    path = folder / "weights.npy"
    path.write_bytes(path.read_bytes()[:-5])


def pickled(folder: Path) -> None:
    np.save(folder / "weights.npy", np.array([{}], dtype=object), allow_pickle=True)


def smaller(folder: Path) -> None:
    np.save(folder / "weights.npy", np.load(folder / "weights.npy")[..., :-1])


def other_kind(folder: Path) -> None:
    np.save(folder / "weights.npy", np.load(folder / "weights.npy").astype(np.float64))


def infinite(folder: Path) -> None:
    weights = np.load(folder / "weights.npy")
    weights[0, -1] = np.inf
    np.save(folder / "weights.npy", weights)


def other_catalogue(folder: Path) -> None:
    for name in ("kept.npy", "sources.npy", "weights.npy"):
        path = folder / name
        if path.exists() and not (name == "weights.npy" and (folder / "kept.npy").exists()):
            np.save(path, np.load(path)[:-1])


def strange_items(folder: Path) -> None:
    sources = np.load(folder / "sources.npy")
    sources[0, 0] = 60
    np.save(folder / "sources.npy", sources)


DENSE_DAMAGE = [no_kept, cut, pickled, smaller, other_kind, infinite, other_catalogue]
SPARSE_DAMAGE = [cut, pickled, smaller, other_kind, infinite, other_catalogue, strange_items]


@pytest.mark.parametrize(
    ("kind", "damage"),
    [({}, damage) for damage in DENSE_DAMAGE] + [({"neighbours": 12}, damage) for damage in SPARSE_DAMAGE],
)
def test_a_damaged_file_is_refused(
    tmp_path: Path, kind: dict[str, object], damage: Callable[[Path], None]
) -> None:
    built = fitted(example_dataset(), EaseParams.model_validate({"regularization": 5.0, **kind}))
    built.save(tmp_path)
    built.load(tmp_path)
    damage(tmp_path)
    with pytest.raises(BundleError, match=r"(kept|weights|sources)\.npy") as caught:
        built.load(tmp_path)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("n_items", [0, 1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_to_learn_from_answers_nothing(tmp_path: Path, n_items: int, kind: dict[str, object]) -> None:
    params = EaseParams.model_validate(kind)
    data = dataset([], n_items)
    built = fitted(data, params)
    built.save(tmp_path)
    built.load(tmp_path)
    for one in (built, EaseRetriever(params, data.catalogue)):
        assert (one.retrieve(asked([0, 1], []), 4).items == -1).all()


def test_parameters_are_strict_and_searchable() -> None:
    (component,) = register_retrievers()
    assert component.name == "ease"
    properties = EaseParams.model_json_schema()["properties"]
    assert {"regularization", "confidence_power", "min_events", "neighbours"} <= {
        name for name, field in properties.items() if "search" in field
    }
    for bad in ({"regularization": 0}, {"precision": "float16"}, {"neighbours": 0}, {"lambda": 3}):
        with pytest.raises(ValidationError):
            EaseParams.model_validate(bad)


def test_serving_imports_neither_torch_nor_numba() -> None:
    code = (
        "import sys, recserve_ease.retriever\n"
        "assert not {'torch', 'numba', 'transformers', 'ray'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("min_events", [1, 12])
def test_keeps_the_contract_of_a_retriever(kind: dict[str, object], min_events: int) -> None:
    check_retriever("ease", min_events=min_events, **kind)
