"""``/v1/experiments``: created, started, followed by the very next answer, stopped."""

from __future__ import annotations

from typing import Any

import pytest

from recserve.api.middleware.security import scope_needed
from recserve.api.schemas.experiments import (
    ExperimentAnswer,
    ExperimentReportAnswer,
    ExperimentsAnswer,
)

TRIAL: dict[str, Any] = {
    "name": "trial",
    "scenario": "home",
    "arms": [{"name": "control"}, {"name": "popular", "parameters": {"ranker": False, "budget": 5}}],
}


def test_an_experiment_from_its_creation_to_its_end(served: Any) -> None:
    made = served.post("/v1/experiments", TRIAL)
    assert made.status_code == 200, made.text
    ExperimentAnswer.model_validate(made.json())
    assert made.json()["status"]["state"] == "created"
    assert served.post("/v1/recommend", {"user_id": "u"}).json()["experiment"] is None

    assert served.post("/v1/experiments/trial/start", {}).json()["status"]["state"] == "running"
    answers = [served.post("/v1/recommend", {"user_id": f"u{n}"}).json() for n in range(20)]
    assert {answer["experiment"] for answer in answers} == {"trial"}
    assert {answer["arm"] for answer in answers} == {"control", "popular"}
    served.store.flush()
    for answer in answers:
        exposure = served.store.exposures(answer["recommendation_id"])
        assert (exposure.experiment, exposure.arm) == ("trial", answer["arm"])

    ranked = served.post("/v1/rank", {"session_id": "s", "items": ["1", "2"]}).json()
    assert ranked["experiment"] == "trial"
    listed = served.get("/v1/experiments").json()
    ExperimentsAnswer.model_validate(listed)
    assert [one["name"] for one in listed["experiments"]] == ["trial"]

    stopped = served.post("/v1/experiments/trial/stop", {"reason": "enough"}).json()
    assert stopped["status"]["state"] == "stopped"
    assert served.get("/v1/experiments/trial").json() == stopped
    assert served.post("/v1/recommend", {"user_id": "u1"}).json()["experiment"] is None
    actions = [(entry.actor, entry.action) for entry in served.store.audit(3)]
    assert actions == [("anonymous", f"experiment.{what}") for what in ("stop", "start", "create")]


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "said"),
    [
        ("", {**TRIAL, "scenario": "hom"}, 422, "invalid_request", "unknown scenario 'hom'"),
        ("", {**TRIAL, "arms": [{"name": "a"}]}, 422, "invalid_request", "at least 2"),
        (
            "",
            {**TRIAL, "arms": [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.4}]},
            422,
            "invalid_request",
            "add up to 0.9",
        ),
        ("", TRIAL, 409, "experiment_conflict", "'trial' already"),
        ("/gone/start", {}, 404, "not_found", "no experiment 'gone'"),
        ("/trial/stop", {"arm": "c"}, 404, "not_found", "no arm 'c'"),
        ("/trial/start", {"share": 0}, 422, "invalid_request", "share"),
        ("/second/start", {}, 409, "experiment_conflict", "layer 'home' has 0 left beside trial"),
        ("/elsewhere/start", {}, 409, "experiment_conflict", "in layer 'home'"),
    ],
)
def test_mistakes_get_one_line_and_a_stable_code(
    running: Any, path: str, body: dict[str, Any], status: int, code: str, said: str
) -> None:
    answer = running.post(f"/v1/experiments{path}", body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code
    assert said in error["message"]
    assert "\n" not in error["message"]


@pytest.fixture
def running(served: Any) -> Any:
    """A server with an experiment that runs, and two that cannot run beside it."""
    for name, fields in (("trial", {}), ("second", {}), ("elsewhere", {"layer": "elsewhere"})):
        assert served.post("/v1/experiments", {**TRIAL, "name": name, **fields}).status_code == 200
    assert served.post("/v1/experiments/trial/start", {}).status_code == 200
    return served


def test_only_administrators_change_experiments() -> None:
    for path in ("/v1/experiments", "/v1/experiments/trial/start", "/v1/experiments/trial/stop"):
        assert scope_needed("POST", path) == "admin"
    assert scope_needed("GET", "/v1/experiments") == "read"
    assert scope_needed("GET", "/v1/experiments/trial") == "read"


def test_a_report_counts_what_was_shown_and_clicked(running: Any) -> None:
    answers = [running.post("/v1/recommend", {"user_id": f"u{n}"}).json() for n in range(20)]
    clicked = [answer for answer in answers if answer["arm"] == "popular"][:2]
    for answer in clicked:
        event = {
            "user_id": f"u{answers.index(answer)}",
            "item_id": answer["items"][0]["item_id"],
            "event": "click",
            "recommendation_id": answer["recommendation_id"],
        }
        assert running.post("/v1/events", event).status_code == 200
    running.store.flush()
    report = running.get("/v1/experiments/trial/report").json()
    ExperimentReportAnswer.model_validate(report)
    assert [arm["name"] for arm in report["arms"]] == ["control", "popular"]
    for arm in report["arms"]:
        own = [answer for answer in answers if answer["arm"] == arm["name"]]
        assert (arm["users"], arm["answers"]) == (len(own), len(own))
        assert arm["impressions"] == sum(len(answer["items"]) for answer in own)
        clicks = len(clicked) if arm["name"] == "popular" else 0
        assert arm["metrics"]["click_through_rate"]["value"] == pytest.approx(clicks / arm["impressions"])
    assert not report["sample_ratio"]["mismatch"]
    assert {compared["verdict"] for compared in report["comparisons"]} == {"undecided"}


def test_what_has_no_report_is_said(running: Any) -> None:
    never = running.get("/v1/experiments/second/report")
    assert (never.status_code, never.json()["error"]["code"]) == (409, "experiment_conflict")
    assert running.get("/v1/experiments/gone/report").status_code == 404
