"""Assignment: shares come out, nobody is moved by a ramp, experiments of a layer exclude each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recserve.experiments.assignment import Assignments
from recserve.experiments.definition import HOLDOUT
from recserve.experiments.lifecycle import Experiment
from tests.support.experiments import running

USERS = [f"user {number}" for number in range(4_000)]


def arms(experiments: Iterable[Experiment], scenario: str = "home") -> dict[str, tuple[str | None, str]]:
    """Experiment and arm of each user who has one."""
    assignments = Assignments(experiments, {"home", "search"})
    found = {user: assignments.assign(scenario, user, None) for user in USERS}
    return {
        user: (one.arm.experiment, one.arm.name)
        for user, one in found.items()
        if one is not None and one.arm is not None
    }


def near(count: int, share: float) -> bool:
    """Within five standard deviations of a share of all users."""
    expected = share * len(USERS)
    return abs(count - expected) <= 5 * (expected * (1 - share)) ** 0.5 + 1


@settings(max_examples=15, deadline=None)
@given(
    st.floats(0.05, 1.0),
    st.lists(st.integers(1, 9), min_size=2, max_size=5),
    st.text("abcdefgh", min_size=1, max_size=5),
)
def test_arms_get_their_shares(share: float, weights: list[int], name: str) -> None:
    listed = [{"name": f"arm{place}", "share": weight / sum(weights)} for place, weight in enumerate(weights)]
    counts = Counter(arm for _, arm in arms([running(name, share=share, arms=listed)]).values())
    for one in listed:
        assert near(counts[str(one["name"])], share * float(str(one["share"])))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=5, unique=True))
def test_a_ramp_moves_nobody(shares: list[float]) -> None:
    experiment = running(share=min(shares))
    before = arms([experiment])
    for share in sorted(shares)[1:]:
        experiment = experiment.with_status(experiment.started([experiment], share, 9))
        after = arms([experiment])
        assert {user: after[user] for user in before} == before
        assert near(len(after), experiment.status.share)
        before = after


@settings(max_examples=15, deadline=None)
@given(st.floats(0.05, 0.5), st.floats(0.05, 0.4), st.sampled_from(["home", "search"]))
def test_experiments_of_a_layer_exclude_each_other(first: float, second: float, scenario: str) -> None:
    one = running("one", share=first, layer="shared")
    two = running("two", [one], share=second, layer="shared", scenario=scenario)
    of_one = {user for user, (name, _) in arms([one, two]).items() if name == "one"}
    of_two = {user for user, (name, _) in arms([one, two], scenario).items() if name == "two"}
    assert near(len(of_one), first)
    assert near(len(of_two), second)
    assert not of_one & of_two


def test_layers_have_nothing_to_do_with_each_other() -> None:
    one = running("one", share=0.5)
    two = running("two", [one], share=0.5, scenario="search")
    both = set(arms([one, two])) & set(arms([one, two], "search"))
    assert near(len(both), 0.25)


def test_arms_of_experiments_that_follow_one_another_have_nothing_to_do_with_each_other() -> None:
    """Otherwise the second would measure what the first one left behind."""
    first = running("first")
    stopped = first.with_status(first.ended("done", 9))
    before, after = arms([first]), arms([running("second", [stopped])])
    assert near(sum(before[user][1] == after[user][1] for user in USERS), 0.5)


def test_those_held_out_are_the_same_for_all_experiments_of_a_layer() -> None:
    def held(name: str) -> set[str]:
        found = arms([running(name, share=0.5, holdout=0.1)])
        return {user for user, one in found.items() if one == (None, HOLDOUT)}

    assert held("one") == held("two")
    assert near(len(held("one")), 0.1)


def test_whoever_had_a_stopped_arm_has_none_and_the_others_keep_theirs() -> None:
    experiment = running(arms=[{"name": "a"}, {"name": "b"}, {"name": "c"}])
    before = arms([experiment])
    after = arms([experiment.with_status(experiment.ended("slow", 9, "b"))])
    assert after == {user: one for user, one in before.items() if one[1] != "b"}


def test_a_session_counts_where_there_is_no_user() -> None:
    assignments = Assignments([running()], {"home"})
    user = assignments.assign("home", "u", "s1")
    assert user == assignments.assign("home", "u", "s2")
    session = assignments.assign("home", None, "s1")
    assert session is not None
    assert session == assignments.assign("home", None, "s1")
    assert assignments.assign("home", None, None) is None
    assert assignments.concerns("home")
    # A session of the same name as a user is somebody else.
    both = [(assignments.assign("home", n, None), assignments.assign("home", None, n)) for n in USERS[:100]]
    assert any(one != other for one, other in both)


def test_any_text_may_be_an_id() -> None:
    assignments = Assignments([running()], {"home"})
    for user in ("", "é", "\x00", "\ud800", "x" * 10_000):
        assert assignments.assign("home", user, None) is not None


def test_only_what_runs_over_the_scenario_counts() -> None:
    experiment = running()
    assert Assignments([experiment], {"home"}).assign("search", "u", None) is None
    stopped = experiment.with_status(experiment.ended("done", 9))
    assert not Assignments([stopped], {"home"}).running
    assert Assignments([stopped], {"home"}).assign("home", "u", None) is None


def test_an_experiment_that_names_what_is_not_here_is_not_served(caplog: pytest.LogCaptureFixture) -> None:
    arms_of = [{"name": "a"}, {"name": "b", "scenario": "gone"}]
    assert not Assignments([running(arms=arms_of)], {"home"}).running
    assert "there is no gone here" in caplog.text
    bundles = [{"name": "a"}, {"name": "b", "bundle": "b1"}]
    assert not Assignments([running(arms=bundles)], {"home"}).running
    assert Assignments([running(arms=bundles)], {"home"}, {"b1"}).running


def test_shadows_are_computed_for_their_share_whatever_the_arm() -> None:
    listed = [{"name": "a"}, {"name": "b"}, {"name": "dark", "shadow": True, "share": 0.3}]
    assignments = Assignments([running(arms=listed)], {"home"})
    found = [assignments.assign("home", user, None) for user in USERS]
    assert all(one is not None and one.arm is not None and one.arm.name in "ab" for one in found)
    dark = [one for one in found if one is not None and one.shadows]
    assert near(len(dark), 0.3)
    assert near(sum(one.arm is not None and one.arm.name == "a" for one in dark), 0.15)


def test_everybody_in_an_interleaving_gets_both_arms() -> None:
    experiment = running(kind="interleaving")
    assignment = Assignments([experiment], {"home"}).assign("home", "u", None)
    assert assignment is not None
    assert assignment.arm is None
    assert [arm.name for arm in assignment.teams] == ["control", "fewer"]
