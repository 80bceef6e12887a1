"""Vector indexes: exact scores, kept filters, the promised recall, reproducible files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recserve import BundleError, ExactIndex, InvertedFileIndex, Ragged, VectorIndex, sample_queries
from recserve.data.arrays import BoolArray, FloatArray
from recserve.plugin.toolkit.inverted_file import RECALL, TUNED_FOR
from recserve.testing.examples import example_dataset

N, DIMENSION = 20_000, 16


def clustered(count: int, seed: int) -> FloatArray:
    """Vectors around 200 directions, few long and many short ones."""
    generator = np.random.default_rng(7)
    centres = generator.standard_normal((200, DIMENSION))
    generator = np.random.default_rng(seed)
    vectors = centres[generator.integers(0, 200, count)] + 0.5 * generator.standard_normal((count, DIMENSION))
    return (vectors * generator.lognormal(0, 0.5, (count, 1))).astype(np.float32)


def inverted(vectors: FloatArray, cosine: bool = False) -> InvertedFileIndex:
    queries = clustered(300, 2)
    seen = [np.random.default_rng(row).choice(len(vectors), min(20, len(vectors) // 4)) for row in range(300)]
    return InvertedFileIndex.build(vectors, queries, Ragged.of(seen), cosine=cosine, seed=3)


def exact(vectors: FloatArray, cosine: bool = False) -> ExactIndex:
    return ExactIndex(vectors, cosine=cosine)


Build = Callable[..., VectorIndex]
KINDS: dict[str, Build] = {"exact": exact, "inverted": inverted}


@pytest.fixture(scope="module")
def vectors() -> FloatArray:
    found = clustered(N, 1)
    found[::50] = 0
    return found


@pytest.fixture(scope="module", params=[(kind, cosine) for kind in KINDS for cosine in (False, True)])
def case(request: pytest.FixtureRequest, vectors: FloatArray) -> tuple[VectorIndex, bool]:
    kind, cosine = request.param
    return KINDS[kind](vectors, cosine), cosine


def scores_of(vectors: FloatArray, query: FloatArray, cosine: bool) -> FloatArray:
    norms = np.linalg.norm(vectors, axis=1)
    scores: FloatArray = vectors @ query
    if cosine:
        scores = scores / np.maximum(norms, 1e-12)
    scores[norms == 0] = -np.inf
    return scores


def check(
    index: VectorIndex, vectors: FloatArray, cosine: bool, k: int, mask: BoolArray | None, seed: int
) -> float:
    """Everything that holds for any search; the recall over some queries."""
    queries = clustered(40, seed)
    barred = [np.random.default_rng(row).choice(len(vectors) + 9, 20) - 3 for row in range(40)]
    rows, scores = index.search(queries, k, (mask,) * 40, Ragged.of(barred))
    assert rows.shape == scores.shape == (40, min(k, len(vectors)))
    assert rows.dtype == np.int32
    assert scores.dtype == np.float32
    shares = []
    for number, query in enumerate(queries):
        truth = scores_of(vectors, query, cosine)
        truth[np.setdiff1d(barred[number], [-3, -2, -1, *range(len(vectors), len(vectors) + 9)])] = -np.inf
        if mask is not None:
            truth[~mask] = -np.inf
        possible = int(np.isfinite(truth).sum())
        found = rows[number][rows[number] >= 0]
        # Never short, nothing twice, nothing forbidden, pads at the end.
        assert len(found) == min(k, possible)
        assert len(np.unique(found)) == len(found)
        assert (rows[number, : len(found)] >= 0).all()
        assert np.isneginf(scores[number, len(found) :]).all()
        np.testing.assert_allclose(scores[number, : len(found)], truth[found], rtol=1e-4, atol=1e-5)
        assert (np.diff(scores[number, : len(found)]) <= 0).all()
        best = np.argsort(-truth, kind="stable")[: len(found)]
        shares.append(len(np.intersect1d(best, found)) / len(found) if len(found) else 1.0)
    return float(np.mean(shares))


@pytest.mark.parametrize("k", [10, 60, 200, 700])
def test_recall_is_what_was_promised_for_queries_it_does_not_know(
    case: tuple[VectorIndex, bool], vectors: FloatArray, k: int
) -> None:
    index, cosine = case
    assert check(index, vectors, cosine, k, None, seed=4) >= RECALL - 0.01


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.01, 0.001, 0.0])
def test_filters_are_kept_and_pages_are_full(
    case: tuple[VectorIndex, bool], vectors: FloatArray, share: float
) -> None:
    index, cosine = case
    mask = np.random.default_rng(5).random(N) < share
    assert check(index, vectors, cosine, 50, mask, seed=6) >= RECALL - 0.01


def test_a_filter_that_leaves_one_corner_is_met(case: tuple[VectorIndex, bool], vectors: FloatArray) -> None:
    index, cosine = case
    promise = vectors @ clustered(1, 99)[0]
    assert check(index, vectors, cosine, 100, promise < np.quantile(promise, 0.2), seed=6) >= RECALL - 0.01


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(0, 60),
    k=st.integers(1, 80),
    share=st.sampled_from([None, 0.0, 0.3, 1.0]),
    kind=st.sampled_from(sorted(KINDS)),
    cosine=st.booleans(),
)
def test_small_catalogues_are_searched_completely(
    count: int, k: int, share: float | None, kind: str, cosine: bool
) -> None:
    few = clustered(count, 11)
    few[::7] = 0
    mask = None if share is None else np.random.default_rng(k).random(count) < share
    assert check(KINDS[kind](few, cosine), few, cosine, k, mask, seed=12) >= 0.9


def test_many_rows_are_scored_in_blocks() -> None:
    many = np.random.default_rng(3).integers(-9, 9, (600_000, 2)).astype(np.float32)
    queries = clustered(3, 4)[:, :2]
    mask = np.arange(len(many)) % 5 == 0
    barred = [np.arange(start, len(many), 1000) for start in (0, 5, 260_000)]
    rows, scores = ExactIndex(many).search(queries, 900, (mask, None, mask), Ragged.of(barred))
    for number, query in enumerate(queries):
        truth = scores_of(many, query, cosine=False)
        truth[barred[number]] = -np.inf
        if number != 1:
            truth[~mask] = -np.inf
        # Many scores are equal: the lower row comes first, whichever block it is in.
        np.testing.assert_array_equal(rows[number], np.argsort(-truth, kind="stable")[:900])
        np.testing.assert_allclose(scores[number], truth[rows[number]], rtol=1e-5)


def test_less_than_everything_is_read(vectors: FloatArray) -> None:
    facts = inverted(vectors).facts()
    assert facts["recall"] >= RECALL
    assert 100 < facts["read"]["100"] < N / 3
    json.dumps(facts)


def test_a_page_is_not_short_because_all_that_was_promising_is_excluded(
    case: tuple[VectorIndex, bool], vectors: FloatArray
) -> None:
    index, cosine = case
    query = clustered(1, 2)
    best = np.argsort(-scores_of(vectors, query[0], cosine))[:6000]
    rows, _ = index.search(query, 200, (None,), Ragged.of([best]))
    assert (rows >= 0).all()
    assert not np.isin(rows, best).any()


def test_a_batch_equals_its_parts_and_masks_are_told_apart(
    case: tuple[VectorIndex, bool],
) -> None:
    index, _ = case
    queries = clustered(12, 8)
    queries[3] = 0
    masks = tuple(np.random.default_rng(row).random(N) < 0.5 if row % 3 else None for row in range(12))
    for _ in range(2):
        rows, scores = index.search(queries, 20, masks)
        assert (rows[3] == -1).all()
        assert np.isneginf(scores[3]).all()
        for number in range(12):
            mask = masks[number]
            alone, _ = index.search(
                queries[number : number + 1], 20, (None if mask is None else mask.copy(),)
            )
            np.testing.assert_array_equal(alone[0], rows[number])


def test_no_queries_find_nothing(case: tuple[VectorIndex, bool]) -> None:
    rows, scores = case[0].search(np.empty((0, DIMENSION), np.float32), 5)
    assert rows.shape == scores.shape == (0, 5)


@pytest.mark.parametrize("cosine", [False, True])
def test_equal_vectors_give_equal_files_that_search_alike(
    vectors: FloatArray, cosine: bool, tmp_path: Path
) -> None:
    index = inverted(vectors, cosine)
    for name, made in (("first", index), ("second", inverted(vectors, cosine))):
        (tmp_path / name).mkdir()
        made.save(tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert len(files) == 3
    for name in files:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    again = InvertedFileIndex.load(tmp_path / "first", vectors)
    assert again.facts() == index.facts()
    mask = np.arange(N) % 3 == 0
    for allowed in ((None,) * 9, (mask,) * 9):
        before, after = (one.search(clustered(9, 21), TUNED_FOR[-1], allowed) for one in (index, again))
        np.testing.assert_array_equal(before[0], after[0])
        np.testing.assert_array_equal(before[1], after[1])


def test_damage_is_named(vectors: FloatArray, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="index in"):
        InvertedFileIndex.load(tmp_path, vectors)
    inverted(vectors).save(tmp_path)
    for other in (vectors[: N // 2], vectors[:, :-1]):
        with pytest.raises(BundleError, match="other vectors"):
            InvertedFileIndex.load(tmp_path, other)
    content = (tmp_path / "index.npy").read_bytes()
    stored = np.load(tmp_path / "index.npy")
    for damaged in (stored[: len(stored) // 2], stored[::-1].copy(), stored[:0]):
        np.save(tmp_path / "index.npy", damaged)
        with pytest.raises(BundleError, match="index in"):
            InvertedFileIndex.load(tmp_path, vectors)
    (tmp_path / "index.npy").write_bytes(content[:-9])
    with pytest.raises(BundleError, match="index in"):
        InvertedFileIndex.load(tmp_path, vectors)
    (tmp_path / "index.npy").write_bytes(content)
    (tmp_path / "index.json").write_text(
        json.dumps({"cosine": False, "probes": [1], "read": [9], "recall": 1})
    )
    with pytest.raises(BundleError, match="other vectors"):
        InvertedFileIndex.load(tmp_path, vectors)


def test_sample_queries_are_of_users_with_what_they_had_left_out() -> None:
    data = example_dataset()
    queries = sample_queries(data, seed=1, count=5)
    assert 0 < len(queries) <= 5
    for number in range(len(queries)):
        begin, end = queries.histories.offsets[number : number + 2]
        np.testing.assert_array_equal(queries.excluded[number], queries.histories.items[begin:end])
        assert end > begin
