"""Experiments as evidence: a difference that holds at every look, arms that were stopped, lost users."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from recserve import Event
from recserve.config import Config
from recserve.data.entities import now_ms
from recserve.experiments.definition import parse_definition
from recserve.experiments.lifecycle import Status
from recserve.store import ExperimentRecord, ExposedItem, Exposure, Store, open_store
from recserve.training.promotion.experiments import experiment_findings
from recserve.training.promotion.gate import Finding, GateError, pass_gate

STARTED = now_ms() - 3_600_000
CONFIG = Config()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(None, tmp_path) as opened:
        yield opened


def begin(
    store: Store, name: str = "try", control: str | None = None, stopped_arms: dict[str, str] | None = None
) -> None:
    arms = [{"name": "control", "bundle": control}, {"name": "new", "bundle": "candidate"}]
    definition = parse_definition({"name": name, "scenario": "home", "arms": arms})
    status = Status(state="running", share=1.0, started=STARTED, stopped_arms=stopped_arms or {})
    plain = definition.model_dump(mode="json", exclude_none=True)
    assert store.add_experiment(ExperimentRecord(name, STARTED, plain, status.plain()))


def serve(store: Store, arm: str, users: int, rate: float, experiment: str = "try") -> None:
    """Show each user of an arm a page of five items; some click on one."""
    rng = np.random.default_rng(len(arm))
    shown = tuple(ExposedItem(f"i{n}", 1.0) for n in range(5))
    exposures, events = [], []
    for user in range(users):
        name = f"{arm}-{user}"
        exposures.append(
            Exposure(name, name, "b", "home", STARTED + user, shown, experiment=experiment, arm=arm)
        )
        if rng.random() < rate:
            events.append(Event(name, "i3", "view", STARTED + user + 5, recommendation_id=name))
    store.add_exposures(exposures)
    store.add_events(events)
    store.flush()


def findings(store: Store) -> list[Finding]:
    return list(experiment_findings(store, CONFIG, "candidate", "current"))


def test_a_bundle_that_users_click_more_on_passes_whatever_was_replayed(store: Store) -> None:
    begin(store)
    serve(store, "control", 1_500, 0.2)
    serve(store, "new", 1_500, 0.5)
    (finding,) = findings(store)
    assert (finding.objection, finding.favours) == (None, True)
    assert finding.source == "experiment try"
    value, low, high = finding.figures["difference"]
    assert 0 < low < 0.06 < high
    assert finding.figures["users"] == [1_500, 1_500]
    assert (
        f"a difference of {value:+.4f} ({low:+.4f} to {high:+.4f} at every look), 3000 users"
        in finding.summary
    )
    pass_gate([Finding("offline", "worse", {}, "which is more than the margin"), finding])


def test_a_bundle_that_users_click_less_on_is_refused(store: Store) -> None:
    begin(store)
    serve(store, "control", 1_500, 0.5)
    serve(store, "new", 1_500, 0.2)
    with pytest.raises(GateError, match=r"refused: experiment try: 0\.0\d+ .* which is less"):
        pass_gate([Finding("offline", "better", {}, favours=True), *findings(store)])


def test_equal_arms_and_few_users_say_nothing(store: Store) -> None:
    begin(store)
    serve(store, "control", 20, 0.9)
    serve(store, "new", 20, 0.1)
    (finding,) = findings(store)
    assert (finding.objection, finding.favours) == (None, False)
    assert "a difference of nobody can tell yet, 40 users" in finding.summary
    assert finding.figures["difference"] is None


def test_a_stopped_arm_is_refused(store: Store) -> None:
    begin(store, stopped_arms={"new": "slow answers"})
    serve(store, "control", 300, 0.2)
    serve(store, "new", 300, 0.2)
    (finding,) = findings(store)
    assert finding.objection == "but the arm was stopped: slow answers"


def test_an_experiment_that_lost_users_cannot_be_relied_on(store: Store) -> None:
    begin(store)
    serve(store, "control", 1_500, 0.2)
    serve(store, "new", 900, 0.6)
    (finding,) = findings(store)
    assert (
        finding.objection == "but the arms did not get the users that were planned (control: 1500, new: 900)"
    )
    assert not finding.favours


def test_only_experiments_against_the_bundle_in_service_count(store: Store) -> None:
    begin(store, "against-another", control="third")
    begin(store, "against-this", control="current")
    assert [finding.source for finding in findings(store)] == ["experiment against-this"]
    assert "no clicks an impression against no of arm control" in findings(store)[0].summary
    assert not list(experiment_findings(store, CONFIG, "unknown", "current"))


def test_an_interleaved_page_says_which_bundle_is_preferred(store: Store) -> None:
    arms = [{"name": "control"}, {"name": "new", "bundle": "candidate"}]
    asked = {"name": "drafted", "scenario": "home", "kind": "interleaving", "arms": arms}
    plain = parse_definition(asked).model_dump(mode="json", exclude_none=True)
    status = Status(state="running", share=1.0, started=STARTED)
    assert store.add_experiment(ExperimentRecord("drafted", STARTED, plain, status.plain()))
    shown = (ExposedItem("i0", 1.0, arm="control"), ExposedItem("i1", 1.0, arm="new"))
    names = [f"u{n}" for n in range(400)]
    store.add_exposures(
        [Exposure(name, name, "b", "home", STARTED, shown, experiment="drafted") for name in names]
    )
    store.add_events(
        [
            Event(name, "i0" if place % 4 == 0 else "i1", "view", STARTED + 5, recommendation_id=name)
            for place, name in enumerate(names)
        ]
    )
    store.flush()
    (finding,) = findings(store)
    assert finding.favours
    assert finding.summary.startswith("experiment drafted: preference for arm new +0.5000 (+0.")
