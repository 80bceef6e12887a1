"""A request is refused by names alone, with the name that was meant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from recserve.errors import InvalidRequestError, NotFoundError
from recserve.serving.requests.checking import check_request
from recserve.serving.requests.request import Request, SessionEvent
from recserve.serving.scenario import ScenarioContext
from recserve.store import open_store
from tests.support.pipelines import Lab


@pytest.fixture
def context(tmp_path: Path) -> Iterator[ScenarioContext]:
    with open_store(None, tmp_path) as store:
        yield Lab(store).pipeline.context


def test_a_request_without_a_scenario_asks_the_default_one(context: ScenarioContext) -> None:
    assert check_request(Request(), context) == "home"
    assert check_request(Request(scenario="home", filter={"odd": "not a bool"}), context) == "home"


@pytest.mark.parametrize(
    ("request_", "kind", "field", "hint"),
    [
        (Request(scenario="hom"), NotFoundError, "scenario", "did you mean 'home'?"),
        (Request(filter={"od": True}), InvalidRequestError, "filter.od", "did you mean 'odd'?"),
        (
            Request(session=(SessionEvent("a"), SessionEvent("b", "wave"))),
            InvalidRequestError,
            "session.event",
            "unknown event type 'wave' (known: view,",
        ),
    ],
)
def test_unknown_names_are_refused_with_those_that_are_known(
    context: ScenarioContext, request_: Request, kind: type[Exception], field: str, hint: str
) -> None:
    found = check_request(request_, context)
    assert isinstance(found, kind)
    assert isinstance(found, InvalidRequestError | NotFoundError)
    assert found.field == field
    assert hint in found.message
