"""Followers of a store's experiments, and administration that they follow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from recserve.config import PipelineConfig, RetrieverConfig
from recserve.errors import ExperimentConflictError, InvalidRequestError, NotFoundError, StoreError
from recserve.experiments.administration import ExperimentAdmin
from recserve.experiments.follower import ExperimentFollower
from recserve.store import ExperimentRecord, Pulse, Store, open_store
from tests.support.experiments import defined

HOME = PipelineConfig(retrievers=(RetrieverConfig(use="popular"),))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(None, tmp_path) as opened:
        yield opened


@pytest.fixture
def admin(store: Store) -> ExperimentAdmin:
    return ExperimentAdmin(store, "cli:grace")


def create(admin: ExperimentAdmin, name: str = "trial", **fields: Any) -> None:
    def check_rules(scenario: str, rules: Mapping[str, Any]) -> None:
        return None

    admin.create(defined(name, **fields), {"home": HOME}, check_rules)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def test_every_change_is_followed_and_audited(store: Store, admin: ExperimentAdmin) -> None:
    follower = ExperimentFollower(store, {"home"})
    follower.start()
    try:
        create(admin)
        assert admin.start("trial", 0.5).status.share == 0.5
        until(lambda: "trial" in follower.assignments.running)
        assert admin.start("trial", 0.7).running
        until(lambda: follower.assignments.running["trial"].status.share == 0.7)
        admin.stop("trial", "enough")
        until(lambda: not follower.assignments.running)
    finally:
        follower.close()
    entries = [(entry.actor, entry.action, entry.target, dict(entry.detail)) for entry in store.audit(9)]
    assert entries == [
        ("cli:grace", "experiment.stop", "trial", {"reason": "enough", "state": "stopped"}),
        ("cli:grace", "experiment.start", "trial", {"share": 0.7}),
        ("cli:grace", "experiment.start", "trial", {"share": 0.5}),
        ("cli:grace", "experiment.create", "trial", {"scenario": "home"}),
    ]


def test_what_is_wrong_is_refused_and_changes_nothing(store: Store, admin: ExperimentAdmin) -> None:
    create(admin)
    with pytest.raises(ExperimentConflictError, match="'trial' already"):
        create(admin)
    with pytest.raises(InvalidRequestError, match="unknown scenario"):
        create(admin, "other", scenario="hom")
    with pytest.raises(NotFoundError, match="no experiment 'gone'"):
        admin.start("gone")
    with pytest.raises(NotFoundError, match="no experiment 'gone'"):
        admin.experiment("gone")
    with pytest.raises(ExperimentConflictError, match="does not run"):
        admin.stop("trial", "", "fewer")
    assert [experiment.definition.name for experiment in admin.experiments()] == ["trial"]
    assert len(store.audit(9)) == 1


def test_an_arm_that_was_barred_here_is_not_served_whatever_the_store_says(
    store: Store, admin: ExperimentAdmin
) -> None:
    create(admin, arms=[{"name": "a"}, {"name": "b"}, {"name": "c"}])
    admin.start("trial")
    follower = ExperimentFollower(store, {"home"})
    follower.refresh()
    users = {
        assignment.arm.name: (user, assignment.arm)
        for user in map(str, range(99))
        if (assignment := follower.assignments.assign("home", user, None)) is not None
        and assignment.arm is not None
    }
    user, arm = users["b"]
    follower.bar(arm)
    assert follower.assignments.assign("home", user, None) is None
    assert follower.assignments.assign("home", users["c"][0], None) is not None
    create(admin, "another")  # whatever is read anew
    follower.refresh()
    assert follower.assignments.assign("home", user, None) is None
    assert admin.experiment("trial").status.stopped_arms == {}


class Flaky:
    """A store that can be away."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.away = False

    def pulse(self) -> Pulse:
        if self.away:
            raise StoreError("away")
        return self._store.pulse()

    def experiments(self) -> list[ExperimentRecord]:
        return self._store.experiments()


def test_without_the_store_experiments_go_on(
    store: Store, admin: ExperimentAdmin, caplog: pytest.LogCaptureFixture
) -> None:
    create(admin)
    admin.start("trial")
    source = Flaky(store)
    follower = ExperimentFollower(source, {"home"})
    follower.refresh()
    source.away = True
    for _ in range(3):
        follower.refresh()
    assert follower.assignments.running
    assert caplog.text.count("cannot be read") == 1
    admin.stop("trial", "enough")
    source.away = False
    follower.refresh()
    assert not follower.assignments.running


def test_what_cannot_be_read_is_left_out(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.add_experiment(ExperimentRecord("newer", 5, {"name": "newer", "kind": "bandit"}))
    follower = ExperimentFollower(store, {"home"})
    follower.refresh()
    assert not follower.assignments.running
    assert "newer" in caplog.text


def test_bundles_that_come_later_count(store: Store, admin: ExperimentAdmin) -> None:
    store.record_bundle("b1", 5, {})
    create(admin, arms=[{"name": "a"}, {"name": "b", "bundle": "b1"}])
    admin.start("trial")
    bundles: set[str] = set()
    follower = ExperimentFollower(store, {"home"}, lambda: bundles)
    follower.refresh()
    assert not follower.assignments.running
    bundles.add("b1")
    follower.refresh()
    assert follower.assignments.running
