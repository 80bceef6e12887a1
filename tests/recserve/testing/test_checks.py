"""The conformance kit fails what a server would leave out, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from recserve import Candidates, Catalogue, Component, Event, Item, Queries, Reason, Retrieved
from recserve.plugin.protocols import NoParams
from recserve.plugin.registry import Registry
from recserve.plugin.toolkit.topk import mask_scores, top_k
from recserve.testing import (
    check_executor,
    check_explainer,
    check_filter,
    check_ranker,
    check_reranker,
    check_retriever,
    dataset_from,
)

Spoil = Callable[[Any], Any]


class Fine:
    """Keeps the contract, unless its answers are spoiled."""

    def __init__(self, n_items: int, spoil: Spoil) -> None:
        self._n_items = n_items
        self._spoil = spoil

    def retrieve(self, queries: Queries, k: int) -> Any:
        scores = np.tile(np.arange(self._n_items, dtype=np.float32), (len(queries), 1))
        return self._spoil(Retrieved.of(*top_k(mask_scores(scores, queries), k)))

    def score(self, queries: Queries, candidates: Candidates) -> Any:
        return self._spoil(candidates.items.astype(np.float32))

    def rerank(self, queries: Queries, ranked: Candidates, n: int) -> Any:
        places = np.arange(ranked.items.shape[1], dtype=np.int32)
        return self._spoil(np.tile(places, (len(queries), 1)))

    def allowed(self, argument: Any) -> Any:
        return self._spoil(np.arange(self._n_items) % 2 == 0)

    def explain(self, reasons: Sequence[Reason]) -> Any:
        return self._spoil(["because"] * len(reasons))


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Callable[[Spoil], None]:
    """Registers ``fine`` in every stage, with its answers spoiled."""

    def register(spoil: Spoil) -> None:
        def discover(*arguments: Any, **options: Any) -> Any:
            return _Registry(spoil)

        monkeypatch.setattr(Registry, "discover", discover)

    return register


class _Registry:
    def __init__(self, spoil: Spoil) -> None:
        self._spoil = spoil

    def choose(self, stage: Any, config: Any, where: str) -> Any:
        spoil = self._spoil

        class Chosen:
            component = Component("fine", lambda params, catalogue: None)
            params = NoParams()

            def build(self, catalogue: Catalogue) -> Fine:
                return Fine(len(catalogue), spoil)

        return Chosen()


def same(value: Any) -> Any:
    return value


CHECKS = {
    "retriever": check_retriever,
    "ranker": check_ranker,
    "reranker": check_reranker,
    "filter": check_filter,
    "explainer": check_explainer,
}


@pytest.mark.parametrize("kind", CHECKS)
def test_what_keeps_the_contract_passes(registered: Callable[[Spoil], None], kind: str) -> None:
    registered(same)
    CHECKS[kind]("fine")  # type: ignore[operator]


def first_again(array: Any) -> Any:
    changed = array.copy()
    changed[:, 1] = changed[:, 0]
    return changed


def retrieved(change: Callable[[Any, Any], tuple[Any, Any]]) -> Spoil:
    return lambda found: Retrieved.of(*change(found.items, found.scores))


SPOILED: list[tuple[str, Spoil]] = [
    ("retriever", lambda found: None),
    ("retriever", retrieved(lambda items, scores: (items[0], scores[0]))),
    ("retriever", retrieved(lambda items, scores: (np.full_like(items, -1), np.full_like(scores, -np.inf)))),
    ("retriever", retrieved(lambda items, scores: (items[:, :0], scores[:, :0]))),
    ("retriever", retrieved(lambda items, scores: (np.where(items >= 0, items + 99, -1), scores))),
    ("retriever", retrieved(lambda items, scores: (np.where(items >= 0, 0, -1).astype(np.int32), scores))),
    ("retriever", retrieved(lambda items, scores: (items, scores * np.float32(np.nan)))),
    ("retriever", retrieved(lambda items, scores: (items.astype(np.int64), scores))),
    ("ranker", lambda scores: None),
    ("ranker", lambda scores: scores[:1]),
    ("ranker", lambda scores: scores * np.nan),
    ("ranker", lambda scores: scores.astype(np.float64)),
    ("reranker", lambda positions: None),
    ("reranker", lambda positions: positions[0]),
    ("reranker", lambda positions: positions + 1),
    ("reranker", lambda positions: np.zeros_like(positions)),
    ("reranker", lambda positions: np.full_like(positions, -1)),
    ("filter", lambda mask: mask[:-1]),
    ("filter", lambda mask: mask.astype(np.int8)),
    ("explainer", lambda sentences: None),
    ("explainer", lambda sentences: sentences[1:]),
    ("explainer", lambda sentences: [None, *sentences[1:]]),
    ("explainer", lambda sentences: ["", *sentences[1:]]),
]


@pytest.mark.parametrize(
    ("kind", "spoil"), SPOILED, ids=[f"{kind}-{n}" for n, (kind, _) in enumerate(SPOILED)]
)
def test_what_a_server_would_leave_out_fails(
    registered: Callable[[Spoil], None], kind: str, spoil: Spoil
) -> None:
    registered(spoil)
    with pytest.raises(AssertionError):
        CHECKS[kind]("fine")  # type: ignore[operator]


def test_scores_may_differ_by_what_floats_do_and_ties_may_swap(registered: Callable[[Spoil], None]) -> None:
    rng = np.random.default_rng(0)

    def shake(found: Retrieved) -> Retrieved:
        # All items tie, and come in another order each time.
        items = found.items.copy()
        for row in items:
            real = int((row >= 0).sum())
            row[:real] = rng.permutation(row[:real])
        scores = np.where(items >= 0, np.float32(1) - rng.random(items.shape) * 1e-6, -np.inf)
        return Retrieved.of(items, -np.sort(-scores.astype(np.float32), axis=1))

    registered(shake)
    check_retriever("fine")


def own(users: int = 20) -> Any:
    items = [Item(f"wine-{n}", {"title": f"Wine {n}", "grape": "merlot"}) for n in range(30)]
    events = [
        Event(f"u{user}", f"wine-{(7 * user + step) % 30}", "view", 1000 * step)
        for user in range(users)
        for step in range(6)
    ]
    return dataset_from(items, events)


def test_own_items_and_events_are_checked_instead(registered: Callable[[Spoil], None]) -> None:
    registered(same)
    data = own()
    assert data.catalogue.item(3).attributes["grape"] == "merlot"
    check_retriever("fine", dataset=data)
    check_ranker("fine", dataset=data)
    check_reranker("fine", dataset=data)
    mask = check_filter("fine", dataset=data)
    assert mask is not None
    assert len(mask) == 30


def test_too_few_users_are_named_as_the_reason(registered: Callable[[Spoil], None]) -> None:
    registered(same)
    with pytest.raises(ValueError, match="at least 12 users"):
        check_retriever("fine", dataset=own(users=3))


def test_the_built_in_retriever_passes_on_own_data() -> None:
    check_retriever("popular", dataset=own())


def test_a_fit_that_leaves_its_executor_idle_fails() -> None:
    with pytest.raises(AssertionError, match="nothing to do"):
        check_executor("popular")
