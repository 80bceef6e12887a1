"""Approximate search: as good as promised, never short, reproducible."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from recserve_mf.cell_index import RECALL, TUNED_FOR, CellIndex, Measure
from recserve_mf.cells import RUN, Stretches

from recserve import BundleError, Ragged, top_k
from recserve.data.arrays import FloatArray, Int32Array, Int64Array

N, DIMENSION = 20_000, 16
NOTHING: Int64Array = np.empty(0, dtype=np.int64)


def clustered(count: int, seed: int) -> FloatArray:
    """Vectors around 200 directions, few long and many short ones."""
    generator = np.random.default_rng(7)
    centres = generator.standard_normal((200, DIMENSION))
    generator = np.random.default_rng(seed)
    vectors = centres[generator.integers(0, 200, count)] + 0.5 * generator.standard_normal((count, DIMENSION))
    return (vectors * generator.pareto(2.0, (count, 1))).astype(np.float32)


class Case:
    """An index over vectors of which some cannot be found."""

    def __init__(self) -> None:
        self.vectors = clustered(N, 1)
        self.vectors[::50] = 0
        self.members = np.arange(N) % 7 != 0
        self.index, self.order = CellIndex.build(self.vectors, self.members, 3)
        self.stored = self.vectors[self.order]
        self.places = np.empty(N, dtype=np.int64)
        self.places[self.order] = np.arange(N)
        self.queries = clustered(300, 2)
        self.seen = [np.random.default_rng(i).choice(N, 20, replace=False) for i in range(300)]
        excluded = Ragged.of([self.places[rows].tolist() for rows in self.seen])
        for measure in ("product", "cosine"):
            self.index.tune(self.stored, measure, self.queries[:200], excluded)

    def exact(self, measure: Measure, query: FloatArray, k: int, barred: Int64Array) -> Int32Array:
        scores = self.vectors @ query
        if measure == "cosine":
            scores /= np.maximum(np.linalg.norm(self.vectors, axis=1), 1e-12)
        scores[~self.members | ~self.vectors.any(axis=1)] = -np.inf
        scores[barred] = -np.inf
        found: Int32Array = top_k(scores[None, :], k)[0][0]
        return found

    def recall(self, measure: Measure, k: int, allowed: np.ndarray | None = None) -> float:
        shares = []
        for number in range(200, 300):
            query, seen = self.queries[number], self.seen[number]
            found, scores = self.index.search(
                self.stored, measure, query[None, :], k, (allowed,), (self.places[seen],)
            )
            assert (np.diff(scores[0]) <= 0).all()
            assert not set(found[0].tolist()) & set(seen.tolist())
            assert allowed is None or allowed[found[0]].all()
            assert self.members[found[0]].all()
            barred = seen if allowed is None else np.union1d(seen, np.flatnonzero(~allowed))
            best = self.exact(measure, query, k, barred)
            shares.append(len(set(best.tolist()) & set(found[0].tolist())) / k)
        return float(np.mean(shares))


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


def test_the_order_holds_every_vector_once_and_cells_are_sorted_by_length(case: Case) -> None:
    np.testing.assert_array_equal(np.sort(case.order), np.arange(N))
    findable = case.members & case.vectors.any(axis=1)
    np.testing.assert_array_equal(np.sort(case.index.rows), np.flatnonzero(findable))
    lengths = np.linalg.norm(case.stored, axis=1)
    starts = case.index.cells.starts
    for start, end in pairwise(starts.tolist()):
        assert (np.diff(lengths[start:end]) <= 1e-5).all()


@pytest.mark.parametrize("measure", ["product", "cosine"])
@pytest.mark.parametrize("k", [10, 60, 100, 200, 400, 700])
def test_recall_is_what_was_promised_for_queries_it_does_not_know(
    case: Case, measure: Measure, k: int
) -> None:
    assert case.recall(measure, k) >= RECALL
    effort = case.index.efforts[measure]
    assert effort.recall >= RECALL
    # Or else it would have been easy.
    assert effort.reading(100) < len(case.index) / 2


def test_less_is_read_than_everything(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    honest = CellIndex._read

    def counting(*arguments: object) -> object:
        stretches = arguments[-1]
        read.append(len(stretches) if isinstance(stretches, Stretches) else N)
        return honest(*arguments)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(CellIndex, "_read", counting)
    case.recall("product", 100)
    assert np.mean(read) < len(case.index) / 2
    assert max(read) <= case.index.efforts["product"].reading(100) + RUN


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.01])
def test_recall_holds_under_filters(case: Case, share: float) -> None:
    allowed = np.random.default_rng(5).random(N) < share
    assert case.recall("product", 50, allowed) >= RECALL


def test_a_filter_that_leaves_one_corner_is_met(case: Case) -> None:
    allowed = case.vectors @ clustered(1, 99)[0] < np.quantile(case.vectors @ clustered(1, 99)[0], 0.2)
    assert case.recall("product", 100, allowed) >= RECALL


def test_a_narrow_filter_still_fills_the_page_exactly(case: Case) -> None:
    allowed = np.zeros(N, dtype=np.bool_)
    rows = case.index.rows[np.random.default_rng(4).choice(len(case.index), 30, replace=False)]
    allowed[rows] = True
    found, scores = case.index.search(case.stored, "product", case.queries[:1], 40, (allowed,), (NOTHING,))
    expected = case.exact("product", case.queries[0], 40, np.flatnonzero(~allowed))
    np.testing.assert_array_equal(found[0], expected)
    assert np.isneginf(scores[0, 30:]).all()


def test_a_page_is_not_short_because_nearly_all_that_was_promising_is_excluded(case: Case) -> None:
    query = case.queries[0]
    best = case.exact("product", query, 6000, NOTHING)
    excluded = np.sort(case.places[best]).astype(np.int64)
    found, _ = case.index.search(case.stored, "product", query[None, :], 200, (None,), (excluded,))
    assert (found >= 0).all()
    assert not set(found[0].tolist()) & set(best.tolist())


def test_masks_are_told_apart_and_a_batch_equals_its_parts(case: Case) -> None:
    masks = tuple(np.random.default_rng(i).random(N) < 0.5 for i in range(12))
    for _ in range(2):
        whole, _ = case.index.search(case.stored, "product", case.queries[:12], 20, masks, (NOTHING,) * 12)
        for number, mask in enumerate(masks):
            alone, _ = case.index.search(
                case.stored, "product", case.queries[number : number + 1], 20, (mask.copy(),), (NOTHING,)
            )
            np.testing.assert_array_equal(alone[0], whole[number])
            assert mask[whole[number]].all()


def test_longer_masks_cover_items_beyond_the_index(case: Case) -> None:
    allowed = np.ones(N + 5, dtype=np.bool_)
    found, _ = case.index.search(case.stored, "product", case.queries[:1], 20, (allowed,), (NOTHING,))
    bare, _ = case.index.search(case.stored, "product", case.queries[:1], 20, (None,), (NOTHING,))
    np.testing.assert_array_equal(found, bare)


def test_a_query_without_direction_finds_nothing(case: Case) -> None:
    queries = np.stack([np.zeros(DIMENSION, np.float32), case.queries[0]])
    found, scores = case.index.search(case.stored, "product", queries, 5, (None, None), (NOTHING, NOTHING))
    assert (found[0] == -1).all()
    assert np.isneginf(scores[0]).all()
    assert (found[1] >= 0).all()


def test_without_tuning_everything_is_read(case: Case) -> None:
    index = CellIndex(case.index.rows, np.linalg.norm(case.stored, axis=1), case.index.cells, {})
    found, _ = index.search(case.stored, "product", case.queries[:1], 50, (None,), (NOTHING,))
    np.testing.assert_array_equal(found[0], case.exact("product", case.queries[0], 50, NOTHING))


def test_equal_vectors_give_equal_files_that_search_alike(case: Case, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    case.index.save(tmp_path / "one")
    Case().index.save(tmp_path / "two")
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(files) == 4
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    again = CellIndex.load(tmp_path / "one", case.stored)
    assert again.efforts == case.index.efforts
    before, after = (
        index.search(case.stored, "product", case.queries[:3], TUNED_FOR[-1], (None,) * 3, (NOTHING,) * 3)
        for index in (case.index, again)
    )
    np.testing.assert_array_equal(before[0], after[0])
    np.testing.assert_array_equal(before[1], after[1])


@pytest.mark.parametrize("few", [1, 2, 5, 70])
def test_few_vectors_are_all_found(few: int) -> None:
    vectors = clustered(few, 11)
    index, order = CellIndex.build(vectors, np.ones(few, dtype=np.bool_), 0)
    index.tune(vectors[order], "product", clustered(4, 12), Ragged.of([[]] * 4))
    found, _ = index.search(vectors[order], "product", clustered(1, 13), few, (None,), (NOTHING,))
    assert sorted(found[0].tolist()) == list(range(few))


def test_damage_is_named(case: Case, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="index in"):
        CellIndex.load(tmp_path, case.stored)
    case.index.save(tmp_path)
    with pytest.raises(BundleError, match="other vectors"):
        CellIndex.load(tmp_path, case.stored[: N // 2])
    with pytest.raises(BundleError, match="other vectors"):
        CellIndex.load(tmp_path, case.stored[:, :-1])
    (tmp_path / "search.json").write_text(json.dumps({"product": {"optimism": 1}}))
    with pytest.raises(BundleError, match="index in"):
        CellIndex.load(tmp_path, case.stored)
