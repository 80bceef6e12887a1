"""The ranker ``lambdamart``: what it learns, what a bundle holds of it, and leaks that it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recserve_features import register_rankers
from recserve_features.inputs.clock import DAY_MS, part_of
from recserve_features.parameters import LambdaMartParams
from recserve_features.ranker import LambdaMart

from recserve import (
    BundleError,
    Candidates,
    DataError,
    Dataset,
    FitContext,
    Queries,
    RankingExamples,
)
from recserve.evaluation import LeakError, Split, check_feature_leaks, temporal
from recserve.evaluation.checks import feature_leaks
from recserve.testing import check_ranker, dataset_of, example_candidates, example_dataset, example_queries

PARAMS = LambdaMartParams(trees=20, min_leaf=10)


def examples(
    data: Dataset, choose: Callable[[Queries, np.ndarray], np.ndarray], batch: int = 300, seed: int = 5
) -> RankingExamples:
    """Queries of the days after the data, twelve candidates each, of which a rule chooses some.

    Args:
        data: Where histories are from.
        choose: Labels, bool, shape (B, K), for queries and the topics of their candidates.
        batch: B.
        seed: Of everything random.
    """
    rng = np.random.default_rng(seed)
    users = np.sort(rng.integers(0, data.n_users, batch))
    times = int(data.timestamps[-1]) + 1 + rng.integers(0, 30 * DAY_MS, batch)
    queries = Queries.of(data.histories.select(users), times)
    devices = rng.choice(["desktop", "phone"], batch)
    queries = replace(queries, contexts=tuple({"device": str(device)} for device in devices))
    items = np.stack([rng.permutation(data.n_items)[:12] for _ in range(batch)]).astype(np.int32)
    scores = -np.broadcast_to(np.arange(12, dtype=np.float32), items.shape)
    shown = Candidates(items, scores, ("mf",), scores[:, :, None].copy(), np.full(items.shape, -1, np.int32))
    labels = choose(queries, items % 4).astype(np.float32)
    return RankingExamples(queries, shown, labels, users.astype(np.int32))


def at_weekends(queries: Queries, topics: np.ndarray) -> np.ndarray:
    """Space and cooking on weekdays, gardens and trains at weekends."""
    return (topics // 2) == part_of(queries.times, "weekend", "UTC")[:, None]


def on_phones(queries: Queries, topics: np.ndarray) -> np.ndarray:
    """Space and cooking on a desktop, gardens and trains on a phone."""
    phone = np.array([context.get("device") == "phone" for context in queries.contexts])
    return (topics // 2) == phone[:, None]


def learnt(
    data: Dataset, taught: RankingExamples, params: LambdaMartParams = PARAMS, threads: int = 1
) -> tuple[LambdaMart, Mapping[str, Any]]:
    built = LambdaMart(params, data.catalogue)
    built.fit(data, FitContext(threads=threads))
    return built, built.fit_candidates(taught, FitContext(threads=threads))


def right(ranker: LambdaMart, asked: RankingExamples) -> float:
    """Share of queries whose first candidate was chosen."""
    first = ranker.score(asked.queries, asked.candidates).argmax(axis=1)
    return float(asked.labels[np.arange(len(first)), first].mean())


def test_keeps_the_contract_of_a_ranker() -> None:
    check_ranker("lambdamart")


def test_a_taste_that_goes_with_the_day_is_learnt() -> None:
    data = example_dataset()
    taught = examples(data, at_weekends)
    ranker, facts = learnt(data, taught)
    assert right(ranker, examples(data, at_weekends, seed=6)) > 0.95
    assert facts["gains"].get("weekend", 0) + facts["gains"].get("weekday", 0) > 0.02
    assert facts["trees"] == 20


def test_a_taste_that_goes_with_the_device_is_learnt_where_queries_say_it() -> None:
    data = example_dataset()
    declared = {
        "device": {"type": "context", "key": "device"},
        "device_topic": {"type": "context", "key": "device", "attribute": "topic"},
    }
    params = LambdaMartParams.model_validate({"features": declared, "trees": 20, "min_leaf": 10})
    taught = examples(data, on_phones)
    ranker, facts = learnt(data, taught, params)
    assert right(ranker, examples(data, on_phones, seed=6)) > 0.95
    silent = replace(taught, queries=replace(taught.queries, contexts=({},) * len(taught.queries)))
    ranker, facts = learnt(data, silent, params)
    assert right(ranker, silent) < 0.7
    assert facts["idle"] == ["device", "device_topic"]


def test_the_number_of_trees_is_chosen_on_users_held_out() -> None:
    data, reported = example_dataset(), []
    built = LambdaMart(LambdaMartParams(max_trees=40, min_leaf=10), data.catalogue)
    built.fit(data, FitContext(threads=1))
    context = FitContext(threads=1, validated=lambda step, score: reported.append((step, score)))
    facts = built.fit_candidates(examples(data, at_weekends), context)
    assert 1 <= facts["trees"] <= 40
    assert facts["validation"][str(facts["trees"])] == pytest.approx(
        max(score for _, score in reported), abs=1e-5
    )
    assert [step for step, _ in reported] == list(range(1, len(reported) + 1))


def test_equal_fits_give_equal_bytes_whatever_the_threads(tmp_path: Path) -> None:
    data = example_dataset()
    written = []
    for threads in (1, 2):
        folder = tmp_path / str(threads)
        folder.mkdir()
        params = LambdaMartParams(trees=3, min_leaf=10)
        learnt(data, examples(data, at_weekends, 60), params, threads)[0].save(folder)
        written.append({file.name: file.read_bytes() for file in folder.iterdir()})
    assert written[0] == written[1]


def test_a_final_fit_takes_over_the_trees_and_a_bundle_gives_them_back(tmp_path: Path) -> None:
    data = example_dataset()
    taught = examples(data, at_weekends)
    ranker, facts = learnt(data.before(data.quantile_time(0.9)), taught)
    final = LambdaMart(PARAMS, data.catalogue)
    reported = final.fit(data, FitContext(threads=1, previous=facts))
    assert reported["trees_text"].startswith("sha256:"), "a manifest does not hold the trees"
    assert final.counted_until > ranker.counted_until
    assert right(final, taught) > 0.9
    final.save(tmp_path)
    fresh = LambdaMart(LambdaMartParams(), data.catalogue)
    fresh.load(tmp_path)
    np.testing.assert_array_equal(
        fresh.score(taught.queries, taught.candidates), final.score(taught.queries, taught.candidates)
    )
    again = tmp_path / "again"
    again.mkdir()
    fresh.save(again)
    for name in ("features.json", "tables.npy"):
        assert (again / name).read_bytes() == (tmp_path / name).read_bytes()
    assert np.load(tmp_path / "tables.npy").shape[0] == 1, "no row a user"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", 9, "another version"),
        ("items", 3, "about 3 items"),
        ("trees", ["tree", "nonsense"], "cannot be read"),
        ("shapes", {}, "other features"),
    ],
)
def test_a_damaged_bundle_is_refused(tmp_path: Path, key: str, value: Any, message: str) -> None:
    data = example_dataset()
    learnt(data, examples(data, at_weekends))[0].save(tmp_path)
    file = tmp_path / "features.json"
    facts = json.loads(file.read_text())
    file.write_text(json.dumps({**facts, key: value}))
    with pytest.raises(BundleError, match=message):
        LambdaMart(PARAMS, data.catalogue).load(tmp_path)


def test_without_trees_retrievals_order_stays() -> None:
    data = example_dataset()
    queries = example_queries(data)
    offered = example_candidates(data, queries)
    nothing = examples(data, lambda asked, topics: np.zeros(topics.shape))
    ranker, facts = learnt(data, nothing)
    assert facts["trees"] == 0
    real = offered.items >= 0
    np.testing.assert_array_equal(ranker.score(queries, offered)[real], offered.scores[real])
    assert not ranker.contributions(queries, offered).any()


def test_contributions_add_up_to_scores() -> None:
    data = example_dataset()
    taught = examples(data, at_weekends)
    ranker, _ = learnt(data, taught)
    found = ranker.contributions(taught.queries, taught.candidates)
    rest = ranker.score(taught.queries, taught.candidates) - found.sum(axis=2)
    rest -= ranker._anchor.scores(taught.candidates)
    np.testing.assert_allclose(rest, rest[0, 0], atol=1e-4)
    strongest = np.abs(found).mean(axis=(0, 1)).argsort()[::-1][:6]
    assert any("topic" in ranker.feature_names[place] for place in strongest)


def test_queries_that_are_not_newer_than_the_counts_are_refused() -> None:
    data = example_dataset()
    taught = examples(data, at_weekends)
    times = taught.queries.times.copy()
    times[3] = int(data.timestamps[-1])
    late = replace(taught, queries=replace(taught.queries, times=times))
    built = LambdaMart(PARAMS, data.catalogue)
    built.fit(data, FitContext(threads=1))
    with pytest.raises(DataError, match="leak: 1 of 300 queries"):
        built.fit_candidates(late, FitContext(threads=1))


def test_a_planted_leak_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features that somebody counts on all events before the data are split."""
    rng = np.random.default_rng(0)
    data = dataset_of(
        [(row % 200, int(item), 1.0) for row, item in enumerate(rng.integers(0, 400, 3000))], 400
    )
    everything: list[Dataset] = []

    def split(whole: Dataset, share: float) -> Split:
        everything.append(whole)
        return temporal(whole, share)

    class CountedEarly(LambdaMart):
        def fit(self, training: Dataset, context: FitContext) -> Mapping[str, Any]:
            facts = super().fit(training, context)
            until = self._inputs.counted_until
            self._inputs = replace(self._inputs.counted(everything[-1]), counted_until=until)
            return facts

    def fitted(ranker: LambdaMart, training: Dataset) -> LambdaMart:
        ranker.fit(training, FitContext(threads=1))
        return ranker

    monkeypatch.setattr(feature_leaks, "temporal", split)
    honest = check_feature_leaks(
        data, lambda part: fitted(LambdaMart(PARAMS, data.catalogue), part), name="it"
    )
    assert honest.passed
    assert "features of it tells answers apart" in honest.detail
    with pytest.raises(LeakError, match=r"features of it know the event to predict.* popularity"):
        check_feature_leaks(data, lambda part: fitted(CountedEarly(PARAMS, data.catalogue), part), name="it")


def test_lightgbm_is_not_imported_before_it_is_needed() -> None:
    heavy = "{'lightgbm', 'torch', 'pandas'}"
    code = f"import sys, recserve_features.ranker; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert [component.name for component in register_rankers()] == ["lambdamart"]
