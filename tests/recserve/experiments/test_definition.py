"""Definitions of experiments: what is refused, with a line that says why, and what an arm changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from recserve.config import ComponentConfig, ExploreConfig, PipelineConfig, RetrieverConfig
from recserve.errors import InvalidRequestError
from recserve.experiments.definition import Parameters, check_definition, parse_definition
from tests.support.experiments import TWO_ARMS, defined

HOME = PipelineConfig(
    retrievers=(RetrieverConfig(use="mf", weight=2.0), RetrieverConfig(use="popular")),
    ranker=ComponentConfig(use="bert_lstm"),
    explore=ExploreConfig(),
)
KNOWN = {
    "home": HOME.model_copy(update={"filters": (ComponentConfig(use="shop"),)}),
    "other": HOME.model_copy(update={"filters": (ComponentConfig(use="shop"),)}),
    "unfiltered": HOME,
}


def refused(**fields: Any) -> str:
    with pytest.raises(InvalidRequestError) as refusal:
        defined(**fields)
    assert "\n" not in refusal.value.message
    return refusal.value.message


def test_shares_are_equal_unless_they_are_given() -> None:
    even = defined(arms=[{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "s", "shadow": True}])
    assert [even.share_of(arm) for arm in even.arms] == [1 / 3, 1 / 3, 1 / 3, 1.0]
    uneven = defined(arms=[{"name": "a", "share": 0.9}, {"name": "b", "share": 0.1}])
    assert [uneven.share_of(arm) for arm in uneven.arms] == [0.9, 0.1]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"arms": [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.6}]}, "add up to 1.1, not to 1"),
        ({"arms": [{"name": "a", "share": 0.5}, {"name": "b"}]}, "give every arm a share, or none"),
        ({"arms": [{"name": "a"}, {"name": "a"}]}, "arm 'a' is listed twice"),
        ({"arms": [{"name": "a"}, {"name": "holdout"}]}, "arm 'holdout' is reserved"),
        ({"arms": [{"name": "a"}]}, "at least 2 items"),
        ({"arms": [{"name": "a", "shadow": True}, {"name": "b"}]}, "the first arm must be one that is shown"),
        ({"share": 0.9, "holdout": 0.2}, "more than all together"),
        ({"kind": "interleaving", "arms": [{"name": n} for n in "abc"]}, "exactly two arms"),
        ({"name": "no spaces"}, "name = 'no spaces'"),
        ({"shar": 0.5}, "did you mean 'share'?"),
        ({"share": "0.5"}, "share = '0.5'"),
        ({"arms": [{"name": "a"}, {"name": "b", "parameters": {"ranker": True}}]}, "ranker = True"),
    ],
)
def test_what_cannot_work_is_refused_with_one_line(fields: dict[str, Any], said: str) -> None:
    message = refused(**fields)
    assert message.startswith("experiment: ")
    assert said in message


def test_what_is_no_mapping_is_refused() -> None:
    with pytest.raises(InvalidRequestError):
        parse_definition(["home"])


def check(arms: list[dict[str, Any]], scenario: str = "home") -> None:
    def check_rules(name: str, rules: Mapping[str, Any]) -> None:
        if "unknown" in rules:
            raise InvalidRequestError("unknown reranker 'unknown'", field="rules.unknown")

    definition = defined(scenario=scenario, arms=[{"name": "control"}, *arms])
    check_definition(definition, KNOWN, check_rules, {"b1"})


def test_what_is_there_may_be_named() -> None:
    check([{"name": "a", "scenario": "other"}, {"name": "b", "bundle": "b1"}])
    check([{"name": "a", "parameters": {"retrievers": {"mf": {"weight": 0}}, "rules": {"known": {}}}}])


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        ({"scenario": "othr"}, "arms[1].scenario: unknown scenario 'othr'; did you mean 'other'?"),
        ({"scenario": "unfiltered"}, "lacks the filter 'shop'"),
        ({"bundle": "b2"}, "unknown bundle 'b2'"),
        ({"parameters": {"retrievers": {"fm": {"weight": 1}}}}, "unknown retriever of scenario 'home' 'fm'"),
        (
            {"parameters": {"retrievers": {name: {"weight": 0} for name in ("mf", "popular")}}},
            "every retriever has weight 0",
        ),
        ({"parameters": {"rules": {"unknown": {}}}}, "unknown reranker"),
    ],
)
def test_what_is_not_there_is_refused(arm: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        check([{"name": "arm", **arm}])
    assert said in refusal.value.message
    assert refusal.value.field is not None


def test_an_unknown_scenario_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="unknown scenario 'hom'; did you mean 'home'"):
        check(list(map(dict, TWO_ARMS[1:])), scenario="hom")


def test_parameters_change_what_they_name() -> None:
    changed = Parameters.model_validate(
        {
            "retrievers": {"popular": {"weight": 3.5, "candidates": 7}},
            "budget": 40,
            "ranker": False,
            "seen": "decay",
            "explore": False,
        }
    ).applied(HOME)
    assert changed.retrievers == (
        HOME.retrievers[0],
        RetrieverConfig(use="popular", weight=3.5, candidates=7),
    )
    assert (changed.budget, changed.ranker, changed.seen, changed.explore) == (40, None, "decay", None)
    assert changed.language == HOME.language
    assert Parameters().applied(HOME) == HOME


def test_a_retriever_of_weight_zero_is_left_out() -> None:
    changed = Parameters.model_validate({"retrievers": {"mf": {"weight": 0}}}).applied(HOME)
    assert [retriever.use for retriever in changed.retrievers] == ["popular"]
