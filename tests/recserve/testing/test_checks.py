"""The conformance suite refuses components that break what the graph relies on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pluggy
import pytest

from recserve import (
    Candidates,
    Catalogue,
    Component,
    Dataset,
    FitContext,
    FloatArray,
    Int32Array,
    NoParams,
    Queries,
    Reason,
    Retrieved,
    mask_scores,
    top_k,
)
from recserve.plugin.hookspecs import PROJECT
from recserve.plugin.protocols import Stage
from recserve.plugin.registry import PluginInfo, Registry
from recserve.testing import (
    check_explainer,
    check_ranker,
    check_reranker,
    check_retriever,
    example_dataset,
    example_queries,
    one_query,
)

Break = Callable[[Retrieved, Queries], Retrieved]


class ByRow:
    """Retriever: the first items of the catalogue; ``spoil`` changes the answer."""

    def __init__(self, catalogue: Catalogue, spoil: Break = lambda found, _: found) -> None:
        self._n_items = len(catalogue)
        self._spoil = spoil

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        scores = -np.tile(np.arange(self._n_items, dtype=np.float32), (len(queries), 1))
        return self._spoil(Retrieved.of(*top_k(mask_scores(scores, queries), k)), queries)


class Fitted(ByRow):
    """The same, trainable; a second fit saves other bytes if it is not ``steady``."""

    fits = 0

    def __init__(self, catalogue: Catalogue, kind: tuple[str, bool]) -> None:
        super().__init__(catalogue)
        self._suffix, self._steady = kind

    def fit(self, data: Dataset, context: FitContext) -> dict[str, Any]:
        Fitted.fits += 1
        self._number = 0 if self._steady else Fitted.fits
        return {}

    def save(self, directory: Path) -> None:
        (directory / f"model.{self._suffix}").write_text(str(self._number))

    def load(self, directory: Path) -> None:
        (directory / f"model.{self._suffix}").read_text()


def shifted(found: Retrieved, queries: Queries) -> Retrieved:
    """Another answer for a query that is alone in its batch."""
    return replace(found, items=np.roll(found.items, 1, axis=1)) if len(queries) == 1 else found


def excluded(found: Retrieved, queries: Queries) -> Retrieved:
    items = found.items.copy()
    for row in range(len(queries)):
        if len(queries.excluded[row]) and items[row, 0] >= 0:
            items[row, 0] = queries.excluded[row][0]
    return replace(found, items=items)


def twice(found: Retrieved, _: Queries) -> Retrieved:
    items = found.items.copy()
    items[:, 1:2] = items[:, :1]
    return replace(found, items=items)


def upside_down(found: Retrieved, _: Queries) -> Retrieved:
    return replace(found, scores=np.where(found.items >= 0, -found.scores, -np.inf).astype(np.float32))


def invented(found: Retrieved, queries: Queries) -> Retrieved:
    strange = next(row for row in range(60) if not np.isin(row, queries.histories.items))
    return replace(found, evidence=np.where(found.items >= 0, strange, -1).astype(np.int32))


def too_many(found: Retrieved, _: Queries) -> Retrieved:
    parts = (found.items, found.scores, found.evidence)
    return Retrieved(*(np.concatenate([part, part], axis=1) for part in parts))


def double(found: Retrieved, _: Queries) -> Retrieved:
    return replace(found, scores=found.scores.astype(np.float64))


RETRIEVERS: dict[str, tuple[Break, str]] = {
    "excluded": (excluded, "an excluded item is returned"),
    "twice": (twice, "an item is returned twice"),
    "upside_down": (upside_down, "best first"),
    "invented": (invented, "evidence is neither"),
    "too_many": (too_many, "more than k items"),
    "double": (double, "dtype float64"),
    "shifted": (shifted, "another answer alone than in a batch"),
}


class Scores:
    """Ranker: ``make`` turns candidates into scores."""

    def __init__(self, catalogue: Catalogue, make: Callable[[Candidates], FloatArray]) -> None:
        self._make = make

    def score(self, queries: Queries, candidates: Candidates) -> FloatArray:
        return self._make(candidates)


RANKERS: dict[str, tuple[Callable[[Candidates], FloatArray], str]] = {
    "wide": (lambda candidates: candidates.scores.astype(np.float64), "dtype float64"),
    "nothing": (lambda candidates: np.full(candidates.items.shape, np.nan, np.float32), "not finite"),
    "flat": (lambda candidates: candidates.scores[:, 0], "shape"),
    "mixing": (
        lambda candidates: (np.zeros_like(candidates.scores) + len(candidates.items)).astype(np.float32),
        "other scores alone than in a batch",
    ),
    "good": (lambda candidates: np.where(candidates.items >= 0, candidates.scores, 0).astype(np.float32), ""),
}


class Positions:
    """Reranker: the same positions for every query."""

    def __init__(self, catalogue: Catalogue, positions: Sequence[int]) -> None:
        self._positions = positions

    def rerank(self, queries: Queries, ranked: Candidates, n: int) -> Int32Array:
        return np.tile(np.array(self._positions, dtype=np.int32), (len(queries), 1))


RERANKERS: dict[str, tuple[Sequence[int], str]] = {
    "repeating": ((0, 1, 1, 2, 3), "chosen twice"),
    "beyond": ((0, 1, 2, 3, 1000), "does not exist"),
    "short": ((0, 1), "the page is not filled"),
    "good": ((0, 1, 2, 3, 4), ""),
}


class Silent:
    """Explainer without a sentence for the last reason."""

    def __init__(self, catalogue: Catalogue) -> None:
        pass

    def explain(self, reasons: Sequence[Reason]) -> list[str]:
        return ["because" for _ in reasons[1:]]


def component(name: str, factory: Callable[[Catalogue], Any]) -> Component:
    return Component(name, lambda params, catalogue: factory(catalogue), NoParams, summary=name)


def broken_plugin() -> PluginInfo:
    """All of the above as components of one plugin."""
    fitted = {"pickled": ("pkl", True), "unsteady": ("json", False), "fitted": ("json", True)}
    components = {
        Stage.RETRIEVER: [
            component("by_row", ByRow),
            *(component(name, partial(ByRow, spoil=spoil)) for name, (spoil, _) in RETRIEVERS.items()),
            *(component(name, partial(Fitted, kind=kind)) for name, kind in fitted.items()),
        ],
        Stage.RANKER: [component(name, partial(Scores, make=make)) for name, (make, _) in RANKERS.items()],
        Stage.RERANKER: [
            component(name, partial(Positions, positions=positions))
            for name, (positions, _) in RERANKERS.items()
        ],
        Stage.EXPLAINER: [component("silent", Silent)],
    }
    return PluginInfo("broken", "broken", "1", {stage: tuple(found) for stage, found in components.items()})


@pytest.fixture(autouse=True)
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin is the only one installed."""
    registry = Registry([broken_plugin()], pluggy.PluginManager(PROJECT))
    monkeypatch.setattr(Registry, "discover", lambda *_, **__: registry)


@pytest.mark.parametrize(("name", "reason"), [(name, reason) for name, (_, reason) in RETRIEVERS.items()])
def test_a_retriever_that_breaks_a_promise_is_refused(name: str, reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        check_retriever(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("pickled", "of a kind that bundles refuse"), ("unsteady", "different bytes in model.json")],
)
def test_what_two_equal_fits_save_is_equal_and_of_an_allowed_kind(name: str, reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        check_retriever(name)


@pytest.mark.parametrize("name", ["by_row", "fitted"])
def test_good_retrievers_pass(name: str) -> None:
    check_retriever(name)


@pytest.mark.parametrize(("name", "reason"), [(name, reason) for name, (_, reason) in RANKERS.items()])
def test_rankers(name: str, reason: str) -> None:
    with pytest.raises(AssertionError, match=reason) if reason else nullcontext():
        check_ranker(name)


@pytest.mark.parametrize(("name", "reason"), [(name, reason) for name, (_, reason) in RERANKERS.items()])
def test_rerankers(name: str, reason: str) -> None:
    with pytest.raises(AssertionError, match=reason) if reason else nullcontext():
        check_reranker(name)


def test_an_explainer_has_a_sentence_for_every_reason() -> None:
    with pytest.raises(AssertionError):
        check_explainer("silent")


def test_the_examples_hold_queries_of_every_kind() -> None:
    """Long, short and no history, an anchor, text, masks, an item that the bundle does not know."""
    data = example_dataset()
    queries = example_queries(data)
    lengths = queries.histories.lengths
    assert lengths[0] == 0
    assert lengths[1] == 1
    assert lengths.max() > 5
    assert (queries.anchors >= 0).sum() == 1
    assert [text for text in queries.texts if text] == ["space"]
    assert sum(mask is not None for mask in queries.allowed) == 2
    assert queries.histories.items.max() == data.n_items
    again = example_queries(data)
    np.testing.assert_array_equal(again.histories.items, queries.histories.items)
    alone = one_query(queries, 4)
    assert len(alone) == 1
    np.testing.assert_array_equal(alone.allowed[0], queries.allowed[4])
