"""Conformance checks: what the graph relies on, as assertions about one component."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from recserve.bundles.bundle import ALLOWED_SUFFIXES
from recserve.config import ComponentConfig
from recserve.data.arrays import BoolArray
from recserve.data.batches import Candidates, Queries, Retrieved
from recserve.data.dataset import Dataset
from recserve.data.entities import Item, Reason
from recserve.plugin.protocols import FitContext, RetrievesNewItems, Stage, Trainable
from recserve.plugin.registry import Registry
from recserve.testing.examples import example_candidates, example_dataset, example_queries, one_query


def build(stage: Stage, name: str, params: Mapping[str, Any], data: Dataset | None = None) -> Any:
    """Build a component by name as a server would, and fit it if it is trainable."""
    data = example_dataset() if data is None else data
    registry = Registry.discover()
    chosen = registry.choose(stage, ComponentConfig(use=name, params=dict(params)), stage.value)
    built = chosen.build(data.catalogue)
    if isinstance(built, Trainable):
        built.fit(data, FitContext(seed=3, event_types=data.event_types, threads=1))
        why = chosen.component.not_in_bundles
        if why is None or why(chosen.params) is None:
            check_persistence(stage, name, params, built, data)
    return built


def check_persistence(
    stage: Stage, name: str, params: Mapping[str, Any], built: Trainable, data: Dataset
) -> None:
    """A second fit gives the same bytes, and only files of allowed kinds are written."""
    chosen = Registry.discover().choose(stage, ComponentConfig(use=name, params=dict(params)), stage.value)
    again = chosen.build(data.catalogue)
    again.fit(data, FitContext(seed=3, event_types=data.event_types, threads=1))
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        built.save(Path(one))
        again.save(Path(two))
        files = sorted(path.relative_to(one) for path in Path(one).rglob("*") if path.is_file())
        others = sorted(path.relative_to(two) for path in Path(two).rglob("*") if path.is_file())
        assert files == others, "two equal fits saved different files"
        for file in files:
            assert file.suffix in ALLOWED_SUFFIXES, f"{file} is of a kind that bundles refuse"
            same = (Path(one) / file).read_bytes() == (Path(two) / file).read_bytes()
            assert same, f"two equal fits saved different bytes in {file}"
        fresh = chosen.build(data.catalogue)
        fresh.load(Path(one))
        queries = example_queries(data)
        if stage is Stage.RETRIEVER:
            _assert_equal(built.retrieve(queries, 10), fresh.retrieve(queries, 10))  # type: ignore[attr-defined]  # a retriever by its stage
        elif stage is Stage.RANKER:
            candidates = example_candidates(data, queries)
            np.testing.assert_allclose(
                built.score(queries, candidates),  # type: ignore[attr-defined]  # a ranker by its stage
                fresh.score(queries, candidates),
                rtol=1e-5,
                atol=1e-5,
            )


def check_retriever(name: str, **params: Any) -> None:
    """A retriever honours masks, orders its answer, and treats each query of a batch alike.

    Args:
        name: Registered name.
        **params: Its parameters.

    Raises:
        AssertionError: What the graph relies on does not hold.
    """
    data = example_dataset()
    queries = example_queries(data)
    retriever = build(Stage.RETRIEVER, name, params, data)
    for k in (1, 10, data.n_items + 5):
        found = retriever.retrieve(queries, k)
        _check_retrieved(found, queries, k, data.n_items)
    found = retriever.retrieve(queries, 10)
    for index in range(len(queries)):
        alone = retriever.retrieve(one_query(queries, index), 10)
        width = min(alone.items.shape[1], found.items.shape[1])
        np.testing.assert_array_equal(
            alone.items[0, :width],
            found.items[index, :width],
            err_msg=f"query {index} gets another answer alone than in a batch",
        )
    with ThreadPoolExecutor(4) as pool:
        for other in pool.map(lambda _: retriever.retrieve(queries, 10), range(8)):
            _assert_equal(found, other)
    unexplained = retriever.retrieve(replace(queries, wants_evidence=False), 10)
    _check_retrieved(unexplained, queries, 10, data.n_items)
    np.testing.assert_array_equal(
        unexplained.items, found.items, err_msg="other items are found where nobody wants to know why"
    )
    if isinstance(retriever, RetrievesNewItems):
        _check_new_items(retriever, data, queries)


def _check_new_items(retriever: Any, data: Dataset, queries: Queries) -> None:
    """New items are found under the same masks, by every query that finds items of the catalogue."""
    vectors = data.catalogue.vectors
    assert vectors is not None, "new items are judged by vectors"
    n_items = data.n_items
    # Copies of all items, and one item that changed.
    rows = np.concatenate([np.arange(n_items) + n_items, [0]]).astype(np.int32)
    among = np.concatenate([vectors, vectors[1:2]])
    masks = tuple(None if mask is None else np.concatenate([mask, mask]) for mask in queries.allowed)
    asked = queries.with_allowed(masks)
    for k in (1, 10, len(rows) + 5):
        found = retriever.retrieve_among(asked, rows, among, k)
        _check_retrieved(found, asked, k, 2 * n_items)
        real = found.items[found.items >= 0]
        assert np.isin(real, rows).all(), "rows that were not among those given"
    wide = retriever.retrieve_among(asked, rows, among, len(rows))
    spoken = (retriever.retrieve(queries, 1).items >= 0).any(axis=1)
    answered = (wide.items >= 0).any(axis=1)
    assert answered[spoken].all(), "a query that finds catalogue items finds none of their copies"


def check_ranker(name: str, **params: Any) -> None:
    """A ranker gives finite scores of the right shape that do not depend on the rest of the batch.

    Args:
        name: Registered name.
        **params: Its parameters.

    Raises:
        AssertionError: What the graph relies on does not hold.
    """
    data = example_dataset()
    queries = example_queries(data)
    candidates = example_candidates(data, queries)
    ranker = build(Stage.RANKER, name, params, data)
    scores = ranker.score(queries, candidates)
    real = candidates.items >= 0
    assert scores.shape == candidates.items.shape, f"shape {scores.shape}, not {candidates.items.shape}"
    assert scores.dtype == np.float32, f"dtype {scores.dtype}, not float32"
    assert np.isfinite(scores[real]).all(), "a real candidate has a score that is not finite"
    for index in range(len(queries)):
        pick = slice(index, index + 1)
        alone = ranker.score(one_query(queries, index), _one(candidates, pick))
        np.testing.assert_allclose(
            alone[0][real[index]],
            scores[index][real[index]],
            rtol=1e-3,
            atol=1e-4,
            err_msg=f"query {index} gets other scores alone than in a batch",
        )
    with ThreadPoolExecutor(4) as pool:
        for other in pool.map(lambda _: ranker.score(queries, candidates), range(8)):
            np.testing.assert_allclose(other[real], scores[real], rtol=1e-5, atol=1e-5)


def check_reranker(name: str, **params: Any) -> None:
    """A reranker chooses existing positions, each at most once, and fills the page if it can."""
    data = example_dataset()
    queries = example_queries(data)
    ranked = example_candidates(data, queries)
    positions = build(Stage.RERANKER, name, params, data).rerank(queries, ranked, 5)
    assert positions.dtype == np.int32
    assert positions.shape[0] == len(queries)
    for index in range(len(queries)):
        chosen = positions[index][positions[index] >= 0]
        available = int((ranked.items[index] >= 0).sum())
        assert len(set(chosen.tolist())) == len(chosen), "a position is chosen twice"
        assert (chosen < ranked.items.shape[1]).all(), "a position does not exist"
        assert len(chosen) >= min(5, available), "the page is not filled although items are left"


def check_filter(name: str, argument: Any = None, **params: Any) -> BoolArray | None:
    """A filter gives a mask over the catalogue, the same one each time.

    Args:
        name: Registered name.
        argument: An argument that it accepts.
        **params: Its parameters.

    Returns:
        The mask over :func:`example_catalogue`, for further assertions.
    """
    data = example_dataset()
    built = build(Stage.FILTER, name, params, data)
    mask: BoolArray | None = built.allowed(argument)
    if mask is not None:
        assert mask.shape == (data.n_items,)
        assert mask.dtype == np.bool_
        np.testing.assert_array_equal(mask, built.allowed(argument))
    return mask


def check_explainer(name: str, **params: Any) -> list[str]:
    """An explainer has a sentence for every reason, however little it says.

    Returns:
        The sentences, for further assertions.
    """
    item, seed = Item("a", {"title": "A"}), Item("b", {"title": "B"})
    reasons = [
        Reason(item, ()),
        Reason(item, ("popular",)),
        Reason(item, ("mf", "content"), seed, "rating"),
        Reason(item, ("mf",), seed, None),
        Reason(item, ("content",), query_text="something"),
        Reason(Item("bare"), ("unheard-of",), Item("also bare"), "purchase"),
    ]
    sentences: list[str] = build(Stage.EXPLAINER, name, params).explain(reasons)
    assert len(sentences) == len(reasons)
    assert all(sentence.strip() and "\n" not in sentence for sentence in sentences)
    return sentences


def check_item_text(name: str, items: Sequence[Item] = (), **params: Any) -> list[str]:
    """An item text renders any item, also one without attributes.

    Returns:
        The texts of ``items``.
    """
    built = build(Stage.ITEM_TEXT, name, params)
    for item in (Item("bare"), Item("odd", {"title": None, "year": float("nan"), "tags": []})):
        assert isinstance(built.text(item), str)
    return [built.text(item) for item in items]


def check_encoder(name: str, **params: Any) -> None:
    """An encoder gives unit vectors that do not depend on order or neighbours."""
    encoder = build(Stage.ENCODER, name, params)
    texts = ["space ships", "a recipe", "", "x " * 5000, "你好，世界", "space ships"]
    vectors = encoder.encode(texts)
    assert vectors.shape == (len(texts), encoder.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-3)
    np.testing.assert_allclose(vectors[0], vectors[-1], atol=1e-4)
    np.testing.assert_allclose(encoder.encode(texts[:1])[0], vectors[0], atol=1e-4)
    assert encoder.encode([]).shape == (0, encoder.dimension)
    assert encoder.fingerprint == build(Stage.ENCODER, name, params).fingerprint


def _one(candidates: Candidates, pick: slice) -> Candidates:
    return Candidates(
        candidates.items[pick],
        candidates.scores[pick],
        candidates.sources,
        candidates.source_scores[pick],
        candidates.evidence[pick],
    )


def _check_retrieved(found: Retrieved, queries: Queries, k: int, n_items: int) -> None:
    batch = len(queries)
    assert found.items.shape == found.scores.shape == found.evidence.shape
    assert found.items.shape[0] == batch, "one row a query"
    assert found.items.shape[1] <= k, "more than k items"
    for array, dtype in ((found.items, np.int32), (found.scores, np.float32), (found.evidence, np.int32)):
        assert array.dtype == np.dtype(dtype), f"dtype {array.dtype}, not {np.dtype(dtype)}"
    assert found.items.max(initial=-1) < n_items, "a row outside the catalogue"
    for index in range(batch):
        items, scores = found.items[index], found.scores[index]
        real = items >= 0
        assert not real[int(real.sum()) :].any(), "pads belong to the end"
        assert np.isneginf(scores[~real]).all(), "pads have score -inf"
        assert np.isfinite(scores[real]).all(), "a real item has a score that is not finite"
        assert (np.diff(scores[real]) <= 0).all(), "best first"
        listed = items[real].tolist()
        assert len(set(listed)) == len(listed), "an item is returned twice"
        assert not set(listed) & set(queries.excluded[index].tolist()), "an excluded item is returned"
        assert queries.anchors[index] not in listed, "the anchor is returned"
        allowed = queries.allowed[index]
        assert allowed is None or allowed[items[real]].all(), "a filtered item is returned"
        start, end = queries.histories.offsets[index : index + 2]
        known = {-1, int(queries.anchors[index]), *queries.histories.items[start:end].tolist()}
        assert set(found.evidence[index].tolist()) <= known, (
            "evidence is neither in the history nor the anchor"
        )


def _assert_equal(one: Retrieved, other: Retrieved) -> None:
    np.testing.assert_array_equal(one.items, other.items)
    np.testing.assert_array_equal(one.evidence, other.evidence)
    np.testing.assert_allclose(one.scores, other.scores, rtol=1e-5, atol=1e-6)
