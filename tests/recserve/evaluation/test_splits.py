"""Splits against a slow, obvious implementation, and the leak checks against planted leaks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from recserve import Catalogue, DataError, Dataset, EventType, Ragged
from recserve.evaluation import LeakError, check_leaks, leave_one_out, temporal
from recserve.evaluation import given as given_split
from recserve.testing import example_dataset

TYPES = {"view": EventType(), "buy": EventType(weight=3.0), "hide": EventType(weight=-1.0)}


def table(rows: list[tuple[str, str, str, int]]) -> pa.Table:
    users, items, events, times = zip(*rows, strict=True)
    return pa.table(
        {
            "event_id": [str(number) for number in range(len(rows))],
            "user_id": list(users),
            "item_id": list(items),
            "event": list(events),
            "value": pa.array([None] * len(rows), pa.float64()),
            "timestamp": pa.array(times, pa.int64()),
        }
    )


def dataset(rows: list[tuple[str, str, str, int]], n_items: int = 10) -> Dataset:
    catalogue = Catalogue([f"i{row}" for row in range(n_items)])
    return Dataset.from_tables(catalogue, table(rows), TYPES)


events = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d"]),
        st.integers(0, 9).map(lambda row: f"i{row}"),
        st.sampled_from(["view", "view", "buy", "hide"]),
        st.integers(0, 30),
    ),
    min_size=1,
    max_size=60,
)


def listed(data: Dataset) -> list[tuple[str, int, float, int]]:
    return [
        (data.user_ids.ids[user], int(item), float(weight), int(time))
        for user, item, weight, time in zip(
            data.users, data.items, data.weights, data.timestamps, strict=True
        )
    ]


def queries_of(split, size=7):
    """(input items, excluded items, time, answers) of each query, through the batches."""
    found = []
    for _, queries, relevant in split.batches(size):
        for index in range(len(queries)):
            start, stop = queries.histories.offsets[index : index + 2]
            found.append(
                (
                    queries.histories.items[start:stop].tolist(),
                    queries.excluded[index].tolist(),
                    int(queries.times[index]),
                    relevant[index].tolist(),
                )
            )
    return found


@settings(max_examples=150, deadline=None)
@given(events, st.sampled_from([0.1, 0.3, 0.5]))
def test_temporal_matches_the_obvious_implementation(rows, window):
    data = dataset(rows)
    cut = data.quantile_time(1 - window)
    everything = listed(data)
    expected = []
    for user in data.user_ids:
        mine = [event for event in everything if event[0] == user]
        seen_anywhere: set[int] = set()
        for _, item, weight, time in mine:
            if time >= cut and weight > 0 and item not in seen_anywhere:
                before = [event for event in mine if event[3] < time]
                items = [event[1] for event in before]
                expected.append((items[-4:], items, time, [item]))
            seen_anywhere.add(item)
    if not [event for event in everything if event[3] < cut] or not expected:
        with pytest.raises(DataError, match="temporal split leaves nothing"):
            temporal(data, window)
        return
    split = temporal(data, window, history=4)
    assert listed(split.training) == [event for event in everything if event[3] < cut]
    assert queries_of(split) == expected
    assert split.n_users == len(set(split.rows.tolist())) == int(split.groups.max()) + 1
    check_leaks(split)


@settings(max_examples=150, deadline=None)
@given(events)
def test_leave_one_out_matches_the_obvious_implementation(rows):
    data = dataset(rows)
    expected, training = [], []
    for user in data.user_ids:
        mine = [event for event in listed(data) if event[0] == user]
        last = None
        for place, (_, item, weight, _) in enumerate(mine):
            if place and weight > 0 and item not in [event[1] for event in mine[:place]]:
                last = place
        kept = mine if last is None else mine[:last]
        training += kept
        if last is not None:
            items = [event[1] for event in kept]
            expected.append((items, items, mine[last][3], [mine[last][1]]))
    if not expected:
        with pytest.raises(DataError, match="leave-one-out leaves nothing"):
            leave_one_out(data)
        return
    split = leave_one_out(data)
    assert sorted(listed(split.training)) == sorted(training)
    assert (np.diff(split.training.timestamps) >= 0).all()
    assert queries_of(split) == expected
    assert split.note is not None
    assert split.note.startswith("leaky")
    check_leaks(split)


def test_some_queries_of_a_split_are_what_they_were():
    split = temporal(dataset([("a", f"i{row}", "view", row) for row in range(10)]), 0.5)
    some = split.take(np.array([1, 3]))
    assert queries_of(some) == [queries_of(split)[1], queries_of(split)[3]]
    assert some.groups.tolist() == [0, 0]
    training = dataset([("a", "i0", "view", 1), ("b", "i1", "view", 2)])
    test = table(
        [("a", "i2", "view", 5), ("a", "i3", "view", 6), ("b", "i4", "view", 7), ("c", "i5", "view", 8)]
    )
    several = given_split(training, test, TYPES)
    assert queries_of(several.take(np.array([0, 2]))) == [queries_of(several)[0], queries_of(several)[2]]


def test_the_cap_on_queries_keeps_evenly_spread_ones():
    rows = [("a", "i0", "view", 0)] * 30
    rows += [("b", f"i{row}", "view", 100 + row) for row in range(9)]
    rows += [("c", "i3", "view", 110)]
    split = temporal(dataset(rows), 0.25, queries_per_user=3)
    answers = [query[3][0] for query in queries_of(split)]
    assert answers == [2, 5, 8, 3]
    assert temporal(dataset(rows), 0.25, queries_per_user=9).n_users == 2
    assert len(temporal(dataset(rows), 0.25, queries_per_user=9)) == 10


@settings(max_examples=50, deadline=None)
@given(events, st.integers(1, 4))
def test_the_cap_holds_for_every_user(rows, cap):
    data = dataset(rows)
    try:
        whole = temporal(data, 0.4)
    except DataError:
        assume(False)
    capped = temporal(data, 0.4, queries_per_user=cap)
    assert np.bincount(capped.groups).tolist() == np.minimum(np.bincount(whole.groups), cap).tolist()


def test_given_split():
    training = dataset([("a", "i0", "view", 1), ("a", "i1", "view", 2), ("b", "i2", "view", 3)], n_items=5)
    test = table(
        [
            ("a", "i1", "view", 9),  # had it already: not ranked, so no answer
            ("a", "i3", "view", 8),
            ("a", "i3", "buy", 7),  # the same answer again
            ("a", "new", "view", 9),  # outside the catalogue: a miss for everybody
            ("a", "i4", "hide", 9),  # not positive
            ("b", "i2", "view", 9),  # user without any answer left
            ("z", "i0", "view", 5),  # stranger
        ]
    )
    split = given_split(training, test, TYPES)
    assert split.n_users == 2
    assert split.n_items == 5
    assert split.note is None
    assert queries_of(split) == [([0, 1], [0, 1], 7, [3, 5]), ([], [], 5, [0])]
    check_leaks(split)


def test_given_split_asks_after_the_input_even_without_real_times():
    training = dataset([("a", "i0", "view", 50), ("b", "i1", "view", 60)])
    split = given_split(training, table([("a", "i3", "view", 0)]), TYPES)
    assert split.times.tolist() == [51]
    assert split.note is not None
    assert "not known to be older" in split.note
    stranger = given_split(training, table([("z", "i3", "view", 0)]), TYPES)
    assert stranger.times.tolist() == [61]


def test_given_split_without_any_answer_is_refused():
    training = dataset([("a", "i0", "view", 1)])
    with pytest.raises(DataError, match="nothing to test on"):
        given_split(training, table([("a", "i0", "view", 2)]), TYPES)


def planted() -> Dataset:
    rows = [("a", "i0", "view", 1), ("b", "i1", "view", 2), ("b", "i2", "view", 3)]
    rows += [("a", "i3", "view", 8), ("b", "i4", "view", 9)]
    return dataset(rows)


def test_training_on_the_test_window_is_refused():
    data = planted()
    split = temporal(data, 0.4)
    check_leaks(split)
    with pytest.raises(LeakError, match=r"newest training event .* not older"):
        check_leaks(replace(split, training=data))


def test_an_input_that_reaches_the_answer_is_refused():
    split = temporal(planted(), 0.4)
    with pytest.raises(LeakError, match="2 of 2 queries get events in their input"):
        check_leaks(replace(split, ends=split.ends + 1))
    one_out = leave_one_out(planted())
    full = planted().histories
    leaky = replace(one_out, timeline=full, starts=full.offsets[:-1], ends=full.offsets[1:].copy())
    with pytest.raises(LeakError, match="input of 2 of 2 queries holds the item to predict"):
        check_leaks(leaky)


def test_training_on_the_answers_is_refused():
    split = leave_one_out(planted())
    with pytest.raises(LeakError, match="training data hold 2 of the 2 answers"):
        check_leaks(replace(split, training=planted()))


def test_an_answer_that_the_user_had_already_is_refused():
    split = temporal(planted(), 0.4)
    had = Ragged(split.relevant.offsets, np.array([0, 4], dtype=np.int32))
    with pytest.raises(LeakError, match="input of 1 of 2 queries"):
        check_leaks(replace(split, relevant=had))


def test_events_that_all_have_one_time_cannot_be_split_by_time():
    with pytest.raises(DataError, match="leaves nothing to train on"):
        temporal(dataset([("a", "i0", "view", 5), ("b", "i1", "view", 5)]))


def test_a_sample_of_users_keeps_their_queries_and_every_item():
    data = example_dataset()
    split = temporal(data)
    sample = split.sample(10, seed=3)
    assert sample.n_users == 10
    assert sample.n_items == split.n_items
    assert sample.note == f"10 of {split.n_users} users, drawn at random with seed 3"
    assert np.array_equal(np.unique(sample.groups), np.arange(10))
    # Whole users: each one's queries are those of the full split.
    timeline_users = sample.rows[np.searchsorted(sample.groups, np.arange(10))]
    kept = np.isin(split.rows, timeline_users)
    assert np.array_equal(sample.times, split.times[kept])
    assert np.array_equal(sample.relevant.values, split.relevant.values[kept])
    again, other = split.sample(10, seed=3), split.sample(10, seed=4)
    assert np.array_equal(again.rows, sample.rows)
    assert not np.array_equal(other.rows, sample.rows)
    assert split.sample(split.n_users, seed=3) is split
    assert "leaky" in leave_one_out(data).sample(5, seed=0).note


def test_repeats_are_asked_for_and_may_be_returned() -> None:
    rows = [("a", f"i{row % 3}", "view", row) for row in range(9)] + [("b", "i0", "view", 0)]
    data = dataset([*rows, ("a", "i1", "hide", 9), ("a", "i1", "view", 10)])
    with pytest.raises(DataError, match="not had before"):
        temporal(data, 0.4)
    split = temporal(data, 0.4, repeats=True)
    ((_, queries, relevant),) = split.batches(10)
    # All views after the cut, each after everything before it; what is hidden is no answer.
    assert [relevant[query].tolist() for query in range(len(split))] == [[0], [1], [2], [1]]
    assert queries.histories.lengths.tolist() == sorted(queries.histories.lengths)
    assert not len(queries.excluded.values)
    assert {check.name for check in check_leaks(split)} == {"time", "answers", "features"}
