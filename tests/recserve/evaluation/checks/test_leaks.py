"""Leaks that are planted, and the checks that must find them; honest data, in which they must not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from recserve import Catalogue, Dataset, EventType, Queries, mask_scores, top_k
from recserve.evaluation import (
    LeakError,
    Split,
    check_attributes,
    check_leaks,
    check_shuffled,
    check_vocabulary,
    evaluate,
    given,
    leave_one_out,
    shuffled,
    temporal,
)
from recserve.evaluation.checks.shuffled_labels import Probe

TYPES = {"view": EventType()}
N_ITEMS = 120


def dataset(n_users: int = 200, length: int = 12, seed: int = 0, attributes=None) -> Dataset:
    """Users who keep to one of four tastes, popular items more than others; new items come late."""
    rng = np.random.default_rng(seed)
    users = np.tile(np.arange(n_users), length)
    share = 1.0 / np.arange(1, N_ITEMS // 4)
    picks = rng.choice(len(share), len(users), p=share / share.sum())
    late = np.arange(len(users)) > 0.9 * len(users)
    picks[late & (rng.random(len(users)) < 0.4)] = len(share)
    items = picks * 4 + users % 4
    events = pa.table(
        {
            "user_id": [f"u{user:04d}" for user in users],
            "item_id": [f"i{item:03d}" for item in items],
            "event": ["view"] * len(users),
            "value": pa.array([None] * len(users), pa.float64()),
            "timestamp": pa.array(range(len(users)), pa.int64()),
        }
    )
    catalogue = Catalogue([f"i{row:03d}" for row in range(N_ITEMS)], attributes)
    return Dataset.from_tables(catalogue, events, TYPES)


class Everything:
    """A model of all data, the events to predict included."""

    def __init__(self, data: Dataset) -> None:
        self._probe = Probe(data)

    def recommend(self, queries: Queries, k: int) -> np.ndarray:
        return self._probe.recommend(queries, k)


def test_first_planted_leak_training_reaches_into_the_test_window():
    data = dataset()
    split = temporal(data, 0.2)
    assert [one.name for one in check_leaks(split)] == ["time", "answers", "features"]
    late = replace(split, training=data.before(int(split.times.min()) + 1))
    with pytest.raises(LeakError, match=r"newest training event .* is not older than the oldest test"):
        evaluate(Probe(late.training), late, name="late")


def test_second_planted_leak_popularity_counted_on_all_data():
    data = dataset()
    split = temporal(data, 0.2)
    # What somebody does who counts once, before splitting.
    split.training.__dict__["item_counts"] = data.item_counts
    with pytest.raises(LeakError, match=r"popularity of .* items was counted on more than the training"):
        evaluate(Probe(split.training), split, name="counted early")


def test_histories_of_all_data_are_found_as_well():
    data = dataset()
    split = temporal(data, 0.2)
    split.training.__dict__["histories"] = data.histories
    with pytest.raises(LeakError, match="histories of the training data hold events"):
        check_leaks(split)


@pytest.mark.parametrize("make", [lambda data: temporal(data, 0.2), leave_one_out])
def test_third_planted_leak_a_model_of_the_answers_still_predicts_shuffled_labels(
    make: Callable[[Dataset], Split],
):
    data = dataset()
    honest = check_shuffled(data, make)
    assert honest.passed
    assert "popularity alone explains" in honest.detail

    mixed: list[Dataset] = []

    def splits(shuffled_data: Dataset) -> Split:
        mixed.append(shuffled_data)
        return make(shuffled_data)

    with pytest.raises(LeakError, match=r"with shuffled labels thief hits .* the answers reach the model"):
        check_shuffled(data, splits, lambda training: Everything(mixed[-1]), name="thief")


def test_an_input_that_holds_the_answer_is_found_by_shuffling_too():
    def leaky(data: Dataset) -> Split:
        split = temporal(data, 0.2)
        # The answer is in the input but not excluded; the arrays themselves are not looked at here.
        return _Leaky(**{name: getattr(split, name) for name in split.__dataclass_fields__})

    class Echo:
        """Recommends the newest event of the input first."""

        def __init__(self, training: Dataset) -> None:
            self._n_items = training.n_items

        def recommend(self, queries: Queries, k: int) -> np.ndarray:
            scores = np.zeros((len(queries), self._n_items), dtype=np.float32)
            histories = queries.histories
            scores[histories.owners(), histories.items] = 1 + np.arange(len(histories.items))
            return top_k(mask_scores(scores, queries), k)[0]

    assert check_shuffled(dataset(), lambda data: temporal(data, 0.2), Echo).passed
    with pytest.raises(LeakError, match="the answers reach the model or its input"):
        check_shuffled(dataset(), leaky, Echo)


class _Leaky(Split):
    """A split whose queries see one event too many."""

    def _queries(self, chosen: slice) -> Queries:
        honest = super()._queries(chosen)
        further = replace(self, ends=self.ends + 1)
        return replace(honest, histories=Split._queries(further, chosen).histories)


def test_shuffling_keeps_popularity_and_takes_taste():
    data = dataset()
    mixed = shuffled(data, seed=3)
    assert np.array_equal(np.bincount(mixed.items), np.bincount(data.items))
    assert np.array_equal(mixed.users, data.users)
    assert np.array_equal(mixed.timestamps, data.timestamps)
    assert not np.array_equal(mixed.items, data.items)
    assert np.array_equal(mixed.items, shuffled(data, seed=3).items)

    def of_own_taste(one: Dataset) -> float:
        return float((one.items % 4 == one.users % 4).mean())

    assert of_own_taste(data) > 0.9
    assert of_own_taste(mixed) < 0.4


@pytest.mark.parametrize("seed", range(5))
def test_honest_data_pass_whatever_the_seed(seed):
    data = dataset(seed=seed)
    assert check_shuffled(data, lambda one: temporal(one, 0.2), seed=seed).passed
    assert check_shuffled(data, leave_one_out, seed=seed).passed


def as_table(items: np.ndarray) -> pa.Table:
    """Test events of 300 users, four each."""
    return pa.table(
        {
            "user_id": [f"u{user:04d}" for user in np.repeat(np.arange(300), 4)],
            "item_id": [f"i{item:03d}" for item in items],
            "event": ["view"] * 1200,
            "value": pa.array([None] * 1200, pa.float64()),
            "timestamp": pa.array([10**6] * 1200, pa.int64()),
        }
    )


def test_a_given_split_is_held_against_the_popularity_of_its_own_test_events():
    """Test events keep to the most popular items much more than training events do; nobody leaks."""
    training = dataset(n_users=300)
    items = np.random.default_rng(1).choice(np.argsort(-training.item_counts)[:6], 1200)

    def split(data: Dataset) -> Split:
        return given(data, as_table(items), TYPES)

    assert check_shuffled(training, split, answered=np.bincount(items, minlength=N_ITEMS)).passed
    with pytest.raises(LeakError):
        check_shuffled(training, split)


def test_a_model_of_the_answers_of_a_given_split_is_found():
    training = dataset(n_users=300)
    items = np.random.default_rng(1).integers(0, N_ITEMS - 4, 1200)

    def split(data: Dataset) -> Split:
        return given(data, as_table(items), TYPES)

    def thief(data: Dataset) -> Everything:
        return Everything(joined(data, Dataset.from_tables(data.catalogue, as_table(items), TYPES)))

    answered = np.bincount(items, minlength=N_ITEMS)
    assert check_shuffled(training, split, answered=answered).passed
    with pytest.raises(LeakError, match="the answers reach the model"):
        check_shuffled(training, split, thief, answered=answered)


def joined(first: Dataset, second: Dataset) -> Dataset:
    """Events of both; the users of the second are among those of the first."""
    rows = first.user_ids.rows(second.user_ids)[second.users]
    return Dataset(
        first.catalogue,
        first.user_ids,
        np.concatenate([first.users, rows]),
        np.concatenate([first.items, second.items]),
        np.concatenate([first.events, second.events]),
        np.concatenate([first.weights, second.weights]),
        np.concatenate([first.timestamps, second.timestamps]),
        first.event_types,
    )


def test_too_little_data_are_said_to_be_so():
    data = dataset(n_users=1, length=1)
    check = check_shuffled(data, leave_one_out)
    assert check.passed
    assert "not run, the data are too few to be shuffled: leave-one-out leaves nothing" in check.detail


def test_a_model_without_content_that_knows_new_items_needs_a_look():
    data = dataset(n_users=400)
    split = temporal(data, 0.1)
    honest = evaluate(Probe(split.training), split, name="honest", reads_content=False)
    assert [one.passed for one in honest.checks] == [True]
    thief = evaluate(Everything(data), split, name="thief", reads_content=False)
    (check,) = thief.checks
    assert not check.passed
    assert "it has seen more than the training data" in check.detail
    assert evaluate(Everything(data), split, name="thief").checks == ()


def test_chance_hits_on_new_items_pass():
    split = temporal(dataset(n_users=400), 0.1)
    rng = np.random.default_rng(0)
    random = np.stack([rng.permutation(N_ITEMS)[:10] for _ in range(len(split))]).astype(np.int32)
    assert check_vocabulary(split, random, "random").passed


def test_an_attribute_that_counts_the_answers_needs_a_look():
    plain = dataset(n_users=400)
    everything = np.bincount(plain.items, minlength=N_ITEMS)

    def check(values: np.ndarray, name: str):
        attributes = [f'{{"{name}": {value}}}' for value in values]
        split = temporal(dataset(n_users=400, attributes=attributes), 0.3)
        return check_attributes(split), split

    counted, split = check(everything, "views")
    assert not counted.passed
    assert "'views'" in counted.detail
    earlier, _ = check(np.bincount(split.training.items, minlength=N_ITEMS), "views")
    assert earlier.passed
    year, _ = check(np.random.default_rng(0).integers(1950, 2020, N_ITEMS), "year")
    assert year.passed
    assert "none of 1 numeric" in year.detail
