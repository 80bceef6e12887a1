"""Routes of experiments."""

from __future__ import annotations

from recserve.api import openapi
from recserve.api.routes.experiments import ExperimentRoutes
from recserve.api.routes.tables.adder import Adder
from recserve.api.schemas import experiments


def add_experiments(add: Adder, routes: ExperimentRoutes) -> None:
    """Add experiments and their reports."""
    add(
        "GET",
        "/v1/experiments",
        routes.list_experiments,
        "List experiments",
        "All of them, oldest first.",
        openapi.responses(experiments.ExperimentsAnswer, "The experiments."),
    )
    add(
        "POST",
        "/v1/experiments",
        routes.create_experiment,
        "Create an experiment",
        "It does not run before it is started, and its definition never changes. Needs the scope `admin`, as "
        "starting and stopping do.",
        openapi.responses(experiments.ExperimentAnswer, "Created.", 409, body=True),
        experiments.ExperimentBody,
        Fewer_candidates={
            "name": "fewer-neighbours",
            "scenario": "home",
            "share": 0.2,
            "arms": [{"name": "control"}, {"name": "fewer", "parameters": {"budget": 100}}],
        },
        In_the_shadow={
            "name": "without-ranker",
            "scenario": "home",
            "share": 0.2,
            "arms": [
                {"name": "control"},
                {"name": "retrieval", "share": 0.1, "parameters": {"ranker": False}, "shadow": True},
            ],
        },
    )
    add(
        "GET",
        "/v1/experiments/{name}",
        routes.experiment,
        "One experiment",
        "Its definition, and what has become of it.",
        openapi.responses(experiments.ExperimentAnswer, "The experiment.", 404, 422),
    )
    add(
        "GET",
        "/v1/experiments/{name}/report",
        routes.report_experiment,
        "Report an experiment",
        "What each arm did, differences with intervals that hold at every look at once, so that it may be "
        "read and stopped on any day, and whether the arms got their shares of users.",
        openapi.responses(experiments.ExperimentReportAnswer, "The report.", 404, 409, 422),
    )
    add(
        "POST",
        "/v1/experiments/{name}/start",
        routes.start_experiment,
        "Start an experiment",
        "Every server of the store follows within about a second. One that runs can be started again with a "
        "larger share: who is in it stays in the same arm.",
        openapi.responses(experiments.ExperimentAnswer, "It runs.", 404, 409, body=True),
        experiments.StartBody,
        As_it_is_defined={},
        For_more={"share": 0.5},
    )
    add(
        "POST",
        "/v1/experiments/{name}/stop",
        routes.stop_experiment,
        "Stop an experiment",
        "For good, or one of its arms: whom that had are served as if there were no experiment.",
        openapi.responses(experiments.ExperimentAnswer, "Stopped.", 404, 409, body=True),
        experiments.StopBody,
        Decided={"reason": "fewer candidates lose nothing"},
        One_arm={"arm": "retrieval", "reason": "too slow"},
    )
