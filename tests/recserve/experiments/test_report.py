"""Reports of experiments from impressions that are made up, so that their truth is known."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from recserve.errors import ExperimentConflictError
from recserve.experiments.definition import parse_definition
from recserve.experiments.interleaving import SHARED
from recserve.experiments.lifecycle import Experiment, Status
from recserve.experiments.report import check_started, experiment_report
from recserve.outcomes.intervals import RatioSample, plain_interval

PLACES = 5


def experiment(arms=("old", "new"), kind="split", shares=None, **status):
    """An experiment that runs."""
    described = [{"name": name} if shares is None else {"name": name, "share": shares[name]} for name in arms]
    definition = {"name": "colours", "scenario": "default", "kind": kind, "arms": described}
    running = {"state": "running", "share": 1.0, "started": 1000, **status}
    return Experiment(parse_definition(definition), Status.model_validate(running), 0)


def shown_to(users, arms, clicked, *, hashes=None, teams=None, start=1000):
    """A table of pages of five items; ``users`` has the user of each page, -1 for nobody."""
    pages = len(users)
    rows = np.repeat(np.arange(pages), PLACES)
    of = (np.asarray(users) if hashes is None else hashes[users])[rows]
    flat = np.asarray(clicked).ravel()
    return pa.table(
        {
            "recommendation_id": pa.array([f"r{start}-{page}" for page in rows]).dictionary_encode(),
            "user_hash": pa.array(of, pa.int64(), mask=np.asarray(users)[rows] < 0),
            "arm": pa.array(np.asarray(arms, dtype=object)[rows], pa.string()).dictionary_encode(),
            "timestamp": start + rows,
            "position": pa.array(np.tile(np.arange(PLACES), pages), pa.int32()),
            "item_arm": pa.array([None] * len(rows) if teams is None else teams, pa.string()),
            "clicked": flat,
            "converted": flat & (np.arange(len(flat)) % 3 == 0),
            "value": np.where(flat & (np.arange(len(flat)) % 3 == 0), 9.5, 0.0),
        }
    )


def reported(experiment, *shown, before=()):
    """The report of tables of impressions."""
    return experiment_report(experiment, shown, before, 5000)


def rounded(plain):
    """Plain data with ten digits: sums depend a little on their order."""
    return json.loads(json.dumps(plain), parse_float=lambda text: float(f"{float(text):.9g}"))


class Habits:
    """Users who come more or less often and click more or less readily."""

    def __init__(self, seed=0, users=600):
        self.generator = np.random.default_rng(seed)
        self.users = users
        self.rate = self.generator.beta(2.0, 8.0, users)
        self.hashes = self.generator.integers(-(2**62), 2**62, users)

    def pages(self, arms, lift=0.0, each=6, start=1000):
        users = np.repeat(np.arange(self.users), self.generator.poisson(each, self.users))
        rate = self.rate * (1.0 + lift * (arms == "new"))
        clicked = self.generator.random((len(users), PLACES)) < rate[users, None]
        return shown_to(users, arms[users], clicked, hashes=self.hashes, start=start)

    def assigned(self, names=("old", "new"), shares=None):
        return self.generator.choice(np.array(names), self.users, p=shares)


def compared(report, arm="new", metric="click_through_rate"):
    (found,) = [one for one in report.comparisons if (one.arm, one.metric) == (arm, metric)]
    return found


def test_figures_of_arms_are_those_of_their_users():
    clicked = np.zeros((4, PLACES), dtype=bool)
    clicked[0, :2] = clicked[3, 0] = True
    shown = shown_to([7, 7, -1, 8], ["old", "old", "old", "new"], clicked)
    old, new = reported(experiment(), shown).arms
    assert (old.name, old.users, old.anonymous, old.answers, old.impressions) == ("old", 1, 1, 3, 15)
    assert (new.name, new.users, new.anonymous, new.answers, new.impressions) == ("new", 1, 0, 1, 5)
    rate = RatioSample(np.array([2.0, 0.0]), np.array([10.0, 5.0])).estimate()
    assert old.metrics["click_through_rate"] == plain_interval(rate)
    assert old.metrics["conversion_rate"].value == pytest.approx(1 / 15)
    assert old.metrics["value_per_user"].value == pytest.approx(9.5 / 2)


def test_the_better_arm_is_found_and_the_truth_lies_in_the_interval():
    habits = Habits(1, users=3000)
    report = reported(experiment(), habits.pages(habits.assigned(), lift=0.3))
    found = compared(report)
    assert found.verdict == "better"
    assert found.difference.holds(0.3 * 0.2)
    assert found.relative == pytest.approx(0.3, abs=0.1)
    assert found.p_value < 0.05
    assert not found.adjusted
    assert not report.sample_ratio.mismatch


def test_equal_arms_stay_undecided():
    habits = Habits(2)
    report = reported(experiment(), habits.pages(habits.assigned()))
    assert {one.verdict for one in report.comparisons} == {"undecided"}
    found = compared(report)
    assert found.detectable > found.difference.high - found.difference.value
    assert found.users_needed > 600  # 10% of the rate is less than what can be seen with these


def test_what_users_did_before_narrows_the_interval():
    habits = Habits(3)
    arms = habits.assigned()
    before = habits.pages(arms, each=20, start=0)
    shown = habits.pages(arms)
    plain = compared(reported(experiment(), shown))
    adjusted = compared(reported(experiment(), shown, before=[before]))
    assert adjusted.adjusted
    assert adjusted.variance_ratio < 0.7
    assert adjusted.detectable < plain.detectable
    assert adjusted.users_needed < plain.users_needed


def test_users_who_were_lost_raise_the_alarm():
    habits = Habits(4, users=4000)
    arms = habits.assigned()
    lost = (arms == "new") & (habits.generator.random(4000) < 0.2)
    arms[lost] = "nowhere"  # an arm of another experiment: these rows are not counted
    sizes = reported(experiment(), habits.pages(arms)).sample_ratio
    assert sizes.mismatch
    assert sizes.arms == ("old", "new")
    assert sum(sizes.users) == pytest.approx(sum(sizes.expected))


def test_planned_shares_are_those_of_the_definition():
    habits = Habits(5, users=3000)
    shares = {"old": 0.9, "new": 0.1}
    shown = habits.pages(habits.assigned(shares=[0.9, 0.1]))
    assert not reported(experiment(shares=shares), shown).sample_ratio.mismatch
    assert reported(experiment(), shown).sample_ratio.mismatch


def test_an_arm_that_was_stopped_alone_is_left_out_of_the_sample_ratio():
    habits = Habits(6, users=2000)
    arms = habits.assigned(("old", "new", "bad"))
    arms[(arms == "bad") & (habits.generator.random(2000) < 0.7)] = "nowhere"
    shown = habits.pages(arms)
    names = ("old", "new", "bad")
    assert reported(experiment(names), shown).sample_ratio.mismatch
    stopped = experiment(names, stopped_arms={"bad": "too slow"})
    report = reported(stopped, shown)
    assert report.sample_ratio.arms == ("old", "new")
    assert not report.sample_ratio.mismatch
    assert [arm.stopped for arm in report.arms] == [None, None, "too slow"]


def test_several_treatments_are_each_held_to_more():
    habits = Habits(7)
    shown = habits.pages(habits.assigned())
    two = compared(reported(experiment(), shown))
    three = compared(reported(experiment(("old", "new", "third")), shown))
    assert three.difference.high > two.difference.high
    assert three.difference.value == two.difference.value


def test_a_user_of_two_arms_counts_for_the_first():
    clicked = np.zeros((3, PLACES), dtype=bool)
    shown = shown_to([7, 7, 8], ["old", "new", "new"], clicked)
    # Reports do not depend on the order of rows.
    report = reported(experiment(), shown.take(np.arange(len(shown))[::-1]))
    assert report.crossed == 1
    assert [(arm.users, arm.answers) for arm in report.arms] == [(1, 1), (1, 1)]


def test_reports_do_not_depend_on_how_impressions_are_cut_into_tables():
    habits = Habits(10, users=150)
    arms = habits.assigned()
    shown, before = habits.pages(arms), habits.pages(arms, start=0)
    nobody = shown_to([-1] * 40, arms[:40], habits.generator.random((40, PLACES)) < 0.2, start=70_000)
    crossed = shown_to([0, 1, 2], ["old"] * 3, np.ones((3, PLACES), bool), hashes=habits.hashes, start=80_000)
    whole = pa.concat_tables([shown, nobody, crossed])
    halves = [before.slice(0, 500), before.slice(500)]
    at_once = reported(experiment(), whole, before=[before])
    cut = reported(experiment(), crossed, nobody, shown.slice(0, 1000), shown.slice(1000), before=halves)
    assert cut.crossed == (arms[:3] == "new").sum()
    assert rounded(cut.plain()) == rounded(at_once.plain())


def test_nothing_shown_yet_is_a_report_without_bounds():
    report = reported(experiment()).plain()
    text = json.dumps(report, allow_nan=False)
    assert json.loads(text) == report
    assert [arm["users"] for arm in report["arms"]] == [0, 0]
    assert report["comparisons"][0]["difference"] == {"value": None, "low": None, "high": None}
    assert report["comparisons"][0]["users_needed"] is None
    assert report["sample_ratio"]["p_value"] == 1.0


def test_plain_data_of_a_full_report_is_json():
    habits = Habits(8)
    arms = habits.assigned()
    report = reported(experiment(), habits.pages(arms), before=[habits.pages(arms, start=0)]).plain()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["experiment"] == "colours"
    assert report["comparisons"][0]["difference"].keys() == {"value", "low", "high"}


def test_interleaved_pages_say_which_arm_is_preferred():
    generator = np.random.default_rng(9)
    users = np.repeat(np.arange(400), 2)
    teams = np.array([["old", "new", None, "new", "old"]] * len(users), dtype=object)
    clicked = generator.random(teams.shape) < np.where(teams == "new", 0.4, 0.2)
    shown = shown_to(users, [None] * len(users), clicked, teams=teams.ravel())
    report = reported(experiment(kind="interleaving"), shown)
    found = report.interleaving
    assert (found.users, found.answers, found.impressions) == (400, 800, 4000)
    credited = [int(clicked[teams == team].sum()) for team in ("old", "new")]
    assert list(found.clicks) == credited
    assert found.shared == clicked.sum() - sum(credited)
    assert found.preference.holds((0.4 - 0.2) / (0.4 + 0.2))
    assert found.verdict == "better"
    assert report.arms == report.comparisons == ()
    assert json.loads(json.dumps(report.plain(), allow_nan=False)) == report.plain()
    assert SHARED not in report.plain()["interleaving"]["clicks"]


def test_an_experiment_that_never_started_has_no_report():
    assert check_started(experiment()) == 1000
    with pytest.raises(ExperimentConflictError, match="'colours' was never started"):
        check_started(experiment(state="created", started=None))
