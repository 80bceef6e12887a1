"""Conformance checks: what the graph relies on, as assertions about one component."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from recserve.bundles.manifest import ALLOWED_SUFFIXES
from recserve.config import ComponentConfig
from recserve.data.arrays import BoolArray
from recserve.data.batches import Histories, Queries, Ragged, Reranked, Retrieved
from recserve.data.catalogue import Catalogue
from recserve.data.dataset import Dataset
from recserve.data.entities import Item, Reason
from recserve.errors import StageError
from recserve.plugin.builtins.item_text import FieldsText
from recserve.plugin.protocols import (
    FitContext,
    MatchesWords,
    RetrievesNewItems,
    RetrievesWrittenItems,
    ScoresUsers,
    ShowsFeatures,
    Stage,
    Trainable,
)
from recserve.plugin.registry import Registry
from recserve.plugin.resolved import Resolved
from recserve.serving.guard.results import (
    check_affinity,
    check_mask,
    check_positions,
    check_retrieved,
    check_scores,
    check_sentences,
)
from recserve.testing.examples import example_candidates, example_dataset, example_queries, one_query
from recserve.testing.feature_checks import check_features
from recserve.testing.processes import ProcessExecutor

TIE = 1e-4
"""Scores that differ by less, relative to the largest, are equal: sums of floats depend on their order."""


@contextmanager
def _contract() -> Iterator[None]:
    """Turns a result that a server would refuse into a failed assertion with the server's words."""
    try:
        yield
    except StageError as error:
        raise AssertionError(f"a server leaves the component out: it {error.message}") from None


def build(stage: Stage, name: str, params: Mapping[str, Any], data: Dataset | None = None) -> Any:
    """Build a component by name as a server would, and fit it if it is trainable."""
    data = example_dataset() if data is None else data
    chosen = _chosen(stage, name, params)
    built = chosen.build(data.catalogue)
    if isinstance(built, Trainable):
        built.fit(data, _context(data))
        why = chosen.component.not_in_bundles
        if why is None or why(chosen.params) is None:
            check_persistence(stage, name, params, built, data)
    return built


def _chosen(stage: Stage, name: str, params: Mapping[str, Any]) -> Resolved:
    """A registered component with its parameters."""
    return Registry.discover().choose(stage, ComponentConfig(use=name, params=dict(params)), stage.value)


def _fitted(stage: Stage, name: str, params: Mapping[str, Any], data: Dataset) -> Any:
    """Build a component by name, fitted on some data."""
    built = _chosen(stage, name, params).build(data.catalogue)
    built.fit(data, _context(data))
    return built


def _context(data: Dataset) -> FitContext:
    """Context of a fit on some data, whose items' texts are those of the item text ``fields``."""
    described = FieldsText.of((), data.catalogue)

    def texts() -> list[str]:
        return [described.text(item) for item in data.catalogue.items()]

    return FitContext(seed=3, event_types=data.event_types, threads=1, item_texts=texts)


def check_persistence(
    stage: Stage, name: str, params: Mapping[str, Any], built: Trainable, data: Dataset
) -> None:
    """A second fit gives the same bytes, and only files of allowed kinds are written."""
    chosen = _chosen(stage, name, params)
    again = chosen.build(data.catalogue)
    again.fit(data, _context(data))
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        built.save(Path(first))
        again.save(Path(second))
        files = sorted(path.relative_to(first) for path in Path(first).rglob("*") if path.is_file())
        others = sorted(path.relative_to(second) for path in Path(second).rglob("*") if path.is_file())
        assert files == others, "two equal fits saved different files"
        for file in files:
            assert file.suffix in ALLOWED_SUFFIXES, f"{file} is of a kind that bundles refuse"
            same = (Path(first) / file).read_bytes() == (Path(second) / file).read_bytes()
            assert same, f"two equal fits saved different bytes in {file}"
        fresh = chosen.build(data.catalogue)
        fresh.load(Path(first))
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


def check_executor(
    name: str,
    *,
    kind: Literal["retriever", "ranker"] = "retriever",
    dataset: Dataset | None = None,
    workers: int = 2,
    **params: Any,
) -> None:
    """A fit by the workers of an executor uses them, and answers as one in this process does.

    Args:
        name: Registered name.
        kind: Its stage.
        dataset: Items and events of your own; default: a small made-up domain.
        workers: Processes of the executor.
        **params: Its parameters.
    """
    data, stage = example_dataset() if dataset is None else dataset, Stage(kind)
    alone = build(stage, name, params, data)
    chosen = _chosen(stage, name, params)
    together = chosen.build(data.catalogue)
    with ProcessExecutor(workers) as executor:
        context = FitContext(seed=3, event_types=data.event_types, threads=1, executor=executor)
        together.fit(data, context)
    assert executor.parts, "the fit gave its executor nothing to do"
    queries = example_queries(data)
    if stage is Stage.RETRIEVER:
        found, expected = together.retrieve(queries, 10), alone.retrieve(queries, 10)
        for index in range(len(queries)):
            _assert_same_list(_row(found, index), _row(expected, index), "a fit by parts answers otherwise")
        return
    candidates = example_candidates(data, queries)
    real = candidates.items >= 0
    np.testing.assert_allclose(
        together.score(queries, candidates)[real],
        alone.score(queries, candidates)[real],
        rtol=1e-3,
        atol=1e-4,
        err_msg="a fit by parts answers otherwise",
    )


def check_retriever(name: str, *, dataset: Dataset | None = None, **params: Any) -> None:
    """A retriever finds something, honours masks, orders its answer, and treats each query of a batch alike.

    Args:
        name: Registered name.
        dataset: Items and events of your own, see :func:`recserve.testing.dataset_from`; default: a small
            made-up domain.
        **params: Its parameters.

    Raises:
        AssertionError: What the graph relies on does not hold.
    """
    data = example_dataset() if dataset is None else dataset
    queries = example_queries(data)
    retriever = build(Stage.RETRIEVER, name, params, data)
    for k in (1, 10, data.n_items + 5):
        found = retriever.retrieve(queries, k)
        _check_retrieved(found, queries, k, data.n_items)
    assert (found.items >= 0).any(), "nothing is found for any query; is the component told what to look at?"
    found = retriever.retrieve(queries, 10)
    for index in range(len(queries)):
        alone = retriever.retrieve(one_query(queries, index), 10)
        with _contract():
            check_retrieved(alone, 1, 10, data.n_items)
        _assert_same_list(
            _row(alone, 0), _row(found, index), f"query {index} gets another answer alone than in a batch"
        )
    with ThreadPoolExecutor(4) as pool:
        for other in pool.map(lambda _: retriever.retrieve(queries, 10), range(8)):
            _assert_equal(found, other)
    unexplained = retriever.retrieve(replace(queries, wants_evidence=False), 10)
    _check_retrieved(unexplained, queries, 10, data.n_items)
    for index in range(len(queries)):
        _assert_same_list(
            _row(unexplained, index),
            _row(found, index),
            "other items are found where nobody wants to know why",
        )
    if isinstance(retriever, RetrievesNewItems) and data.catalogue.vectors is not None:
        _check_new_items(retriever, data, queries)
    if isinstance(retriever, MatchesWords):
        _check_words(retriever, data, queries)
    if isinstance(retriever, RetrievesWrittenItems):
        _check_written(retriever, data, queries)


def _check_written(retriever: Any, data: Dataset, queries: Queries) -> None:
    """Items as they were found again among themselves, with the same scores; among some, no others."""
    rows = np.arange(data.n_items, dtype=np.int32)
    found = retriever.retrieve_written(queries, rows, data.catalogue, data.n_items)
    _check_retrieved(found, queries, data.n_items, data.n_items)
    expected = retriever.retrieve(queries, data.n_items)
    for index in range(len(queries)):
        _assert_same_list(
            _row(found, index),
            _row(expected, index),
            "unchanged items have other scores when written again",
        )
    some = rows[::-3].copy()
    part = retriever.retrieve_written(queries, some, data.catalogue, data.n_items)
    _check_retrieved(part, queries, data.n_items, data.n_items)
    for index in range(len(queries)):
        among = {row: score for row, score in _row(expected, index).items() if row in set(some.tolist())}
        _assert_same_list(_row(part, index), among, "among some items others are found, or not all")


def _check_words(retriever: Any, data: Dataset, queries: Queries) -> None:
    """Without a text nothing is found; copies of all items are found as they are, on the same scale."""
    silent = retriever.retrieve(replace(queries, texts=(None,) * len(queries)), 10)
    assert (silent.items < 0).all(), "items are found for a query without a text"
    n_items = data.n_items
    copies = [Item(f"{item.item_id} again", item.attributes) for item in data.catalogue.items()]
    catalogue = Catalogue.of([*data.catalogue.items(), *copies])
    masks = tuple(None if mask is None else np.concatenate([mask, mask]) for mask in queries.allowed)
    asked = replace(queries, allowed=masks, excluded=Ragged.of([[]] * len(queries)))
    rows = np.arange(n_items, 2 * n_items, dtype=np.int32)
    found = retriever.match_words(asked, rows, catalogue, n_items)
    _check_retrieved(found, asked, n_items, 2 * n_items)
    expected = retriever.retrieve(replace(asked, allowed=queries.allowed), n_items)
    for index in range(len(queries)):
        again = {row - n_items: score for row, score in _row(found, index).items()}
        _assert_same_list(again, _row(expected, index), "copies of items have other scores than the items")


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


def check_ranker(name: str, *, dataset: Dataset | None = None, **params: Any) -> None:
    """A ranker gives finite scores of the right shape that do not depend on the rest of the batch.

    Its arguments are those of :func:`check_retriever`.
    """
    data = example_dataset() if dataset is None else dataset
    queries = example_queries(data)
    candidates = example_candidates(data, queries)
    ranker = build(Stage.RANKER, name, params, data)
    scores = ranker.score(queries, candidates)
    real = candidates.items >= 0
    with _contract():
        check_scores(scores, real)
    assert scores.dtype == np.float32, f"dtype {scores.dtype}, not float32"
    for index in range(len(queries)):
        pick = slice(index, index + 1)
        alone = ranker.score(one_query(queries, index), candidates.of_queries(pick))
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
    if isinstance(ranker, ScoresUsers):
        _check_users_compared(ranker, data, queries)
    if isinstance(ranker, ShowsFeatures):
        check_features(
            ranker, queries, candidates, lambda other: _fitted(Stage.RANKER, name, params, other), data, name
        )


def _check_users_compared(ranker: ScoresUsers, data: Dataset, queries: Queries) -> None:
    """Users are compared for items of the catalogue and for a new one, each as if he were alone."""
    new = 0 if queries.extra_vectors is None else len(queries.extra_vectors)
    for item in (0, data.n_items - 1, *([data.n_items] if new else [])):
        affinity = ranker.affinity(queries, item)
        with _contract():
            check_affinity(affinity, len(queries))
        spoken = np.isfinite(affinity)
        assert spoken.any(), f"nothing is said of any user's wish for item {item}"
        for index in range(len(queries)):
            alone = ranker.affinity(one_query(queries, index), item)
            np.testing.assert_allclose(
                alone[0],
                affinity[index],
                rtol=1e-3,
                atol=1e-4,
                err_msg=f"user {index} wants an item otherwise alone than in a batch",
            )
    unknown = Queries.of(Histories.empty(1), np.zeros(1, dtype=np.int64))
    assert np.isneginf(ranker.affinity(unknown, 0)).all(), "a user who has done nothing wants an item"


def check_reranker(name: str, *, dataset: Dataset | None = None, **params: Any) -> None:
    """A reranker chooses existing positions, each at most once, and fills the page if it can.

    Its arguments are those of :func:`check_retriever`.
    """
    data = example_dataset() if dataset is None else dataset
    queries = example_queries(data)
    ranked = example_candidates(data, queries)
    found = build(Stage.RERANKER, name, params, data).rerank(queries, ranked, 5)
    positions = found.positions if isinstance(found, Reranked) else found
    with _contract():
        check_positions(positions, len(queries), ranked.items.shape[1])
    assert positions.dtype == np.int32, f"dtype {positions.dtype}, not int32"
    for index in range(len(queries)):
        chosen = positions[index][positions[index] >= 0]
        available = int((ranked.items[index] >= 0).sum())
        assert len(chosen) >= min(5, available), "the page is not filled although items are left"


def check_filter(
    name: str, argument: Any = None, *, dataset: Dataset | None = None, **params: Any
) -> BoolArray | None:
    """A filter gives a mask over the catalogue, the same one each time.

    Args:
        name: Registered name.
        argument: An argument that it accepts.
        dataset: Items and events of your own; default: a small made-up domain.
        **params: Its parameters.

    Returns:
        The mask over :func:`example_catalogue`, for further assertions.
    """
    data = example_dataset() if dataset is None else dataset
    built = build(Stage.FILTER, name, params, data)
    with _contract():
        mask = check_mask(built.allowed(argument), (data.n_items,))
    if mask is not None:
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
    explainer = build(Stage.EXPLAINER, name, params)
    with _contract():
        sentences = check_sentences(explainer.explain(reasons), len(reasons))
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


def _check_retrieved(found: Retrieved, queries: Queries, k: int, n_items: int) -> None:
    batch = len(queries)
    with _contract():
        check_retrieved(found, batch, k, n_items)
    for array, dtype in ((found.items, np.int32), (found.scores, np.float32), (found.evidence, np.int32)):
        assert array.dtype == np.dtype(dtype), f"dtype {array.dtype}, not {np.dtype(dtype)}"
    for index in range(batch):
        items, scores = found.items[index], found.scores[index]
        real = items >= 0
        assert not real[int(real.sum()) :].any(), "pads belong to the end"
        assert np.isneginf(scores[~real]).all(), "pads have score -inf"
        assert (np.diff(scores[real]) <= 0).all(), "best first"
        listed = items[real].tolist()
        assert not set(listed) & set(queries.excluded[index].tolist()), "an excluded item is returned"
        assert queries.anchors[index] not in listed, "the anchor is returned"
        allowed = queries.allowed[index]
        assert allowed is None or allowed[items[real]].all(), "a filtered item is returned"
        start, end = queries.histories.offsets[index : index + 2]
        known = {-1, int(queries.anchors[index]), *queries.histories.items[start:end].tolist()}
        assert set(found.evidence[index].tolist()) <= known, (
            "evidence is neither in the history nor the anchor"
        )


def _row(found: Retrieved, index: int) -> dict[int, float]:
    """The scores of a query's items, best first."""
    real = found.items[index] >= 0
    return dict(zip(found.items[index][real].tolist(), found.scores[index][real].tolist(), strict=True))


def _assert_same_list(found: dict[int, float], expected: dict[int, float], message: str) -> None:
    """Two lists hold the same items with the same scores; of items that tie for the last place, any may."""
    assert len(found) == len(expected), message
    tolerance = TIE * max(map(abs, expected.values()), default=0.0) + 1e-6
    for some, others in ((found, expected), (expected, found)):
        for item, score in some.items():
            there = others.get(item, min(others.values()))
            assert abs(score - there) <= tolerance, f"{message}: item {item} has scores {score} and {there}"


def _assert_equal(first: Retrieved, other: Retrieved) -> None:
    for index in range(len(first.items)):
        _assert_same_list(_row(other, index), _row(first, index), "equal calls give different answers")
