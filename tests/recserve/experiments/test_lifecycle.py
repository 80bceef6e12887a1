"""Starting, growing and stopping: who is in stays in, and experiments of a layer share nobody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recserve.errors import ExperimentConflictError, InvalidRequestError, NotFoundError
from recserve.experiments.lifecycle import BUCKETS, Experiment, Status, plain_of
from tests.support.experiments import created, running


def buckets(experiment: Experiment) -> set[int]:
    return {bucket for first, end in experiment.status.segments for bucket in range(first, end)}


def grown(experiment: Experiment, others: list[Experiment], share: float) -> Experiment:
    return experiment.with_status(experiment.started([*others, experiment], share, 9))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3_000)), max_size=12))
def test_experiments_of_a_layer_share_no_bucket_and_lose_none(steps: list[tuple[int, int]]) -> None:
    """Whatever the order in which they start, grow and are stopped."""
    experiments = {number: created(f"e{number}", share=0.01, holdout=0.1) for number in range(4)}
    for number, size in steps:
        mine = experiments[number]
        others = [other for key, other in experiments.items() if key != number]
        share = round(mine.status.share * BUCKETS + size) / BUCKETS
        free = 0.9 * BUCKETS - sum(len(buckets(other)) for other in others if other.running)
        try:
            after = grown(mine, others, share)
        except ExperimentConflictError:
            assert share * BUCKETS > free or mine.status.state == "stopped"
            if mine.running:
                experiments[number] = mine.with_status(mine.ended("full", 11))
            continue
        assert buckets(mine) <= buckets(after)
        assert len(buckets(after)) == round(share * BUCKETS)
        experiments[number] = after
    held = [buckets(experiment) for experiment in experiments.values() if experiment.running]
    assert len(set().union(*held)) == sum(map(len, held))
    assert all(bucket < 0.9 * BUCKETS for one in held for bucket in one)


def test_a_share_only_grows() -> None:
    half = running(share=0.5)
    assert grown(half, [], 0.8).status.share == 0.8
    assert half.started([half], None, 9) == half.status
    with pytest.raises(InvalidRequestError, match=r"has 0.5 already"):
        half.started([half], 0.3, 9)


def test_it_keeps_the_moment_of_its_start() -> None:
    assert grown(running(share=0.5), [], 0.8).status.started == 7


def test_what_a_stopped_experiment_had_is_free_again() -> None:
    first = running("first", share=0.7)
    with pytest.raises(ExperimentConflictError, match=r"has 0.3 left beside first, and 0.5 is needed"):
        running("second", [first], share=0.5)
    stopped = first.with_status(first.ended("done", 9))
    assert running("second", [stopped], share=1.0).status.share == 1.0


def test_a_holdout_is_left_alone() -> None:
    with pytest.raises(
        ExperimentConflictError, match=r"has 0.3 left and a holdout of 0.2, and 0.4 is needed"
    ):
        grown(running(share=0.5, holdout=0.2), [], 0.9)


def test_a_layer_has_one_holdout() -> None:
    first = running("first", share=0.1, holdout=0.2)
    with pytest.raises(ExperimentConflictError, match="one holdout"):
        running("second", [first], share=0.1)
    assert running("second", [first], share=0.1, layer="other", scenario="search").running


def test_a_request_belongs_to_one_experiment() -> None:
    first = running("first", share=0.1, layer="here")
    with pytest.raises(ExperimentConflictError, match="in layer 'here'"):
        running("second", [first], share=0.1, layer="there")
    assert running("second", [first], share=0.1, layer="here").running


def test_a_stopped_experiment_stays_so() -> None:
    mine = running()
    stopped = mine.with_status(mine.ended("enough", 9))
    assert (stopped.status.state, stopped.status.stopped, stopped.status.reason) == ("stopped", 9, "enough")
    assert stopped.ended("again", 11) == stopped.status
    with pytest.raises(ExperimentConflictError, match="was stopped"):
        stopped.started([stopped], None, 12)


def test_one_of_several_arms_is_stopped_alone() -> None:
    arms = [{"name": "a"}, {"name": "b"}, {"name": "c"}]
    mine = running(arms=arms)
    without_b = mine.with_status(mine.ended("slow", 9, "b"))
    assert without_b.running
    assert without_b.status.stopped_arms == {"b": "slow"}
    assert [arm.name for arm in without_b.served] == ["a", "c"]
    assert without_b.ended("again", 11, "b") == without_b.status
    # Nothing is left to be compared with.
    assert without_b.ended("slow too", 11, "c").state == "stopped"
    assert mine.ended("the control", 9, "a").state == "stopped"


def test_an_arm_that_there_is_not_and_an_experiment_that_does_not_run_are_refused() -> None:
    with pytest.raises(NotFoundError, match=r"no arm 'x' \(known: control, fewer\)"):
        running().ended("", 9, "x")
    with pytest.raises(ExperimentConflictError, match="does not run"):
        created().ended("", 9, "fewer")


def test_a_status_comes_back_as_it_was() -> None:
    status = running(share=0.3).status
    assert Status.model_validate(status.plain()) == status


def test_plain_data_says_what_people_ask() -> None:
    plain = plain_of(running(share=0.3))
    assert plain["layer"] == "home"
    assert [arm["share"] for arm in plain["arms"]] == [0.5, 0.5]
    assert plain["arms"][1]["parameters"] == {"budget": 3}
    assert "segments" not in plain["status"]
