"""The pipeline: ids at the edge, sessions, live items, and every way to degrade."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from recserve import (
    Candidates,
    Catalogue,
    Event,
    InvalidRequestError,
    Item,
    NotFoundError,
    Queries,
    RecserveError,
    Retrieved,
)
from recserve.builtins import FieldsParams, FieldsText, TemplateExplainer
from recserve.config import Config, PipelineConfig, RetrieverConfig
from recserve.domain import BoolArray, FloatArray, Int32Array
from recserve.errors import StageError, StoreError
from recserve.graph import RankingStage, RetrievalResult, RetrievalStage, Scenario
from recserve.pipeline import Edge, Pipeline
from recserve.requests import Recommendation, Request, SessionEvent
from recserve.store import Store, open_store
from recserve.topk import mask_scores, top_k

ITEMS = [Item(f"i{n}", {"title": f"Title {n}", "odd": n % 2}) for n in range(12)]
VECTORS = np.eye(12, 16, dtype=np.float32)


class Nearest:
    """Cosine to the newest item of the history, the anchor or the query text."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        newest = np.full(len(queries), -1, dtype=np.int32)
        lengths = queries.histories.lengths
        newest[lengths > 0] = queries.histories.items[queries.histories.offsets[1:][lengths > 0] - 1]
        rows = np.where(queries.anchors >= 0, queries.anchors, newest)
        vectors = self._catalogue.gather(rows, queries.extra_vectors)
        if queries.text_vectors is not None:
            vectors = vectors + queries.text_vectors
        assert self._catalogue.vectors is not None
        scores = mask_scores(vectors @ self._catalogue.vectors.T + 0.01, queries)
        scores[(vectors == 0).all(axis=1)] = -np.inf
        items, best = top_k(scores, k)
        return Retrieved(items, best, np.where(items >= 0, newest[:, None], -1).astype(np.int32))


class Counted:
    def __init__(self, n_items: int) -> None:
        self._scores = np.arange(n_items, 0, -1, dtype=np.float32)

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        scores = mask_scores(np.tile(self._scores, (len(queries), 1)), queries)
        return Retrieved.of(*top_k(scores, k))


class Odd:
    def __init__(self, catalogue: Catalogue) -> None:
        self._odd = np.array(catalogue.column("odd")) == 1

    def allowed(self, argument: Any) -> BoolArray | None:
        return None if argument is None else (self._odd if argument else ~self._odd)


class ByRow:
    """Prefers high rows, so that ranking visibly differs from retrieval."""

    def score(self, queries: Queries, candidates: Candidates) -> FloatArray:
        return candidates.items.astype(np.float32)


class Direct:
    """Calls the stages directly; ``broken`` names stages that fail."""

    def __init__(self, scenario: Scenario) -> None:
        self._retrieval = RetrievalStage({"home": scenario})
        self._ranking = RankingStage({"home": scenario})
        self.broken: set[str] = set()
        self.calls: list[str] = []

    def _enter(self, stage: str) -> None:
        self.calls.append(stage)
        if stage in self.broken:
            raise StageError(f"{stage} died")

    async def retrieve(self, bundle: str, scenario: str, queries: Queries, n: int) -> RetrievalResult:
        self._enter("retrieval")
        return self._retrieval.retrieve(scenario, queries, n)

    async def rank(self, bundle: str, scenario: str, queries: Queries, candidates: Candidates) -> FloatArray:
        self._enter("ranking")
        return self._ranking.score(scenario, queries, candidates)

    async def encode(self, bundle: str, texts: Sequence[str]) -> FloatArray:
        """``Title 7`` has the vector of item 7."""
        self._enter("encoding")
        return np.stack([VECTORS[int(text.split()[-1]) % 12] for text in texts])


class Lab:
    """A pipeline of real parts with a client whose stages can be broken."""

    def __init__(self, store: Store, rerankers: Sequence[Any] = (), explainer: Any = None) -> None:
        catalogue = Catalogue.of(ITEMS, VECTORS)
        config = PipelineConfig(
            retrievers=(RetrieverConfig(use="near", weight=50.0), RetrieverConfig(use="popular")), budget=12
        )
        ranked = config.model_copy(update={"ranker": {"use": "by_row"}})
        filters = {"odd": Odd(catalogue)}
        full = Scenario(
            ranked, {"near": Nearest(catalogue), "popular": Counted(12)}, filters, ByRow(), rerankers
        )
        self.client = Direct(full)
        self.store = store
        edge = Edge(
            bundle="b1",
            catalogue=catalogue,
            event_types=Config().event_types,
            scenarios={"home": Scenario(ranked, {}, filters, rerankers=rerankers)},
            explainers={"home": explainer or TemplateExplainer()},
            fallbacks={"home": Counted(12)},
            filter_arguments={"home": {"odd": TypeAdapter(bool)}},
            item_text=FieldsText(FieldsParams()),
            default_scenario="home",
        )
        self.pipeline = Pipeline(edge, store, self.client)

    def ask(self, *requests: Request) -> list[Recommendation | RecserveError]:
        return asyncio.run(self.pipeline.recommend(requests))

    def one(self, **fields: Any) -> Recommendation:
        (answer,) = self.ask(Request(**fields))
        assert isinstance(answer, Recommendation), answer
        return answer


def ids(answer: Recommendation) -> list[str]:
    return [item.item_id for item in answer.items]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(None, tmp_path) as opened:
        yield opened


@pytest.fixture
def lab(store: Store) -> Lab:
    return Lab(store)


def view(user: str, item: str, timestamp: int = 1_700_000_000_000) -> Event:
    return Event(user, item, "view", timestamp)


def test_nobody_gets_popular_items_and_no_needless_hop(lab: Lab) -> None:
    answer = lab.one(n=3)
    assert len(answer.items) == 3
    assert answer.degraded == ()
    assert lab.client.calls == ["retrieval", "ranking"]
    assert answer.items[0].explanation == "Popular right now"
    assert set(answer.timings) >= {"retrieval", "ranking", "total"}


def test_an_acknowledged_event_counts_in_the_next_answer(lab: Lab) -> None:
    assert "i11" in ids(lab.one(user_id="u", n=12))
    lab.store.add_events([view("u", "i11")])
    answer = lab.one(user_id="u", n=12)
    assert "i11" not in ids(answer)
    assert {item.explanation for item in answer.items} == {"Because you looked at Title 11"}


def test_session_text_anchor_and_exclude_combine(lab: Lab) -> None:
    lab.client.broken = {"ranking"}
    session = lab.one(session=(SessionEvent("i3"), SessionEvent("i5", "like")), n=12)
    assert {"i3", "i5"}.isdisjoint(ids(session))
    assert session.items[0].explanation == "Because you liked Title 5"
    text = lab.one(query="Title 7", n=2)
    assert ids(text)[0] == "i7"
    assert text.items[0].explanation == "Matches “Title 7”"
    similar = lab.one(item_id="i4", exclude=("i0", "unheard-of"), n=12)
    assert {"i4", "i0"}.isdisjoint(ids(similar))


def test_items_newer_than_the_bundle_are_encoded_live(lab: Lab) -> None:
    lab.store.upsert_items([Item("new", {"title": "New 9"})])
    lab.client.broken = {"ranking"}
    answer = lab.one(session=(SessionEvent("new"),), n=1)
    assert ids(answer) == ["i9"]
    assert answer.items[0].explanation == "Because you looked at New 9"
    assert ids(lab.one(item_id="new", n=1)) == ["i9"]


def test_filters_are_validated_and_hold_on_every_path(lab: Lab) -> None:
    for broken in (set(), {"ranking"}, {"retrieval"}):
        lab.client.broken = broken
        answer = lab.one(filter={"odd": True}, n=12)
        assert sorted(ids(answer), key=lambda one: int(one[1:])) == ["i1", "i3", "i5", "i7", "i9", "i11"]
    bad, unknown, good = lab.ask(
        Request(filter={"odd": "perhaps"}), Request(filter={"even": 1}), Request(filter={"odd": False})
    )
    assert isinstance(bad, InvalidRequestError)
    assert bad.field == "filter.odd"
    assert isinstance(unknown, InvalidRequestError)
    assert "no filter 'even' (configured: odd)" in unknown.message
    assert isinstance(good, Recommendation)


def test_one_wrong_request_does_not_spoil_the_batch(lab: Lab) -> None:
    missing, scenario, event, fine = lab.ask(
        Request(item_id="nobody"),
        Request(scenario="hom"),
        Request(session=(SessionEvent("i1", "glance"),)),
        Request(n=1),
    )
    assert isinstance(missing, NotFoundError)
    assert missing.field == "item_id"
    assert isinstance(scenario, NotFoundError)
    assert isinstance(event, InvalidRequestError)
    assert isinstance(fine, Recommendation)


def test_n_larger_than_the_catalogue_gives_everything_once(lab: Lab) -> None:
    assert sorted(ids(lab.one(n=500))) == sorted(item.item_id for item in ITEMS)


def test_lost_ranking_gives_retrieval_order(lab: Lab) -> None:
    ranked = ids(lab.one(n=12))
    lab.client.broken = {"ranking"}
    answer = lab.one(n=12)
    assert answer.degraded == ("ranking",)
    assert ids(answer) != ranked
    assert ids(answer) == [f"i{n}" for n in range(12)]


def test_lost_retrieval_gives_popular_without_seen_items(lab: Lab) -> None:
    lab.store.add_events([view("u", "i0")])
    lab.client.broken = {"retrieval"}
    answer = lab.one(user_id="u", n=3)
    assert answer.degraded == ("retrieval",)
    assert ids(answer) == ["i1", "i2", "i3"]
    assert answer.items[0].sources == ("popular",)


def test_lost_encoding_goes_on_without_text(lab: Lab) -> None:
    lab.client.broken = {"encoding"}
    answer = lab.one(query="Title 7", n=3)
    assert answer.degraded == ("encoding",)
    assert len(answer.items) == 3


class Unreachable:
    def histories(self, user_ids: Sequence[str], limit: int) -> Mapping[str, Sequence[Event]]:
        raise StoreError("connection refused")

    def items(self, item_ids: Sequence[str]) -> Mapping[str, Item]:
        raise StoreError("connection refused")


def test_unreachable_store_goes_on_with_the_session(lab: Lab) -> None:
    pipeline = Pipeline(lab.pipeline.edge, Unreachable(), lab.client)
    (answer,) = asyncio.run(pipeline.recommend([Request(user_id="u", session=(SessionEvent("i5"),), n=11)]))
    assert isinstance(answer, Recommendation)
    assert answer.degraded == ("store",)
    assert "i5" not in ids(answer)


class Broken:
    def rerank(self, queries: Queries, ranked: Candidates, n: int) -> Int32Array:
        raise ValueError("no")

    def explain(self, reasons: Sequence[Any]) -> list[str]:
        raise ValueError("no")


def test_lost_reranking_and_explaining_keep_the_ranked_list(store: Store) -> None:
    lab = Lab(store, rerankers=[Broken()], explainer=Broken())
    answer = lab.one(n=2)
    assert set(answer.degraded) == {"reranking", "explaining"}
    assert ids(answer) == ["i11", "i10"]
    assert answer.items[0].explanation is None


def test_without_explanations(lab: Lab) -> None:
    assert {item.explanation for item in lab.one(explain=False).items} == {None}
