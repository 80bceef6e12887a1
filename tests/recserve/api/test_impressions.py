"""Serving by what users were shown: discount, frequency cap, and neither for whom nothing is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from recserve import Catalogue
from recserve.config import ComponentConfig, FrequencyCapConfig
from recserve.plugin.protocols import Stage
from recserve.plugin.registry import Registry
from tests.recserve.api.conftest import Served, build

Ask = Callable[..., list[str]]


def asking(served: Served) -> Ask:
    """Asks for recommendations, and waits until what they showed is counted."""

    def ask(url: str = "/v1/recommend", **body: Any) -> list[str]:
        answer = served.post(url, body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["degraded"] == []
        served.store.flush()
        return [item["item_id"] for item in answer.json()["items"]]

    return ask


@pytest.fixture
def discounted(tmp_path: Path) -> Iterator[Served]:
    chosen = Registry.discover(only=["rules"]).choose(
        Stage.RERANKER, ComponentConfig(use="discount"), "rerankers[0]"
    )
    made = build(tmp_path, rerankers=[("discount", chosen.build(Catalogue()))])
    with made.store:
        yield made


@pytest.fixture
def capped(tmp_path: Path) -> Iterator[Served]:
    made = build(tmp_path, cap=FrequencyCapConfig(impressions=2, window_hours=1))
    with made.store:
        yield made


def test_what_is_shown_again_and_again_and_never_clicked_sinks(discounted: Served) -> None:
    ask = asking(discounted)
    usual = ask(n=25)
    for _ in range(10):
        assert ask("/v1/rank", user_id="ada", items=["1"]) == ["1"]
    after = ask(user_id="ada", n=25)
    assert usual.index("1") == 0
    assert after.index("1") > 8
    assert [item for item in after if item != "1"] == usual[1:]
    # Nobody else knows of it.
    assert ask(user_id="grace", n=25) == usual
    assert ask(n=25) == usual


def test_a_click_resets_the_discount(discounted: Served) -> None:
    ask = asking(discounted)
    for _ in range(10):
        ask("/v1/rank", user_id="ada", items=["1"])
    event = {"item_id": "1", "event": "view"}
    discounted.post("/v1/events", {"events": [{"user_id": "ada", **event}, {"user_id": "bo", **event}]})
    as_if_never_shown = ask(user_id="bo", seen="allow", n=25)
    assert ask(user_id="ada", seen="allow", n=25) == as_if_never_shown
    assert as_if_never_shown[0] == "1"


def test_a_cap_removes_an_item_and_the_page_stays_full(capped: Served) -> None:
    ask = asking(capped)
    assert ask(user_id="ada", n=2) == ["1", "2"]
    assert ask(user_id="ada", n=3) == ["1", "2", "6"], "equal questions are not answered from a cache either"
    assert ask(user_id="ada", n=3) == ["6", "32", "47"]
    assert ask(user_id="ada", n=3) == ["32", "47", "50"]
    assert ask(user_id="ada", n=3) == ["50", "110", "150"]
    assert ask(user_id="grace", n=2) == ["1", "2"]
    for _ in range(4):
        assert ask(n=2) == ["1", "2"], "nobody is known by a session without an id"
    # Who brings items along has chosen them, however often they were shown.
    assert ask("/v1/rank", user_id="ada", items=["1", "2"]) == ["1", "2"]


def test_a_capped_item_is_refused_wherever_it_would_come_from(capped: Served) -> None:
    ask = asking(capped)
    for _ in range(2):
        ask(user_id="ada", n=25)
    capped.client.broken = {"retrieval"}
    answer = capped.post("/v1/recommend", {"user_id": "ada", "n": 3}).json()
    assert answer["items"] == [], "the fallback obeys as well"


def test_impressions_of_a_session_count_after_login_and_go_with_the_person(capped: Served) -> None:
    ask = asking(capped)
    for _ in range(2):
        ask(user_id="session", n=2)
    assert capped.post("/v1/users/ada/merge", {"from": "session"}).status_code == 200
    assert ask(user_id="ada", n=2) == ["6", "32"]
    deleted = capped.call("DELETE", "/v1/users/ada").json()["deleted"]
    assert deleted["impressions"] == 4
    assert ask(user_id="ada", n=2) == ["1", "2"]


def test_nothing_is_counted_where_nothing_reads_it(served: Served) -> None:
    asking(served)(user_id="ada", n=3)
    assert served.store.people(["ada"], 10).impressions == {}
