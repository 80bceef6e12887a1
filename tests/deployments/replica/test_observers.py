"""Observer hooks of plugins: called in order, off the request's path, failures contained."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from recserve_deployments.replica.observers import Observers, observing_plugins

from recserve import Event, hookimpl
from recserve.plugin.registry import Registry
from recserve.serving.requests.request import Recommendation, RecommendedItem

ANSWER = Recommendation(
    "id-1", "home", (RecommendedItem("i1", 1.0, 1, ("mf",), None, {"title": "T"}),), "b", (), {"total": 1.0}
)
EVENT = Event("u", "i1", "view", 1)


class Watching:
    """A plugin that observes."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.gate = threading.Event()
        self.gate.set()

    @hookimpl
    def after_recommend(self, answers: Sequence[Mapping[str, Any]]) -> None:
        self.gate.wait(20)
        self.seen.append(("answers", [dict(answer) for answer in answers]))

    @hookimpl
    def on_events(self, events: Sequence[Event]) -> None:
        self.seen.append(("events", list(events)))
        raise RuntimeError("an observer's bug")


@pytest.fixture
def registry() -> Registry:
    return Registry.discover(only=["popular"])


def test_plugins_without_observers_cost_nothing(registry: Registry) -> None:
    assert observing_plugins(registry) == frozenset()
    observers = Observers(registry)
    observers.recommended([ANSWER])
    observers.stored([EVENT])
    observers.close()


def test_observers_see_what_happened_and_their_failures_go_no_further(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    plugin = Watching()
    registry.manager.register(plugin, name="watching")
    assert observing_plugins(registry) == {"watching"}
    observers = Observers(registry)
    with caplog.at_level(logging.ERROR):
        observers.stored([EVENT])
        observers.recommended([ANSWER])
        observers.recommended([])
        observers.close()
    assert [kind for kind, _ in plugin.seen] == ["events", "answers"]
    (answer,) = plugin.seen[1][1]
    assert answer["recommendation_id"] == "id-1"
    assert answer["items"][0]["item_id"] == "i1"
    assert "an observer failed" in caplog.text


def test_slow_observers_lose_observations_instead_of_holding_them(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    plugin = Watching()
    plugin.gate.clear()
    registry.manager.register(plugin, name="watching")
    observers = Observers(registry)
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            observers.recommended([ANSWER])
    assert "do not keep up" in caplog.text
    plugin.gate.set()
    observers.close()
    assert 0 < len(plugin.seen) < 1000
