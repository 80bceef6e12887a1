"""The retriever ``graph_filter`` against the paper's formula, its memory, and what a bundle holds of it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recserve_graph import decomposition, register_retrievers, retriever
from recserve_graph.decomposition import leading_directions
from recserve_graph.graph import Graph
from recserve_graph.parameters import GraphFilterParams
from recserve_graph.retriever import GraphFilterRetriever
from recserve_graph.settings import MOST_ENTRIES, Settings, affordable, default_rank
from scipy.sparse import csr_array

from recserve import BundleError, Dataset, FitContext, Queries, Ragged, Retrieved
from recserve.testing import (
    check_executor,
    check_retriever,
    example_dataset,
    example_queries,
)
from recserve.testing import dataset_of as dataset
from recserve.testing import queries_after as asked
from recserve.testing.examples import TOPICS

PAPER = GraphFilterParams(
    rank=len(TOPICS),
    spectral_power=0.0,
    linear_weight=1 / 0.3,
    source_exponent=0.5,
    target_exponent=0.5,
    linear_exponent=0.0,
    neighbours=1000,
    item_exponent=0.5,
    user_exponent=0.5,
    confidence_power=0.0,
    half_life_events=0.0,
)


def fitted(data: Dataset, params: GraphFilterParams = PAPER) -> GraphFilterRetriever:
    built = GraphFilterRetriever(params, data.catalogue)
    built.fit(data, FitContext(threads=1))
    return built


def formula(data: Dataset, rank: int, weight: float) -> np.ndarray:
    """GF-CF as published, by dense matrices, for each user of the data; an item says nothing of itself."""
    liked = (data.matrix().toarray() > 0).astype(np.float64)
    users, items = liked.sum(axis=1), liked.sum(axis=0)
    users, items = np.where(users > 0, users, 1.0), np.where(items > 0, items, 1.0)
    normalised = liked / np.sqrt(users)[:, None] / np.sqrt(items)
    linear = normalised.T @ normalised
    np.fill_diagonal(linear, 0.0)
    vectors = np.linalg.svd(normalised)[2][:rank].T
    low_pass = (vectors / np.sqrt(items)[:, None]) @ (vectors * np.sqrt(items)[:, None]).T
    return np.asarray(liked @ (linear / weight + low_pass))


def test_users_who_are_folded_in_get_what_the_paper_gives_users_it_was_fitted_on() -> None:
    data = example_dataset()
    expected = formula(data, len(TOPICS), 0.3)
    histories = data.histories
    queries = Queries.of(
        histories,
        np.zeros(len(histories), np.int64),
        excluded=Ragged.of([[] for _ in range(len(histories))]),
    )
    found = fitted(data).retrieve(queries, data.n_items)
    assert (found.items >= 0).all(), "every item has an event, and scores may be negative"
    for user in range(data.n_users):
        np.testing.assert_allclose(found.scores[user], expected[user, found.items[user]], atol=2e-3)


def test_scores_are_sums_over_the_history() -> None:
    """A user's scores follow from his items alone, so nobody is fitted and nobody has to be."""
    data = example_dataset()
    built = fitted(data)
    everything = np.arange(data.n_items, dtype=np.int32)
    weights = built._model.block(everything, everything)
    found = built.retrieve(asked([3, 8, 21]), data.n_items)
    real = found.items[0] >= 0
    np.testing.assert_allclose(
        found.scores[0][real], weights[[3, 8, 21]].sum(axis=0)[found.items[0][real]], rtol=1e-4, atol=1e-6
    )


def test_evidence_is_the_item_that_adds_most() -> None:
    # 0 and 1 go together, 2 and 3 do.
    rows = [(user, item, 1.0) for user in range(6) for item in ((0, 1) if user % 2 else (2, 3))]
    rows += [(6, 0, 1.0), (6, 2, 1.0)]
    found = fitted(dataset(rows, 5), PAPER.model_copy(update={"rank": 2})).retrieve(asked([0, 2]), 5)
    seeds = dict(zip(found.items[0].tolist(), found.evidence[0].tolist(), strict=True))
    assert seeds[1] == 0
    assert seeds[3] == 2
    assert 4 not in seeds, "nobody likes it"


def test_who_is_unknown_gets_pads_and_an_anchor_gets_what_is_like_it() -> None:
    rows = [(user, item, 1.0) for user in range(6) for item in ((0, 1) if user % 2 else (2, 3))]
    built = fitted(dataset(rows, 5), PAPER.model_copy(update={"rank": 2}))
    assert (built.retrieve(asked([], [4]), 5).items == -1).all()
    assert built.retrieve(asked([], anchors=[2]), 2).items[0, 0] == 3


def test_without_a_positive_event_nothing_is_found() -> None:
    data = dataset([(0, 0, -1.0), (1, 1, -1.0)], 3)
    built = GraphFilterRetriever(GraphFilterParams(), data.catalogue)
    assert built.fit(data, FitContext(threads=1)) == {"edges": 0}
    assert (built.retrieve(asked([0]), 3).items == -1).all()


def test_directions_are_those_of_a_full_decomposition() -> None:
    generator = np.random.default_rng(0)
    # A spectrum that falls, as that of behaviour does.
    dense = (generator.standard_normal((60, 12)) * 0.6 ** np.arange(12)) @ generator.standard_normal((12, 40))
    values, vectors = leading_directions(
        csr_array(dense.astype(np.float32)), 5, 0, FitContext().executor, lambda label, done, total: None
    )
    expected, right = np.linalg.svd(dense)[1:]
    np.testing.assert_allclose(values, expected[:5], rtol=1e-4)
    np.testing.assert_allclose(vectors @ vectors.T, right[:5].T @ right[:5], atol=2e-3)


@pytest.mark.parametrize("blocks", [1, 3, 50])
def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, blocks: int) -> None:
    data = example_dataset()
    queries = example_queries(data)
    expected = fitted(data).retrieve(queries, 10)
    monkeypatch.setattr(decomposition, "BLOCKS_A_WORKER", blocks)
    monkeypatch.setattr(retriever, "SCORES_AT_A_TIME", 7 * data.n_items)
    found = fitted(data).retrieve(queries, 10)
    np.testing.assert_array_equal(found.items, expected.items)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)


def test_keeps_the_contract_of_an_executor() -> None:
    check_executor("graph_filter", tries=3)


def test_keeps_the_contract_of_a_retriever() -> None:
    check_retriever("graph_filter", tries=3)


def test_a_bundle_gives_the_same_back_and_refuses_another_catalogue(tmp_path: Path) -> None:
    data = example_dataset()
    built = fitted(data, PAPER.model_copy(update={"half_life_events": 5.0, "confidence_power": 0.5}))
    built.save(tmp_path)
    fresh = GraphFilterRetriever(GraphFilterParams(), data.catalogue)
    fresh.load(tmp_path)
    queries = example_queries(data)
    assert_equal(fresh.retrieve(queries, 10), built.retrieve(queries, 10))
    other = GraphFilterRetriever(GraphFilterParams(), example_dataset(length=3).catalogue)
    other.load(tmp_path)
    np.save(tmp_path / "gains.npy", np.full(len(TOPICS), np.nan, dtype=np.float32))
    with pytest.raises(BundleError, match="not finite"):
        fresh.load(tmp_path)
    (tmp_path / "vectors.npy").unlink()
    with pytest.raises(BundleError):
        fresh.load(tmp_path)


def test_no_file_holds_a_row_for_each_user(tmp_path: Path) -> None:
    data = example_dataset(n_users=83)
    fitted(data).save(tmp_path)
    for file in tmp_path.iterdir():
        assert 83 not in np.load(file).shape[:1]


def test_large_catalogues_get_narrow_parts() -> None:
    assert affordable(1_000_000) * 1_000_000 <= MOST_ENTRIES
    usual = Settings.usual(1_000_000, 1_000_000)
    assert max(usual.rank, usual.neighbours) * 1_000_000 <= MOST_ENTRIES
    assert [default_rank(side) for side in (1, 1000, 10_000, 10**9)] == [16, 32, 128, 256]


def test_a_graph_is_normalised_at_both_ends() -> None:
    data = dataset([(0, 0, 1.0), (0, 1, 1.0), (1, 1, 1.0), (2, 2, -1.0)], 3)
    graph = Graph.of(data, Settings.usual(3, 2))
    np.testing.assert_allclose(graph.edges.toarray(), [[1 / 2**0.5, 1 / 2, 0], [0, 1 / 2**0.5, 0]], rtol=1e-6)
    assert graph.degrees.tolist() == [1, 2, 0]


def test_neither_torch_nor_numba_is_imported() -> None:
    code = "import sys, recserve_graph.retriever; sys.exit(bool({'torch', 'numba'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert [component.name for component in register_retrievers()] == ["graph_filter"]


def assert_equal(one: Retrieved, other: Retrieved) -> None:
    for name in ("items", "scores", "evidence"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_taken_over_settings_are_not_searched_again() -> None:
    data = example_dataset(n_users=120)
    first = GraphFilterRetriever(GraphFilterParams(tries=5), data.catalogue)
    facts = dict(first.fit(data, FitContext(threads=1)))
    again = dict(
        GraphFilterRetriever(GraphFilterParams(tries=5), data.catalogue).fit(
            data, replace(FitContext(threads=1), previous=facts)
        )
    )
    assert "validation" not in again
    assert again == {name: value for name, value in facts.items() if name != "validation"}
