"""What both rankers over features do alike: learn from what features say, keep it, and refuse leaks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recserve_features.deepfm.ranker import DeepFm
from recserve_features.lambdamart.ranker import LambdaMart
from recserve_features.parameters import DeepFmParams, LambdaMartParams

from recserve import BundleError, DataError, Dataset, FitContext, ndcg
from recserve.evaluation import LeakError, Split, check_feature_leaks, paired_difference, temporal
from recserve.evaluation.checks import feature_leaks
from recserve.testing import (
    check_ranker,
    dataset_of,
    example_candidates,
    example_dataset,
    example_queries,
)

pytestmark = pytest.mark.parametrize("kind", ["lambdamart", "deepfm"])
CPU = FitContext(threads=1, device="cpu")


def test_keeps_the_contract_of_a_ranker(kind: str) -> None:
    check_ranker(kind)


def test_a_taste_that_goes_with_the_day_is_learnt(kind: str, made_up: Any) -> None:
    data = example_dataset()
    ranker, _ = made_up.learnt(kind, data, made_up.examples(data, made_up.at_weekends))
    asked = made_up.examples(data, made_up.at_weekends, seed=6)
    assert made_up.right(ranker, asked) > 0.95
    order = np.argsort(-ranker.score(asked.queries, asked.candidates), axis=1)
    count = asked.labels.astype(bool).sum(axis=1)
    by_ranker = ndcg(np.take_along_axis(asked.labels > 0, order[:, :10], axis=1), count, 10)
    by_retriever = ndcg(asked.labels[:, :10] > 0, count, 10)
    gain = paired_difference(by_ranker, by_retriever)
    assert gain.low > 0.1


def test_a_taste_that_goes_with_the_device_is_learnt_where_queries_say_it(kind: str, made_up: Any) -> None:
    data = example_dataset()
    declared = {
        "device": {"type": "context", "key": "device"},
        "device_topic": {"type": "context", "key": "device", "attribute": "topic"},
    }
    taught = made_up.examples(data, made_up.on_phones)
    ranker, _ = made_up.learnt(kind, data, taught, features=declared)
    assert made_up.right(ranker, made_up.examples(data, made_up.on_phones, seed=6)) > 0.95
    silent = replace(taught, queries=replace(taught.queries, contexts=({},) * len(taught.queries)))
    ranker, _ = made_up.learnt(kind, data, silent, features=declared)
    assert made_up.right(ranker, silent) < 0.7


def test_a_final_fit_takes_over_what_was_learnt_and_a_bundle_gives_it_back(
    kind: str, made_up: Any, tmp_path: Path
) -> None:
    data = example_dataset()
    taught = made_up.examples(data, made_up.at_weekends)
    ranker, facts = made_up.learnt(kind, data.before(data.quantile_time(0.9)), taught)
    final = made_up.ranker(kind, data)
    reported = final.fit(data, replace(CPU, previous=json.loads(json.dumps(facts))))
    learnt = {"lambdamart": "trees_text", "deepfm": "network"}[kind]
    assert reported[learnt].startswith("sha256:"), "a manifest does not hold what was learnt"
    assert final.counted_until > ranker.counted_until
    assert made_up.right(final, taught) > 0.9
    final.save(tmp_path)
    fresh = type(final)(type(final._params)(), data.catalogue)
    fresh.load(tmp_path)
    np.testing.assert_array_equal(
        fresh.score(taught.queries, taught.candidates), final.score(taught.queries, taught.candidates)
    )
    again = tmp_path / "again"
    again.mkdir()
    fresh.save(again)
    for file in again.iterdir():
        assert file.read_bytes() == (tmp_path / file.name).read_bytes()
        assert file.suffix == ".json" or np.load(file).shape[0] == 1, "no row a user"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", 9, "another version"),
        ("items", 3, "about 3 items"),
        ("shapes", {}, "other features"),
        ("anchor", {}, "cannot be read"),
    ],
)
def test_a_damaged_bundle_is_refused(
    kind: str, made_up: Any, tmp_path: Path, key: str, value: Any, message: str
) -> None:
    data = example_dataset()
    ranker = made_up.ranker(kind, data)
    ranker.fit(data, CPU)
    ranker.save(tmp_path)
    file = tmp_path / "features.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(BundleError, match=message):
        made_up.ranker(kind, data).load(tmp_path)


def test_before_anything_is_learnt_retrievals_order_stays(kind: str, made_up: Any) -> None:
    data = example_dataset()
    queries = example_queries(data)
    offered = example_candidates(data, queries)
    nothing = made_up.examples(data, lambda asked, topics: np.zeros(topics.shape))
    ranker, _ = made_up.learnt(kind, data, nothing)
    real = offered.items >= 0
    np.testing.assert_array_equal(ranker.score(queries, offered)[real], offered.scores[real])


def test_queries_that_are_not_newer_than_the_counts_are_refused(kind: str, made_up: Any) -> None:
    data = example_dataset()
    taught = made_up.examples(data, made_up.at_weekends)
    times = taught.queries.times.copy()
    times[3] = int(data.timestamps[-1])
    late = replace(taught, queries=replace(taught.queries, times=times))
    with pytest.raises(DataError, match=f"leak: 1 of 300 queries that {kind}"):
        made_up.learnt(kind, data, late)


class CountsEarly:
    """Mixed into a ranker: its features are counted on all events, before the data are split."""

    everything: list[Dataset]

    def fit(self, training: Dataset, context: FitContext) -> Mapping[str, Any]:
        facts: Mapping[str, Any] = super().fit(training, context)  # type: ignore[misc]
        until = self._inputs.counted_until  # type: ignore[has-type]
        self._inputs = replace(self._inputs.counted(self.everything[-1]), counted_until=until)  # type: ignore[has-type]
        return facts


class LeakyTrees(CountsEarly, LambdaMart):
    """With trees."""


class LeakyNetwork(CountsEarly, DeepFm):
    """With a network."""


def test_a_planted_leak_is_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    data = dataset_of(
        [(row % 200, int(item), 1.0) for row, item in enumerate(rng.integers(0, 400, 3000))], 400
    )
    CountsEarly.everything = []

    def split(whole: Dataset, share: float) -> Split:
        CountsEarly.everything.append(whole)
        return temporal(whole, share)

    def fitted(build: Callable[[], Any]) -> Callable[[Dataset], Any]:
        def fit(training: Dataset) -> Any:
            ranker = build()
            ranker.fit(training, CPU)
            return ranker

        return fit

    builds: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "lambdamart": (
            lambda: LambdaMart(LambdaMartParams(), data.catalogue),
            lambda: LeakyTrees(LambdaMartParams(), data.catalogue),
        ),
        "deepfm": (
            lambda: DeepFm(DeepFmParams(), data.catalogue),
            lambda: LeakyNetwork(DeepFmParams(), data.catalogue),
        ),
    }
    honest, leaky = builds[kind]
    monkeypatch.setattr(feature_leaks, "temporal", split)
    check = check_feature_leaks(data, fitted(honest), name="it")
    assert check.passed
    assert "features of it tells answers apart" in check.detail
    with pytest.raises(LeakError, match=r"features of it know the event to predict.* popularity"):
        check_feature_leaks(data, fitted(leaky), name="it")
