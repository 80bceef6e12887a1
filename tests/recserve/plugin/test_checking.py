"""All mistakes of a configuration, and where components are used."""

from __future__ import annotations

import pytest

from recserve.config import Config, parse_config
from recserve.plugin.checking import mistakes, uses
from recserve.plugin.protocols import Stage
from recserve.plugin.registry import Registry


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover(only=["builtins", "popular", "mf"])


def test_a_good_one_has_none(registry: Registry) -> None:
    raw = {"encoder": None, "scenarios": {"home": {"retrievers": [{"use": "mf"}]}}}
    config, found = mistakes(raw, registry)
    assert found == []
    assert config == parse_config(raw)


def test_components_that_do_not_fit_each_other_are_a_mistake(registry: Registry) -> None:
    one, other = ({"retrievers": [{"use": "mf", "params": {"dimension": n}}]} for n in (8, 9))
    _, (found,) = mistakes({"encoder": None, "scenarios": {"home": one, "other": other}}, registry)
    assert "has other params than at scenarios.home.retrievers[0]" in found.message


def test_no_mapping_is_one_mistake(registry: Registry) -> None:
    assert mistakes([1], registry)[1][0].message == "the configuration must be a mapping of keys to values"


def test_uses_name_places_and_parameters() -> None:
    raw = {"scenarios": {"home": {"retrievers": [{"use": "mf", "params": {"dimension": 8}}]}}}
    found = {use.where: use for use in uses(parse_config(raw))}
    assert found["scenarios.home.retrievers[0]"].params == {"dimension": 8}
    assert found["scenarios.home.fallback"].name == "popular"
    assert (found["encoder"].stage, found["encoder"].scenario) == (Stage.ENCODER, None)


def test_a_fallback_that_is_listed_is_one_use() -> None:
    wheres = [use.where for use in uses(Config()) if use.name == "popular"]
    assert wheres == ["scenarios.home.retrievers[3]", "scenarios.search.fallback"]
