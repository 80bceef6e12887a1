"""Rules of a single request: parameters of rerankers, rerankers left out or added."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recserve import Candidates, Catalogue, Component, InvalidRequestError, Item, NoParams, Queries
from recserve.config import ComponentConfig
from recserve.data.batches import Histories
from recserve.plugin.protocols import Stage
from recserve.plugin.registry import Registry
from recserve.plugin.resolved import Resolved
from recserve.serving.scenario import RequestRules
from recserve.serving.stages.ranking import rerank

ITEMS = [Item(f"i{n}", {"title": f"T{n}", "brand": "ab"[n % 2], "year": 2000 + n}) for n in range(10)]


@pytest.fixture(scope="module")
def rules() -> RequestRules:
    registry = Registry.discover(only=["rules"])
    caps = ComponentConfig(use="caps", params={"rules": [{"attribute": "brand", "limit": 2}]})
    standing = registry.choose(Stage.RERANKER, caps, "rerankers[0]")

    def build(one: Resolved, catalogue: Catalogue) -> Any:
        return one.build(catalogue)

    return RequestRules([standing], registry.request_rerankers(), build, Catalogue.of(ITEMS))


def page(rules: RequestRules, given: dict[str, Any], n: int = 4) -> list[int]:
    items = np.arange(10, dtype=np.int32)[None]
    scores = -np.arange(10, dtype=np.float32)[None]
    ranked = Candidates(items, scores, ("mf",), scores[:, :, None], np.full_like(items, -1))
    queries = Queries.of(Histories.empty(1), np.array([0], dtype=np.int64))
    for _, reranker in rules.rerankers(given):
        ranked, _ = rerank(reranker, queries, ranked, n)
    return [int(row) for row in ranked.items[0, :n] if row >= 0]


def test_a_request_changes_leaves_out_and_adds_rules(rules: RequestRules) -> None:
    assert page(rules, {}) == [0, 1, 2, 3]
    assert page(rules, {"caps": {"rules": [{"attribute": "brand", "limit": 1}]}})[:2] == [0, 1]
    assert page(rules, {"caps": False}) == [0, 1, 2, 3]
    boosted = page(rules, {"boost": {"rules": [{"when": "year >= 2008", "multiply": 100.0}]}, "caps": False})
    assert set(boosted[:2]) == {8, 9}


def test_equal_rules_are_built_once(rules: RequestRules) -> None:
    assert rules.rerankers({"caps": True}) is rules.rerankers({"caps": True})


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"cap": {}}, "rules.cap", "did you mean 'caps'"),
        ({"caps": {"cap": []}}, "rules.caps", "unknown key 'cap'"),
        ({"caps": 3}, "rules.caps", "must be an object"),
        ({"caps": {"rules": [{"attribute": "brnd", "limit": 1}]}}, "rules.caps", "brnd"),
    ],
)
def test_wrong_rules_name_the_mistake(rules: RequestRules, given: Any, field: str, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words) as caught:
        rules.rerankers(given)
    assert caught.value.field == field


def test_a_rule_that_reads_impressions_needs_them_counted(rules: RequestRules) -> None:
    with pytest.raises(InvalidRequestError, match="reads impressions, and none are counted here") as caught:
        rules.rerankers({"discount": {}})
    assert caught.value.field == "rules.discount"
    assert rules.read_impressions({"discount": {}, "caps": False})
    assert not rules.read_impressions({"caps": False, "unknown": {}})


def test_a_request_neither_adds_nor_changes_what_asks_a_service_outside() -> None:
    def factory(params: Any, catalogue: Catalogue) -> str:
        return "asks outside"

    component = Component("outside", factory, stateless=True, external=True)
    resolved = Resolved(Stage.RERANKER, component, NoParams(), "plugin", "rerankers[0]")
    catalogue = Catalogue.of(ITEMS)
    rules = RequestRules([resolved], {}, lambda one, items: one.build(items), catalogue)
    assert rules.rerankers({}) == (("outside", "asks outside"),)
    assert rules.rerankers({"outside": False}) == ()
    with pytest.raises(InvalidRequestError, match="asks a service outside, its parameters are fixed"):
        rules.rerankers({"outside": {}})
    # Nor is one that a scenario does not have among those that requests may name.
    with pytest.raises(InvalidRequestError, match="unknown reranker 'outside'"):
        RequestRules([], _known(component), lambda one, items: one.build(items), catalogue).rerankers(
            {"outside": True}
        )


def _known(component: Component) -> dict[str, Resolved]:
    registry = Registry.discover(only=["rules"])
    registry._components[Stage.RERANKER, component.name] = (component, registry.plugins[0])
    return registry.request_rerankers()
