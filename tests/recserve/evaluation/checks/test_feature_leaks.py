"""Leaks that are planted in features, and the checks that must find them; honest features pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from recserve import Candidates, Dataset, Int32Array, Queries
from recserve.evaluation import LeakError, Split, check_feature_leaks, evaluate, temporal
from recserve.evaluation.checks import feature_leaks
from recserve.testing import dataset_of, example_candidates, example_dataset, example_queries
from recserve.testing.feature_checks import check_features

N_ITEMS = 400


def dataset(n_users: int = 200, length: int = 15) -> Dataset:
    rng = np.random.default_rng(0)
    items = rng.integers(0, N_ITEMS, n_users * length)
    return dataset_of([(row % n_users, int(item), 1.0) for row, item in enumerate(items)], N_ITEMS)


class Counter:
    """Shows how often items were met, by everybody and by the user."""

    feature_names = ("popularity", "own")

    def __init__(self, counted: Dataset, until: int) -> None:
        self._popularity = np.bincount(counted.items, minlength=counted.n_items)
        self.counted_until = until

    def features(self, queries: Queries, candidates: Candidates) -> np.ndarray:
        items = np.clip(candidates.items, 0, len(self._popularity) - 1)
        own = np.zeros(items.shape)
        for query in range(len(queries)):
            past = queries.histories
            span = slice(past.offsets[query], past.offsets[query + 1])
            own[query] = np.isin(candidates.items[query], past.items[span])
        return np.stack([self._popularity[items], own], axis=-1).astype(np.float32)


def honest(training: Dataset) -> Counter:
    return Counter(training, int(training.timestamps[-1]))


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> list[Dataset]:
    """All events that the check deals out, as somebody sees them who counts before splitting."""
    seen: list[Dataset] = []

    def split(data: Dataset, share: float) -> Split:
        seen.append(data)
        return temporal(data, share)

    monkeypatch.setattr(feature_leaks, "temporal", split)
    return seen


def test_honest_features_tell_no_answer_apart() -> None:
    found = check_feature_leaks(dataset(), honest, name="counter")
    assert found.passed
    assert found.detail.endswith("none of the 2 features of counter tells answers apart")


def test_counts_of_all_events_are_found(everything: list[Dataset]) -> None:
    def leaky(training: Dataset) -> Counter:
        return Counter(everything[-1], int(training.timestamps[-1]))

    with pytest.raises(LeakError, match=r"features of counter know the event to predict.*: popularity \(of"):
        check_feature_leaks(dataset(), leaky, name="counter")


def test_what_the_user_does_later_is_found(everything: list[Dataset]) -> None:
    class Foreseeing(Counter):
        def features(self, queries: Queries, candidates: Candidates) -> np.ndarray:
            found = super().features(queries, candidates)
            whole = everything[-1]
            for query, moment in enumerate(queries.times):
                now = whole.items[whole.timestamps == moment]
                found[query, :, 1] = np.where(np.isin(candidates.items[query], now), np.nan, 0.0)
            return found

    def leaky(training: Dataset) -> Foreseeing:
        return Foreseeing(training, int(training.timestamps[-1]))

    with pytest.raises(LeakError, match=r"random: own \(of [0-9]+ pairs it is higher for 0 answers"):
        check_feature_leaks(dataset(), leaky, name="foreseeing")


def test_counts_that_are_too_recent_are_refused_by_the_check_and_by_every_evaluation() -> None:
    data = dataset()
    split = temporal(data, 0.2)

    @dataclass
    class Pipeline:
        ranker: Counter

        def recommend(self, queries: Queries, k: int) -> Int32Array:
            return np.full((len(queries), k), -1, dtype=np.int32)

    evaluate(Pipeline(honest(split.training)), split, name="honest")
    late = Counter(data, int(data.timestamps[-1]))
    with pytest.raises(LeakError, match="features of the ranker were counted on events up to 1970"):
        evaluate(Pipeline(late), split, name="late")
    with pytest.raises(LeakError, match="not before the oldest test event"):
        check_feature_leaks(data, lambda training: late, name="late")


def test_too_little_data_is_said() -> None:
    found = check_feature_leaks(dataset_of([(0, 0, 1.0), (0, 1, 1.0)], 2), honest, name="counter")
    assert found.passed
    assert found.detail.startswith("not run, the data are too few")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found[:, :, :1], "features are of shape"),
        (lambda found: found.astype(np.float64), "dtype float64"),
        (lambda found: np.where(found == 0, np.inf, found).astype(np.float32), "infinite"),
        (lambda found: (found + found.mean()).astype(np.float32), "other features alone"),
    ],
)
def test_the_conformance_kit_refuses(change: Callable[[np.ndarray], np.ndarray], message: str) -> None:
    class Odd(Counter):
        def features(self, queries: Queries, candidates: Candidates) -> np.ndarray:
            return change(super().features(queries, candidates))

    data = example_dataset()
    queries = example_queries(data)
    odd = Odd(data, int(data.timestamps[-1]))
    with pytest.raises(AssertionError, match=message):
        check_features(odd, queries, example_candidates(data, queries), honest, data, "odd")


def test_the_conformance_kit_finds_leaks(everything: list[Dataset]) -> None:
    data = dataset()
    queries = example_queries(data)

    def leaky(training: Dataset) -> Counter:
        return Counter(everything[-1], int(training.timestamps[-1]))

    offered, ranker = example_candidates(data, queries), honest(data)
    check_features(ranker, queries, offered, honest, data, "counter")
    with pytest.raises(AssertionError, match="leak: features of counter"):
        check_features(ranker, queries, offered, leaky, data, "counter")
