from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from recserve_mf import register_retrievers
from recserve_mf.parameters import MfParams
from recserve_mf.retriever import MfRetriever
from safetensors.numpy import save_file

from recserve import (
    BundleError,
    Catalogue,
    ConfigError,
    Dataset,
    FitContext,
    Histories,
    Queries,
    Ragged,
    Retrieved,
    Vocabulary,
)
from recserve.testing import check_retriever, example_dataset

CPU = FitContext(device="cpu", threads=1)
SMALL = MfParams(dimension=8, iterations=5, regularization=0.01)


def dataset(users: np.ndarray, items: np.ndarray, n_items: int, weights: np.ndarray | None = None) -> Dataset:
    """One event a second, in the order given."""
    return Dataset(
        Catalogue([f"i{row}" for row in range(n_items)]),
        Vocabulary(f"u{row}" for row in range(int(users.max(initial=-1)) + 1)),
        users.astype(np.int32),
        items.astype(np.int32),
        np.zeros(len(users), dtype=np.int16),
        np.ones(len(users), np.float32) if weights is None else weights.astype(np.float32),
        np.arange(len(users), dtype=np.int64) * 1000,
        ("view",),
    )


def planted(seed: int = 0) -> tuple[Dataset, np.ndarray]:
    """200 users of 4 tastes over 80 items (20 a taste), the last 10 items untouched.

    Returns:
        The data, and a held-out liked item of each user.
    """
    generator = np.random.default_rng(seed)
    users, items, held = [], [], []
    for user in range(200):
        taste = user % 4
        own = generator.permutation(20)[:9] + 20 * taste
        held.append(own[0])
        for item in own[1:]:
            users.append(user)
            items.append(item)
        for item in generator.integers(0, 80, size=2):
            users.append(user)
            items.append(item)
    order = generator.permutation(len(users))
    return dataset(np.array(users)[order], np.array(items)[order], 90), np.array(held)


def queries_of(histories: Histories, **options: object) -> Queries:
    return Queries.of(histories, np.zeros(len(histories), dtype=np.int64), **options)  # type: ignore[arg-type]  # passed on as given


def history(*lists: list[int]) -> Histories:
    ragged = Ragged.of(lists)
    n = len(ragged.values)
    return Histories(
        ragged.offsets,
        ragged.values,
        np.zeros(n, np.int16),
        np.ones(n, np.float32),
        np.arange(n, dtype=np.int64),
    )


@pytest.fixture(scope="module")
def data() -> Dataset:
    return planted()[0]


@pytest.fixture(scope="module")
def retriever(data: Dataset) -> MfRetriever:
    found = MfRetriever(MfParams(dimension=16, regularization=0.02), data.catalogue)
    found.fit(data, CPU)
    return found


def seen(histories: Histories) -> Ragged:
    return Ragged(histories.offsets, histories.items)


def assert_valid(found: Retrieved, n_items: int) -> None:
    assert found.items.dtype == found.evidence.dtype == np.int32
    assert found.scores.dtype == np.float32
    assert found.items.shape == found.scores.shape == found.evidence.shape
    pads = found.items < 0
    assert np.isneginf(found.scores[pads]).all()
    assert np.isfinite(found.scores[~pads]).all()
    assert (found.evidence[pads] == -1).all()
    assert (found.items < n_items).all()
    for row, scores in zip(found.items, found.scores, strict=True):
        real = row[row >= 0]
        assert len(set(real.tolist())) == len(real)
        assert (row[: len(real)] >= 0).all()
        assert (np.diff(scores[: len(real)]) <= 0).all()


def test_finds_planted_tastes_far_better_than_popularity() -> None:
    data, held = planted(seed=3)
    retriever = MfRetriever(MfParams(), data.catalogue)
    facts = retriever.fit(data, CPU)
    histories = data.histories
    found = retriever.retrieve(queries_of(histories, excluded=seen(histories)), 10)
    hits = (found.items == held[:, None]).any(axis=1).mean()
    counts = data.item_counts.astype(np.float64)
    popular = np.argsort(-counts, kind="stable")
    popular_hits = 0
    for user, item in enumerate(held):
        own = set(histories.items[histories.offsets[user] : histories.offsets[user + 1]].tolist())
        popular_hits += int(item) in [row for row in popular.tolist() if row not in own][:10]
    assert hits > 0.6
    assert hits > 3 * popular_hits / len(held)
    assert facts["regularization"] in {fit["regularization"] for fit in facts["validation"]["fits"]}


def test_a_new_user_gets_results_of_the_taste_of_one_click(retriever: MfRetriever) -> None:
    found = retriever.retrieve(queries_of(history([3], [25], [47], [61])), 8)
    for taste, items in enumerate(found.items):
        assert (items // 20 == taste).sum() >= 6


def test_seeds_come_from_the_history_and_name_the_related_item(retriever: MfRetriever) -> None:
    found = retriever.retrieve(queries_of(history([1, 2, 41, 42]), excluded=Ragged.of([[1, 2, 41, 42]])), 10)
    assert_valid(found, 90)
    for item, seed in zip(found.items[0], found.evidence[0], strict=True):
        assert seed in (1, 2, 41, 42)
        assert seed // 20 == item // 20


def test_untrained_items_are_never_returned_and_k_beyond_the_catalogue_pads(
    retriever: MfRetriever,
) -> None:
    found = retriever.retrieve(queries_of(history([0])), 500)
    assert found.items.shape == (1, 90)
    assert_valid(found, 90)
    assert sorted(found.items[0][found.items[0] >= 0].tolist()) == list(range(80))


def test_says_nothing_about_a_query_without_a_useful_event(retriever: MfRetriever) -> None:
    disliked = history([3])
    disliked = Histories(
        disliked.offsets, disliked.items, disliked.events, -disliked.weights, disliked.timestamps
    )
    for histories in (history([]), history([85]), history([90, 1000]), disliked):
        found = retriever.retrieve(queries_of(histories), 5)
        assert (found.items == -1).all()
        assert_valid(found, 90)
    found = retriever.retrieve(queries_of(history([]), anchors=np.array([88], np.int32)), 5)
    assert (found.items == -1).all()


def test_an_anchor_alone_finds_items_of_its_kind_by_cosine(retriever: MfRetriever) -> None:
    found = retriever.retrieve(queries_of(history([]), anchors=np.array([30], np.int32)), 6)
    assert_valid(found, 90)
    assert 30 not in found.items[0]
    assert (found.items[0] // 20 == 1).all()
    assert (np.abs(found.scores[0]) <= 1 + 1e-5).all()
    assert (found.evidence == -1).all()


def test_an_anchor_leads_and_the_history_draws_towards_the_user(retriever: MfRetriever) -> None:
    anchors = np.array([30], np.int32)
    alone = retriever.retrieve(queries_of(history([]), anchors=anchors), 80)
    both = retriever.retrieve(queries_of(history([41, 42, 43]), anchors=anchors), 80)
    assert (both.items[0][:5] // 20 == 1).all()

    def place(found: Retrieved) -> float:
        return float(np.flatnonzero(found.items[0] // 20 == 2).mean())

    assert place(both) < place(alone)
    assert set(both.evidence[0].tolist()) <= {-1, 41, 42, 43}


def test_repeats_and_event_weights_count(retriever: MfRetriever) -> None:
    once = retriever.retrieve(queries_of(history([1, 41])), 80)
    often = retriever.retrieve(queries_of(history([1, 41, 41, 41, 41])), 80)

    def share(found: Retrieved) -> int:
        return int((found.items[0][:10] // 20 == 2).sum())

    assert share(often) > share(once)


@settings(max_examples=60, deadline=None)
@given(drawn=st.data())
def test_respects_allowed_excluded_and_anchors(retriever: MfRetriever, drawn: st.DataObject) -> None:
    batch = drawn.draw(st.integers(1, 4))
    rows = st.integers(0, 95)
    histories = history(*[drawn.draw(st.lists(rows, max_size=25)) for _ in range(batch)])
    excluded = [drawn.draw(st.lists(rows, max_size=40)) for _ in range(batch)]
    anchors = np.array(drawn.draw(st.lists(st.integers(-1, 95), min_size=batch, max_size=batch)))
    masks = [drawn.draw(st.none() | st.lists(st.booleans(), min_size=90, max_size=90)) for _ in range(batch)]
    queries = queries_of(
        histories, anchors=anchors.astype(np.int32), excluded=Ragged.of(excluded)
    ).with_allowed(tuple(None if mask is None else np.array(mask) for mask in masks))
    k = drawn.draw(st.integers(1, 100))
    found = retriever.retrieve(queries, k)
    assert found.items.shape == (batch, min(k, 90))
    assert_valid(found, 90)
    for row in range(batch):
        items = found.items[row][found.items[row] >= 0]
        own = histories.items[histories.offsets[row] : histories.offsets[row + 1]]
        assert not set(items.tolist()) & (set(excluded[row]) | {int(anchors[row])})
        assert masks[row] is None or np.array(masks[row])[items].all()
        assert set(found.evidence[row].tolist()) <= {-1, *own.tolist()}
        if len(own[own < 80]) == 0 and not 0 <= anchors[row] < 80:
            assert len(items) == 0


def test_a_large_batch_gives_what_its_parts_give(
    retriever: MfRetriever, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = queries_of(data.histories, excluded=seen(data.histories))
    whole = retriever.retrieve(queries, 7)
    monkeypatch.setattr("recserve_mf.retriever.QUERIES_AT_A_TIME", 33)
    parts = retriever.retrieve(queries, 7)
    np.testing.assert_array_equal(whole.items, parts.items)
    np.testing.assert_array_equal(whole.evidence, parts.evidence)


def test_save_and_load_give_the_same_answers(retriever: MfRetriever, data: Dataset, tmp_path: Path) -> None:
    retriever.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "item_factors.safetensors",
        "mf.json",
    ]
    again = MfRetriever(MfParams(), data.catalogue)
    again.load(tmp_path)
    queries = queries_of(data.histories.select(np.arange(20)))
    expected, found = retriever.retrieve(queries, 90), again.retrieve(queries, 90)
    np.testing.assert_array_equal(found.items, expected.items)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.evidence, expected.evidence)


@pytest.mark.parametrize("name", ["item_factors.safetensors", "mf.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "garbage"])
def test_a_damaged_file_is_refused_by_name(
    retriever: MfRetriever, data: Dataset, tmp_path: Path, name: str, damage: str
) -> None:
    retriever.save(tmp_path)
    path = tmp_path / name
    raw = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"truncated": raw[:-10], "empty": b"", "garbage": b"\x00\xff" * 40}[damage])
    with pytest.raises(BundleError, match=name) as caught:
        MfRetriever(MfParams(), data.catalogue).load(tmp_path)
    assert "\n" not in caught.value.message


def test_factors_of_another_catalogue_or_impossible_constants_are_refused(
    retriever: MfRetriever, data: Dataset, tmp_path: Path
) -> None:
    retriever.save(tmp_path)
    with pytest.raises(BundleError, match="90 items, but the catalogue has 2"):
        MfRetriever(MfParams(), Catalogue(["a", "b"])).load(tmp_path)
    poisoned = np.full((90, 4), np.nan, dtype=np.float32)
    other = tmp_path / "other"
    other.mkdir()
    (other / "mf.json").write_bytes((tmp_path / "mf.json").read_bytes())
    trained = np.ones(90, dtype=np.bool_)
    for items, message in ((poisoned, "not finite"), (poisoned.astype(np.float64), "float32 matrix")):
        save_file({"items": items, "trained": trained}, other / "item_factors.safetensors")
        with pytest.raises(BundleError, match=message):
            MfRetriever(MfParams(), data.catalogue).load(other)
    settings_file = tmp_path / "mf.json"
    constants = json.loads(settings_file.read_text())
    settings_file.write_text(json.dumps({**constants, "regularization": -1}))
    with pytest.raises(BundleError, match="regularization"):
        MfRetriever(MfParams(), data.catalogue).load(tmp_path)


def test_equal_fits_save_equal_bytes_whatever_the_threads(data: Dataset, tmp_path: Path) -> None:
    contents = []
    for run, threads in enumerate((1, 2, 2)):
        directory = tmp_path / str(run)
        directory.mkdir()
        retriever = MfRetriever(MfParams(), data.catalogue)
        facts = retriever.fit(data, FitContext(device="cpu", threads=threads, seed=5))
        retriever.save(directory)
        files = {path.name: path.read_bytes() for path in directory.iterdir()}
        contents.append((json.dumps(facts, sort_keys=True), files))
    assert contents[0] == contents[1] == contents[2]


def test_the_final_fit_takes_its_settings_from_the_earlier_one(data: Dataset) -> None:
    first = MfRetriever(MfParams(), data.catalogue)
    facts = first.fit(data, CPU)
    again = MfRetriever(MfParams(), data.catalogue).fit(
        data, FitContext(device="cpu", threads=1, previous={**facts, "dimension": 24})
    )
    assert "validation" in facts
    assert "validation" not in again
    assert again["regularization"] == facts["regularization"]
    assert again["dimension"] == 24


def test_progress_is_reported(data: Dataset) -> None:
    calls: list[tuple[str, int, int]] = []
    context = FitContext(device="cpu", threads=1, progress=lambda *call: calls.append(call))
    settled = SMALL.model_copy(update={"half_life_events": 0.0})
    MfRetriever(settled, data.catalogue).fit(data, context)
    assert calls == [("factorising", step, 5) for step in range(1, 6)]


@pytest.mark.parametrize(
    ("users", "items", "n_items"),
    [
        ([0], [0], 1),
        ([0, 0, 0], [0, 1, 2], 3),
        ([0, 1, 2], [0, 0, 0], 1),
        ([0, 1], [4, 4], 9),
        ([0, 0, 1, 1], [0, 1, 1, 2], 3),
    ],
)
def test_tiny_data_with_more_dimensions_than_items(users: list[int], items: list[int], n_items: int) -> None:
    data = dataset(np.array(users), np.array(items), n_items)
    retriever = MfRetriever(MfParams(dimension=32), data.catalogue)
    retriever.fit(data, CPU)
    found = retriever.retrieve(queries_of(data.histories), 50)
    assert_valid(found, n_items)
    assert set(found.items[0][found.items[0] >= 0].tolist()) == set(items)
    MfRetriever(MfParams(), data.catalogue).fit(data, CPU)


def test_data_without_a_positive_event_gives_a_silent_retriever(tmp_path: Path) -> None:
    data = dataset(np.array([0, 1]), np.array([0, 1]), 3, weights=np.array([-1.0, -0.5]))
    retriever = MfRetriever(MfParams(), data.catalogue)
    retriever.fit(data, CPU)
    retriever.save(tmp_path)
    again = MfRetriever(MfParams(), data.catalogue)
    again.load(tmp_path)
    for one in (retriever, again, MfRetriever(MfParams(), data.catalogue)):
        found = one.retrieve(queries_of(history([0, 1], [])), 5)
        assert found.items.shape == (2, 3)
        assert (found.items == -1).all()
    silent = MfRetriever(MfParams(), Catalogue())
    silent.save(tmp_path)
    silent.load(tmp_path)
    assert silent.retrieve(queries_of(history([])), 5).items.shape == (1, 0)


def test_an_unavailable_cuda_device_is_one_clear_line(data: Dataset) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(ConfigError, match="no CUDA device"):
        MfRetriever(SMALL, data.catalogue).fit(data, FitContext(device="cuda"))


def test_the_hook_registers_mf_with_strict_searchable_parameters() -> None:
    (component,) = register_retrievers()
    assert component.name == "mf"
    properties = component.params.model_json_schema()["properties"]
    assert all("description" in field for field in properties.values())
    # How items are found is no question of quality, nor is how long settings are looked for.
    fixed = {name for name, field in properties.items() if "search" not in field}
    assert fixed == {"approximate_above", "search_share"}
    with pytest.raises(ValidationError):
        MfParams.model_validate({"factors": 3})
    with pytest.raises(ValidationError):
        MfParams(regularization=0.0)


def test_serving_imports_neither_torch_nor_numba() -> None:
    code = (
        "import sys, recserve_mf\n"
        "assert 'recserve_mf.retriever' not in sys.modules\n"
        "import recserve_mf.retriever\n"
        "assert not {'torch', 'numba', 'transformers', 'ray'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("params", [{}, {"dimension": 8, "regularization": 0.01}])
def test_keeps_the_contract_of_a_retriever(params: dict[str, object]) -> None:
    check_retriever("mf", **params)


@pytest.mark.parametrize(("device", "says"), [("auto", None), ("cuda", r"recserve-mf\[gpu\]")])
def test_without_torch_the_processor_fits(
    device: str, says: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # an import of it fails
    data = example_dataset()
    retriever = MfRetriever(MfParams(dimension=4, iterations=1), data.catalogue)
    context = FitContext(device=device, threads=1)
    if says is None:
        assert retriever.fit(data, context)["dimension"] == 4
        return
    with pytest.raises(ConfigError, match=says):
        retriever.fit(data, context)
