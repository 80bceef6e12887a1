"""What is evaluated of a fitted configuration."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from recserve import Catalogue
from recserve.config import parse_config
from recserve.plugin.registry import Registry
from recserve.training.fitting import Fitted


def test_a_reranker_that_asks_a_service_outside_is_not_evaluated(caplog: pytest.LogCaptureFixture) -> None:
    scenario = {"retrievers": [{"use": "popular"}], "rerankers": [{"use": "renew"}, {"use": "discount"}]}
    config = parse_config({"encoder": None, "scenarios": {"home": scenario}}, "test")
    resolved = Registry.discover().resolve(config)
    pipeline = resolved.scenarios["home"]
    first, second = pipeline.rerankers
    outside = replace(first, component=replace(first.component, name="outside", external=True))
    pipeline = replace(pipeline, rerankers=(outside, second))
    resolved = replace(resolved, scenarios={"home": pipeline})
    objects = {component.key: object() for component in pipeline.components()}
    fitted = Fitted(resolved, Catalogue(), objects)
    assert [name for name, _ in fitted.scenario("home").rerankers] == ["discount"]
    with caplog.at_level(logging.WARNING):
        fitted.recommender("home")
    assert "evaluated without outside: it asks a service outside" in caplog.text
