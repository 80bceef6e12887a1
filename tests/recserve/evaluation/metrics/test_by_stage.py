"""Slices and stages against the obvious implementation, and models against each other."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from recserve import Candidates, Catalogue, Dataset, EventType, Queries, Retrieved, mask_scores, top_k
from recserve.config import PipelineConfig
from recserve.errors import PluginError
from recserve.evaluation import (
    RetrieverRecommender,
    differences,
    evaluate,
    given,
    leave_one_out,
    over_best_part,
    temporal,
)
from recserve.evaluation.metrics.accuracy import accuracy
from recserve.evaluation.metrics.slices import slices_of
from recserve.serving.scenario import Scenario
from recserve.training.fitting import FittedPipeline

TYPES = {"view": EventType()}
N_ITEMS = 60


def table(users, items, times=None) -> pa.Table:
    return pa.table(
        {
            "event_id": [str(number) for number in range(len(users))],
            "user_id": [f"u{user:03d}" for user in users],
            "item_id": [f"i{item:03d}" for item in items],
            "event": ["view"] * len(users),
            "value": pa.array([None] * len(users), pa.float64()),
            "timestamp": pa.array(range(len(users)) if times is None else times, pa.int64()),
        }
    )


def dataset(seed: int = 0, n_events: int = 900, n_users: int = 60) -> Dataset:
    rng = np.random.default_rng(seed)
    share = 1.0 / np.arange(1, N_ITEMS + 1)
    users = rng.integers(0, n_users, n_events)
    # Some users come late, so that cold ones are among those who are asked.
    users = np.where(np.arange(n_events) < 0.8 * n_events, users % (n_users // 2), users)
    items = rng.choice(N_ITEMS, n_events, p=share / share.sum())
    catalogue = Catalogue([f"i{row:03d}" for row in range(N_ITEMS)])
    return Dataset.from_tables(catalogue, table(users, items), TYPES)


class Scored:
    """Retriever: one score an item, for everybody."""

    def __init__(self, scores: np.ndarray, only: int | None = None) -> None:
        self._scores = scores.astype(np.float32)
        self._only = only

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        scores = np.tile(self._scores, (len(queries), 1))
        return Retrieved.of(*top_k(mask_scores(scores, queries), min(k, self._only or k)))


class Ranked:
    """Ranker: one score an item, for everybody."""

    def __init__(self, scores: np.ndarray) -> None:
        self._scores = scores.astype(np.float32)

    def score(self, queries: Queries, candidates: Candidates) -> np.ndarray:
        return self._scores[np.maximum(candidates.items, 0)]


def popular(training: Dataset) -> RetrieverRecommender:
    return RetrieverRecommender(Scored(training.item_counts))


def answers_of(split) -> list[list[int]]:
    return [relevant[q].tolist() for _, _, relevant in split.batches(7) for q in range(len(relevant))]


def test_slices_are_the_same_lists_on_some_queries_or_answers():
    split = temporal(dataset(), 0.3)
    report = evaluate(popular(split.training), split, [5, 10], name="popular", detailed=True, batch=17)
    again = evaluate(popular(split.training), split, [5, 10], name="popular", detailed=True, batch=1000)
    assert [one.metrics for one in report.slices] == [one.metrics for one in again.slices]

    lists = np.concatenate([popular(split.training).recommend(q, 10) for _, q, _ in split.batches(50)])
    counts, events = split.training.item_counts, split.ends - split.starts
    answers = np.array([one[0] for one in answers_of(split)])
    order = np.argsort(-counts, kind="stable")
    head: set[int] = set()
    held = 0
    for item in order:
        if held >= counts.sum() / 2:
            break
        head.add(int(item))
        held += counts[item]
    expected = {
        "cold users (< 5 events)": events < 5,
        "warm users (5+ events)": events >= 5,
        "no events": events == 0,
        "1-4 events": (events >= 1) & (events < 5),
        "10-19 events": (events >= 10) & (events < 20),
        "cold items (< 5 training events)": counts[answers] < 5,
        "warm items (5+ training events)": counts[answers] >= 5,
        f"head ({len(head)} items, half of the events)": np.isin(answers, list(head)),
        f"tail ({N_ITEMS - len(head)} items)": ~np.isin(answers, list(head)),
    }
    for name, chosen in expected.items():
        part = report.part(name)
        assert part.queries == chosen.sum() > 0, name
        by_user: dict[int, list[float]] = {}
        hits = (lists == answers[:, None]).any(axis=1)
        for query in np.flatnonzero(chosen):
            by_user.setdefault(int(split.groups[query]), []).append(float(hits[query]))
        assert part.users == len(by_user)
        mean = float(np.mean([np.mean(values) for values in by_user.values()]))
        assert part.metrics["hr@10"].mean == pytest.approx(mean), name
        assert part.metrics["hr@10"].low <= mean <= part.metrics["hr@10"].high
    whole = [one for one in report.slices if one.group == "users"]
    assert sum(one.queries for one in whole) == report.queries
    json.dumps(report.to_json(), allow_nan=False)


def test_a_query_with_several_answers_counts_in_each_slice_of_items_with_its_own():
    training = dataset()
    rare = int(np.flatnonzero((training.item_counts > 1) & (training.item_counts < 5))[0])
    test = table([7, 7, 7], [0, rare, 99])
    split = given(training.where(~np.isin(training.items, [0, rare]) | (training.users != 7)), test, TYPES)
    report = evaluate(popular(split.training), split, [N_ITEMS], name="popular", detailed=True)
    assert report.metrics[f"recall@{N_ITEMS}"].mean == pytest.approx(2 / 3)
    # The item outside the catalogue is a new one, that nobody can hit.
    assert report.part("new items (no training event)").metrics[f"recall@{N_ITEMS}"].mean == 0
    assert report.part("cold items (< 5 training events)").metrics[f"recall@{N_ITEMS}"].mean == 0.5
    assert report.part("warm items (5+ training events)").metrics[f"recall@{N_ITEMS}"].mean == 1
    assert {one.group for one in slices_of(split)} == {"users", "history", "items", "popularity"}
    assert report.part("warm items (5+ training events)").users == 1


def pipeline(split, *, ranker=None, budget: int = 12) -> FittedPipeline:
    """Two retrievers of ten items each: the popular ones, and those with the highest numbers."""
    config = PipelineConfig.model_validate(
        {
            "retrievers": [{"use": "front", "candidates": 10}, {"use": "back", "candidates": 10}],
            "budget": budget,
            "ranker": None if ranker is None else {"use": "ranked"},
        }
    )
    parts = {"front": Scored(split.training.item_counts), "back": Scored(np.arange(N_ITEMS))}
    scenario = Scenario(config=config, retrievers=parts, filters={}, ranker=ranker)
    return FittedPipeline(scenario, Scored(split.training.item_counts), split.training.catalogue)


def test_stages_of_a_pipeline_by_the_obvious_count():
    split = temporal(dataset(), 0.3)
    built = pipeline(split, ranker=Ranked(np.arange(N_ITEMS)[::-1].copy()))
    report = evaluate(built, split, [5], name="pipeline", detailed=True, batch=13)
    figures = {(one.stage, one.part, one.metric): one for one in report.stages}

    answers = np.array([one[0] for one in answers_of(split)])
    hit: dict[str, list[bool]] = {"front": [], "back": [], "merged": []}
    ranks: dict[str, list[float]] = {"retrieval": [], "ranker": []}
    for chosen, queries, relevant in split.batches(64):
        stages = built.stages(queries, 5)
        for name, found in stages.found.items():
            hit[name] += (found.items == answers[chosen, None]).any(axis=1).tolist()
        hit["merged"] += (stages.candidates.items == answers[chosen, None]).any(axis=1).tolist()
        ranks["retrieval"] += accuracy(stages.candidates.items, relevant, [5])["ndcg@5"].tolist()
        ranks["ranker"] += accuracy(stages.ranked, relevant, [5])["ndcg@5"].tolist()

    def by_user(values, keep=None) -> float:
        kept = np.ones(len(split), bool) if keep is None else np.asarray(keep)
        groups, values = split.groups[kept], np.asarray(values, float)[kept]
        return float(np.mean([values[groups == user].mean() for user in np.unique(groups)]))

    front, back, merged = (np.array(hit[name]) for name in ("front", "back", "merged"))
    assert 0 < merged.sum() < (front | back).sum() < len(split)
    expected = {
        ("retrieval", "front", "recall@10"): by_user(front),
        ("retrieval", "back", "recall@10"): by_user(back),
        ("retrieval", "front", "found by no other"): by_user(front & ~back),
        ("retrieval", "merged, uncut", "recall"): by_user(front | back),
        ("retrieval", "merged, cut to the budget", "recall@12"): by_user(merged),
        ("ranking", "order of retrieval", "ndcg@5"): by_user(ranks["retrieval"], merged),
        ("ranking", "order of the ranker", "ndcg@5"): by_user(ranks["ranker"], merged),
        ("end to end", "pipeline", "ndcg@5"): by_user(ranks["ranker"]),
    }
    for key, mean in expected.items():
        assert figures[key].interval.mean == pytest.approx(mean), key
    assert figures["ranking", "order of the ranker", "ndcg@5"].queries == merged.sum()
    assert report.metrics["ndcg@5"] == figures["end to end", "pipeline", "ndcg@5"].interval
    # Nothing is reranked, so that there is no such row; and without a ranker there is one order only.
    assert ("ranking", "after reranking", "ndcg@5") not in figures
    plain = evaluate(pipeline(split), split, [5], name="pipeline", detailed=True)
    assert [one.part for one in plain.stages if one.stage == "ranking"] == ["order of retrieval"]


def test_what_the_fallback_fills_up_is_not_retrieval():
    split = leave_one_out(dataset())
    config = PipelineConfig.model_validate({"retrievers": [{"use": "narrow"}]})
    narrow = Scored(-np.arange(N_ITEMS), only=2)
    scenario = Scenario(config=config, retrievers={"narrow": narrow}, filters={})
    built = FittedPipeline(scenario, Scored(split.training.item_counts), split.training.catalogue)
    report = evaluate(built, split, [20], name="pipeline", detailed=True)
    merged = next(one for one in report.stages if one.metric == "recall@300")
    assert 0 < merged.interval.mean < report.metrics["recall@20"].mean


def test_single_components_have_no_stages_and_nothing_is_detailed_unless_asked_for():
    split = temporal(dataset(), 0.3)
    assert evaluate(popular(split.training), split, name="popular", detailed=True).stages == ()
    brief = evaluate(pipeline(split), split, name="pipeline")
    assert brief.stages == brief.slices == ()
    with pytest.raises(KeyError, match="cold"):
        brief.part("cold")


def test_all_pairs_of_models():
    split = temporal(dataset(), 0.3)
    models = {
        "popular": popular(split.training),
        "reverse": RetrieverRecommender(Scored(-split.training.item_counts)),
        "pipeline": pipeline(split, ranker=Ranked(split.training.item_counts)),
    }
    reports = [evaluate(one, split, [10], name=name, detailed=True) for name, one in models.items()]
    found = {(one.first, one.second): one.interval for one in differences(reports, "ndcg@10")}
    assert set(found) == {("popular", "reverse"), ("popular", "pipeline"), ("reverse", "pipeline")}
    assert found["popular", "reverse"].low > 0
    for (first, second), interval in found.items():
        one, other = (next(r for r in reports if r.model == name) for name in (first, second))
        alone = one.difference(other, "ndcg@10")
        assert (interval.mean, interval.low, interval.high) == pytest.approx(
            (alone.mean, alone.low, alone.high)
        )
    best = over_best_part(reports, "ndcg@10")
    assert best is not None
    assert (best.first, best.second) == ("pipeline", "popular")
    assert over_best_part(reports[:2], "ndcg@10") is None
    assert differences(reports[:1], "ndcg@10") == []
    warm = reports[0].difference(reports[1], "hr@10", part="warm items (5+ training events)")
    assert warm.mean == pytest.approx(
        reports[0].part("warm items (5+ training events)").metrics["hr@10"].mean
        - reports[1].part("warm items (5+ training events)").metrics["hr@10"].mean
    )
    apart = leave_one_out(dataset())
    foreign = evaluate(popular(apart.training), apart, [10], name="foreign")
    with pytest.raises(ValueError, match="different splits"):
        differences([reports[0], foreign], "ndcg@10")


def allowing(split, **settings) -> FittedPipeline:
    config = PipelineConfig.model_validate({"retrievers": [{"use": "front"}], **settings})
    front = Scored(split.training.item_counts)
    scenario = Scenario(config=config, retrievers={"front": front}, filters={})
    return FittedPipeline(scenario, front, split.training.catalogue)


def seen_among(split, policy: str, k: int) -> int:
    """How many items of their history users are recommended."""
    built = allowing(split, seen=policy)
    assert evaluate(built, split, [k], name=policy).queries == len(split)
    return sum(
        len(set(items.tolist()) & set(queries.excluded[index].tolist()))
        for _, queries, _ in split.batches(200)
        for index, items in enumerate(built.recommend(queries, k))
    )


def test_the_policy_for_seen_items_is_evaluated_as_it_serves():
    split = leave_one_out(dataset())
    assert seen_among(split, "exclude", 5) == 0 < seen_among(split, "allow", 5)
    assert seen_among(split, "decay", 5) < seen_among(split, "allow", 5)
    assert seen_among(split, "decay", N_ITEMS) > 0, "they are still there, further down"


class EvenOnly:
    """A filter that bars odd items without being asked."""

    def allowed(self, argument):
        return np.arange(N_ITEMS) % 2 == 0


def test_filters_hold_for_the_fallback_as_they_do_when_it_serves():
    split = leave_one_out(dataset())
    config = PipelineConfig.model_validate({"retrievers": [{"use": "narrow"}], "filters": [{"use": "even"}]})
    narrow = Scored(-np.arange(N_ITEMS), only=2)
    scenario = Scenario(config=config, retrievers={"narrow": narrow}, filters={"even": EvenOnly()})
    built = FittedPipeline(scenario, Scored(split.training.item_counts), split.training.catalogue)
    queries = next(batch for _, batch, _ in split.batches(64))
    items = built.recommend(queries, 8)
    assert (items >= 0).sum(axis=1).min() > 2, "pages are filled up"
    assert (items[items >= 0] % 2 == 0).all()


class Broken:
    def retrieve(self, queries, k):
        raise ValueError("no")


def test_a_component_that_fails_ends_the_evaluation_instead_of_being_left_out():
    split = leave_one_out(dataset())
    config = PipelineConfig.model_validate({"retrievers": [{"use": "front"}, {"use": "broken"}]})
    front = Scored(split.training.item_counts)
    scenario = Scenario(config=config, retrievers={"front": front, "broken": Broken()}, filters={})
    built = FittedPipeline(scenario, front, split.training.catalogue)
    with pytest.raises(PluginError, match="retriever:broken failed"):
        evaluate(built, split, [5], name="pipeline")
    with pytest.raises(PluginError, match="retriever:broken failed"):
        built.retrieve(next(batch for _, batch, _ in split.batches(64)))
