"""mf with more items than it scores one by one: the same answers, from one stored copy of the factors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from recserve_mf.parameters import MfParams
from recserve_mf.retriever import MfRetriever

from recserve import BundleError, Catalogue, Dataset, FitContext, Histories, Queries, Ragged, Vocabulary
from recserve.testing import check_retriever

CPU = FitContext(device="cpu", threads=1)
N_ITEMS, N_USERS, TASTES = 6000, 900, 30


def some_data() -> Dataset:
    """People of 30 tastes, each with 30 of the 190 items of a taste and some others."""
    generator = np.random.default_rng(0)
    users = np.repeat(np.arange(N_USERS), 36)
    own = (users % TASTES) * 190 + (190 * generator.random(len(users)) ** 2).astype(np.int64)
    items = np.where(np.arange(len(users)) % 6 == 0, generator.integers(0, 5900, len(users)), own)
    pairs = generator.permutation(np.unique(users * N_ITEMS + items))
    return Dataset(
        Catalogue([f"i{row}" for row in range(N_ITEMS)]),
        Vocabulary(f"u{row}" for row in range(N_USERS)),
        (pairs // N_ITEMS).astype(np.int32),
        (pairs % N_ITEMS).astype(np.int32),
        np.zeros(len(pairs), dtype=np.int16),
        np.ones(len(pairs), dtype=np.float32),
        np.arange(len(pairs), dtype=np.int64) * 1000,
        ("view",),
    )


def params(above: int) -> MfParams:
    return MfParams(
        dimension=16, iterations=5, regularization=0.01, half_life_events=0.0, approximate_above=above
    )


@pytest.fixture(scope="module")
def data() -> Dataset:
    return some_data()


@pytest.fixture(scope="module")
def exact(data: Dataset) -> MfRetriever:
    retriever = MfRetriever(params(100_000), data.catalogue)
    facts = retriever.fit(data, CPU)
    assert "index" not in facts
    return retriever


@pytest.fixture(scope="module")
def indexed(data: Dataset) -> MfRetriever:
    retriever = MfRetriever(params(1000), data.catalogue)
    facts = retriever.fit(data, CPU)
    assert min(facts["index"][measure]["recall"] for measure in ("product", "cosine")) >= 0.97
    json.dumps(facts)
    return retriever


def ask(histories: Histories, users: range, **options: object) -> Queries:
    chosen = histories.select(np.array(users, dtype=np.int64))
    return Queries.of(
        chosen,
        np.zeros(len(chosen), dtype=np.int64),
        excluded=Ragged(chosen.offsets, chosen.items),
        **options,  # type: ignore[arg-type]  # passed on as given
    )


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    pairs = zip(one.tolist(), other.tolist(), strict=True)
    return float(np.mean([len(set(a) & set(b) - {-1}) / max(len(set(b) - {-1}), 1) for a, b in pairs]))


def test_factors_are_the_same(exact: MfRetriever, indexed: MfRetriever) -> None:
    np.testing.assert_array_equal(indexed.model.items, exact.model.items)


@pytest.mark.parametrize("anchored", [False, True])
@pytest.mark.parametrize("k", [20, 100])
def test_it_finds_what_scoring_every_item_finds(
    data: Dataset, exact: MfRetriever, indexed: MfRetriever, anchored: bool, k: int
) -> None:
    anchors = np.arange(200, dtype=np.int32) * 25 if anchored else None
    queries = ask(data.histories, range(600, 800), anchors=anchors)
    truth, found = exact.retrieve(queries, k), indexed.retrieve(queries, k)
    assert overlap(found.items, truth.items) >= 0.98
    same = found.items == truth.items
    assert same.mean() > 0.5
    np.testing.assert_allclose(found.scores[same], truth.scores[same], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(found.evidence[same], truth.evidence[same])
    assert found.items.shape == truth.items.shape
    for number in range(200):
        assert not set(found.items[number].tolist()) & set(queries.excluded[number].tolist())
        assert anchors is None or anchors[number] not in found.items[number]


def test_a_narrow_filter_gets_the_exact_answer(
    data: Dataset, exact: MfRetriever, indexed: MfRetriever
) -> None:
    allowed = np.arange(N_ITEMS) % 97 == 0
    queries = ask(data.histories, range(5)).with_allowed((allowed, None, allowed, allowed, None))
    truth, found = exact.retrieve(queries, 40), indexed.retrieve(queries, 40)
    np.testing.assert_array_equal(found.items[[0, 2, 3]], truth.items[[0, 2, 3]])
    assert (found.items[[0, 2, 3]] >= 0).all()


def test_it_keeps_the_rules_of_a_retriever() -> None:
    check_retriever("mf", approximate_above=0, dimension=8, regularization=0.01)


def test_people_of_whom_nothing_is_known_get_nothing(indexed: MfRetriever) -> None:
    nobody = Queries.of(
        Histories.empty(2), np.zeros(2, np.int64), anchors=np.array([-1, N_ITEMS - 1], np.int32)
    )
    found = indexed.retrieve(nobody, 10)
    assert (found.items == -1).all()
    assert np.isneginf(found.scores).all()
    assert (found.evidence == -1).all()


def test_saving_is_reproducible_and_loading_maps_one_copy(
    data: Dataset, indexed: MfRetriever, tmp_path: Path
) -> None:
    again = MfRetriever(params(1000), data.catalogue)
    again.fit(data, CPU)
    for name, retriever in (("one", indexed), ("two", again)):
        (tmp_path / name).mkdir()
        retriever.save(tmp_path / name)
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*") if p.is_file())
    assert len(files) == 8
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    vectors = sum((tmp_path / "one" / file).stat().st_size for file in files if file.suffix == ".safetensors")
    assert vectors < 1.5 * indexed.model.items.nbytes
    loaded = MfRetriever(params(1000), data.catalogue)
    loaded.load(tmp_path / "one")
    queries = ask(data.histories, range(10))
    before, after = indexed.retrieve(queries, 50), loaded.retrieve(queries, 50)
    np.testing.assert_array_equal(before.items, after.items)
    np.testing.assert_array_equal(before.scores, after.scores)
    np.testing.assert_array_equal(before.evidence, after.evidence)
    assert not loaded.model.items.flags.owndata
    assert not loaded.model.items.flags.writeable


def test_damaged_index_files_are_named(data: Dataset, indexed: MfRetriever, tmp_path: Path) -> None:
    indexed.save(tmp_path)
    (tmp_path / "product_index" / "lists.npy").unlink()
    with pytest.raises(BundleError, match="product_index"):
        MfRetriever(params(1000), data.catalogue).load(tmp_path)


def test_factors_in_the_order_of_an_earlier_index_are_refused(
    data: Dataset, exact: MfRetriever, tmp_path: Path
) -> None:
    exact.save(tmp_path)
    np.save(tmp_path / "places.npy", np.zeros(3, np.int32))
    with pytest.raises(BundleError, match="another index; train again"):
        MfRetriever(params(1000), data.catalogue).load(tmp_path)


def test_a_model_without_an_index_is_saved_as_before(exact: MfRetriever, tmp_path: Path) -> None:
    exact.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["item_factors.safetensors", "mf.json"]
