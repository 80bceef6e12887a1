"""Answers by arms: who gets what, kept apart in caches, shadows, interleaved pages, guardrails."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recserve.api import LocalBackend
from recserve.errors import NotFoundError, StageError
from recserve.experiments.assignment import AssignedArm
from recserve.experiments.lifecycle import Experiment
from recserve.serving.requests.request import Recommendation, Request
from recserve.serving.state.result_cache import ResultCache
from recserve.store import Store, open_store
from recserve.telemetry.instruments import ARM_ANSWERS, UNASSIGNED
from tests.support.experiments import defined
from tests.support.pipelines import Lab, ids, view

USERS = [f"u{number}" for number in range(40)]
ARMS: Sequence[Mapping[str, Any]] = ({"name": "control"}, {"name": "plain", "scenario": "plain"})


class Desk:
    """A backend over real stages, in one event loop."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.lab = Lab(store, cache=ResultCache(1_000, 60.0))
        self.backend = LocalBackend(self.lab.pipeline, store)
        self.loop = asyncio.new_event_loop()

    def play(self, work: Any) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, 30))

    def begin(self, name: str = "trial", **fields: Any) -> None:
        """Create and start an experiment."""

        async def work() -> None:
            await self.backend.experiments.create(defined(name, **fields), "test")
            await self.backend.experiments.start(name, None, "test")

        self.play(work())

    def end(self, name: str = "trial", arm: str | None = None) -> None:
        self.play(self.backend.experiments.stop(name, "enough", arm, "test"))

    def ask(self, user_id: str | None = "u0", **fields: Any) -> Recommendation:
        answer: Recommendation = self.play(self.backend.recommend(Request(user_id=user_id, **fields)))
        return answer

    def stopped(self, arm: str, name: str = "trial") -> Experiment:
        """The experiment, once a guardrail has stopped an arm, and the audit log says so."""

        async def work() -> Experiment:
            while not any(entry.detail.get("arm") == arm for entry in self.store.audit(5)):
                await asyncio.sleep(0.02)
            return await self.backend.experiments.get(name)

        found: Experiment = self.play(work())
        return found

    def shadows(self) -> None:
        """Wait for all shadow answers."""
        self.play(self.backend.arms.shadows.drained())

    def counted(self, outcome: str) -> dict[str, float]:
        """Answers of arms that had an outcome."""
        series = self.backend.metrics.snapshot().series.get(ARM_ANSWERS.name, {})
        return {arm: values[0] for (_, arm, known), values in series.items() if known == outcome}

    def exposures(self) -> list[dict[str, Any]]:
        self.store.flush()
        found: list[dict[str, Any]] = self.store.old_exposures(2**60, 10_000).to_pylist()
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_store(None, tmp_path) as store:
        store.add_events([view(user, f"i{number % 12}") for number, user in enumerate(USERS)])
        made = Desk(store)
        yield made
        made.play(made.backend.arms.close())
        made.loop.close()


def expected(desk: Desk, user: str, arm: str | None, scenarios: Mapping[str | None, str]) -> list[str]:
    """What the scenario of an arm answers without any experiment."""
    return ids(desk.lab.one(user_id=user, scenario=scenarios[arm]))


def test_without_experiments_answers_are_as_they_were(desk: Desk) -> None:
    answer = desk.ask()
    assert (answer.experiment, answer.arm, answer.teams) == (None, None, ())
    (shown,) = desk.exposures()
    assert (shown["experiment"], shown["arm"], shown["shadow"]) == (None, None, False)


def test_each_user_gets_the_answer_of_an_arm_and_keeps_it(desk: Desk) -> None:
    desk.begin(arms=list(ARMS))
    scenarios = {"control": "home", "plain": "plain"}
    first = {user: desk.ask(user) for user in USERS}
    for user, answer in first.items():
        assert answer.experiment == "trial"
        assert answer.arm is not None
        assert answer.scenario == scenarios[answer.arm]
        assert answer.bundle == "b1"
        assert ids(answer) == expected(desk, user, answer.arm, {**scenarios, None: ""})
        again = desk.ask(user)
        assert (again.arm, again.items) == (answer.arm, answer.items)
    assert set(Counter(answer.arm for answer in first.values())) == {"control", "plain"}
    shown = {row["recommendation_id"]: row for row in desk.exposures()}
    for answer in first.values():
        row = shown[answer.recommendation_id]
        assert (row["experiment"], row["arm"], row["shadow"]) == ("trial", answer.arm, False)
    assert sum(desk.counted("shown").values()) == 2 * len(USERS)


def test_a_cached_answer_of_before_is_not_the_arms(desk: Desk) -> None:
    """Nor that of an arm who is asked after it ended."""
    before = {user: desk.ask(user) for user in USERS}
    desk.begin(arms=list(ARMS))
    during = {user: desk.ask(user) for user in USERS}
    plain = [user for user, answer in during.items() if answer.arm == "plain"]
    assert plain
    assert all(ids(during[user]) != ids(before[user]) for user in plain)
    desk.end()
    after = {user: desk.ask(user) for user in USERS}
    assert {user: ids(answer) for user, answer in after.items()} == {
        user: ids(answer) for user, answer in before.items()
    }
    assert all(answer.arm is None for answer in after.values())


def test_parameters_reach_every_stage(desk: Desk) -> None:
    parameters = {"retrievers": {"near": {"weight": 0}}, "budget": 4, "ranker": False, "seen": "allow"}
    desk.begin(arms=[{"name": "control"}, {"name": "changed", "parameters": parameters}])
    answers = {user: desk.ask(user, n=4) for user in USERS}
    changed = [answer for answer in answers.values() if answer.arm == "changed"]
    assert changed
    for answer in changed:
        # By popularity alone, what was seen included.
        assert ids(answer) == ["i0", "i1", "i2", "i3"]
        assert all(item.sources == ("popular",) for item in answer.items)
        assert answer.degraded == ()
    control = [user for user, answer in answers.items() if answer.arm == "control"]
    assert all(ids(answers[user]) == ids(desk.lab.one(user_id=user, n=4)) for user in control)


def test_requests_of_arms_in_one_batch_are_answered_by_their_own(desk: Desk) -> None:
    parameters = {"ranker": False}
    desk.begin(arms=[{"name": "control"}, {"name": "changed", "parameters": parameters}])
    arms = {user: desk.ask(user).arm for user in USERS}
    requests = []
    for user in USERS:
        assignment = desk.backend.arms.follower.assignments.assign("home", user, None)
        assert assignment is not None
        assert assignment.arm is not None
        requests.append(Request(user_id=user, n=7).served_by(assignment.arm))
    answers = desk.play(desk.lab.pipeline.recommend(requests))
    plain = {user: ids(desk.lab.one(user_id=user, n=7, scenario="plain")) for user in USERS}
    home = {user: ids(desk.lab.one(user_id=user, n=7)) for user in USERS}
    for user, answer in zip(USERS, answers, strict=True):
        assert answer.arm == arms[user]
        assert ids(answer) == (plain if answer.arm == "changed" else home)[user]


def test_what_a_request_says_comes_before_the_arm() -> None:
    definition = defined(
        arms=[
            {"name": "control"},
            {
                "name": "changed",
                "parameters": {"seen": "decay", "rules": {"mmr": {"weight": 1}, "caps": False}},
            },
        ]
    )
    arm = AssignedArm("trial", "changed", 5, definition.arms[1])
    asked = Request(user_id="u", rules={"mmr": False}).served_by(arm)
    assert (asked.seen, asked.rules) == ("decay", {"mmr": False, "caps": False})
    assert Request(user_id="u", seen="allow").served_by(arm).seen == "allow"
    assert asked.identity != replace(asked, arm=None).identity


def test_a_session_has_an_arm_and_who_names_neither_is_counted(desk: Desk) -> None:
    desk.begin(arms=list(ARMS))
    arms = {desk.ask(None, session_id="s1").arm for _ in range(5)}
    assert len(arms) == 1
    assert arms != {None}
    assert {desk.ask(None, session_id=user).arm for user in USERS} == {"control", "plain"}
    assert desk.ask(None).arm is None
    series = desk.backend.metrics.snapshot().series[UNASSIGNED.name]
    assert series == {("home",): [1.0]}


def test_those_held_out_are_marked(desk: Desk) -> None:
    desk.begin(arms=list(ARMS), share=0.5, holdout=0.5)
    answers = {user: desk.ask(user) for user in USERS}
    held = {user: answer for user, answer in answers.items() if answer.arm == "holdout"}
    assert held
    for user, answer in held.items():
        assert answer.experiment is None
        assert ids(answer) == ids(desk.lab.one(user_id=user))


def test_other_scenarios_are_left_alone(desk: Desk) -> None:
    desk.begin(arms=list(ARMS))
    assert desk.ask("u0", scenario="plain").experiment is None


def test_a_wrong_request_is_refused_as_ever(desk: Desk) -> None:
    desk.begin(arms=list(ARMS))
    with pytest.raises(NotFoundError):
        desk.ask("u0", item_id="gone")


def test_shadow_answers_are_logged_and_shown_to_nobody(desk: Desk) -> None:
    desk.begin(arms=[{"name": "control"}, {"name": "dark", "scenario": "plain", "shadow": True}])
    answers = {user: desk.ask(user) for user in USERS[:10]}
    desk.shadows()
    assert {answer.arm for answer in answers.values()} == {"control"}
    rows = desk.exposures()
    dark = {row["user_id"]: row for row in rows if row["shadow"]}
    assert set(dark) == set(USERS[:10])
    assert {(row["experiment"], row["arm"], row["scenario"]) for row in dark.values()} == {
        ("trial", "dark", "plain")
    }
    assert len(rows) == 20
    assert desk.counted("shadow") == {"dark": 10.0}
    assert desk.counted("shown") == {"control": 10.0}


def test_a_failing_shadow_is_counted_and_does_no_harm(desk: Desk) -> None:
    desk.begin(arms=[{"name": "control"}, {"name": "dark", "parameters": {"budget": 5}, "shadow": True}])
    answer = desk.lab.pipeline.recall

    async def recall(requests: Sequence[Request]) -> Any:
        if requests[0].told is not None:
            raise StageError("the shadow falls")
        return await answer(requests)

    desk.lab.pipeline.recall = recall  # type: ignore[method-assign]
    assert desk.ask().arm == "control"
    desk.shadows()
    assert desk.counted("failed") == {"dark": 1.0}


def test_shadows_wait_for_a_quiet_moment_and_are_dropped_when_too_many_wait(desk: Desk) -> None:
    desk.begin(arms=[{"name": "control"}, {"name": "dark", "scenario": "plain", "shadow": True}])
    type(desk.backend).busy = property(lambda backend: busy)  # type: ignore[assignment]
    busy = True
    try:
        for number in range(80):
            desk.ask(f"v{number}")
        assert not any(row["shadow"] for row in desk.exposures())
        dropped = desk.counted("dropped")["dark"]
        assert 0 < dropped < 80
        busy = False
        desk.shadows()
    finally:
        del type(desk.backend).busy
    assert sum(row["shadow"] for row in desk.exposures()) == 80 - dropped


def test_an_interleaved_page_has_items_of_both_arms_and_says_whose(desk: Desk) -> None:
    desk.begin(kind="interleaving", arms=list(ARMS))
    home, plain = desk.lab.one(user_id="u3"), desk.lab.one(user_id="u3", scenario="plain")
    answer = desk.ask("u3")
    assert (answer.experiment, answer.arm) == ("trial", None)
    assert len(ids(answer)) == len(set(ids(answer))) == 10
    assert [item.rank for item in answer.items] == list(range(1, 11))
    sizes = Counter(answer.teams)
    assert min(sizes["control"], sizes["plain"]) > 0
    assert abs(sizes["control"] - sizes["plain"]) <= 1
    places = {"control": ids(home), "plain": ids(plain)}
    for item, team in zip(answer.items, answer.teams, strict=True):
        assert team is None or item.item_id in places[team]
    # Nothing was shown but the page.
    (row,) = desk.exposures()
    assert (row["experiment"], row["arm"]) == ("trial", None)
    stored = desk.store.exposures(answer.recommendation_id)
    assert stored is not None
    assert [(item.item_id, item.arm) for item in stored.items] == list(  # type: ignore[attr-defined]
        zip(ids(answer), answer.teams, strict=True)
    )
    assert ids(desk.ask("u3")) == ids(answer)


def test_further_pages_of_an_interleaving_repeat_nothing(desk: Desk) -> None:
    desk.begin(kind="interleaving", arms=list(ARMS))
    first = desk.ask("u3", n=4)
    second = desk.ask("u3", n=4, exclude=tuple(ids(first)), offset=4)
    assert not set(ids(first)) & set(ids(second))
    assert [item.rank for item in second.items] == [5, 6, 7, 8]


def test_an_arm_that_loses_a_part_is_stopped_by_itself(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Within its bound of answers, in the store as well, with figures in log and audit."""
    desk.begin(
        arms=[{"name": "control", "scenario": "plain"}, {"name": "ranked"}], guardrails={"answers": 40}
    )
    desk.lab.client.broken = {"ranking"}
    answers = [desk.ask(f"v{number}") for number in range(120)]
    experiment = desk.stopped("ranked")
    ranked = [answer for answer in answers if answer.arm == "ranked"]
    assert 0 < len(ranked) <= 40
    assert all(answer.arm in (None, "control") for answer in answers[-20:])
    assert experiment.status.state == "stopped"
    assert "degraded" in experiment.status.stopped_arms["ranked"]
    entry = desk.store.audit(1)[0]
    assert (entry.actor, entry.action, entry.target) == ("guardrail", "experiment.stop", "trial")
    assert "of its last" in entry.detail["reason"]
    assert "guardrail: arm ranked of experiment trial is stopped: degraded" in caplog.text


def test_a_disliked_arm_is_stopped_by_itself(desk: Desk) -> None:
    desk.begin(arms=list(ARMS), guardrails={"answers": 40})
    disliked = 0
    for number in range(160):
        answer = desk.ask(f"v{number}")
        if answer.arm == "plain":
            disliked += 1
            event = replace(view(f"v{number}", ids(answer)[0]), event="dislike")
            event = replace(event, recommendation_id=answer.recommendation_id)
            desk.play(desk.backend.add_events([event]))
    assert 0 < disliked <= 40
    assert "dislikes" in desk.stopped("plain").status.stopped_arms["plain"]


def test_dislikes_of_another_process_count_as_well(desk: Desk) -> None:
    """Requests and events of a user need not meet the same replica."""
    desk.begin(arms=list(ARMS), guardrails={"answers": 40})
    other = Desk(desk.store)
    other.play(other.backend.arms.follower.look())
    for number in range(200):
        here, there = (desk, other) if number % 2 else (other, desk)
        answer = here.ask(f"v{number}")
        desk.store.flush()
        if answer.arm == "plain":
            event = replace(view(f"v{number}", ids(answer)[0]), event="dislike")
            event = replace(event, recommendation_id=answer.recommendation_id)
            there.play(there.backend.add_events([event]))
            there.play(asyncio.sleep(0.01))
    experiment = desk.stopped("plain")
    other.play(other.backend.arms.close())
    other.loop.close()
    assert "dislikes" in experiment.status.stopped_arms["plain"]
