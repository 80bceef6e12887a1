"""The automatic choice of a pipeline beside a scenario that searches."""

from __future__ import annotations

import pytest
import yaml

from recserve.config import parse_config
from recserve.plugin.registry import Registry
from recserve.testing import example_dataset
from recserve.training.automatic import AutomaticPipeline, choose_pipeline
from recserve.training.fitting import fit_context


@pytest.fixture(scope="module", params=["auto", None])
def chosen(request: pytest.FixtureRequest) -> AutomaticPipeline:
    """A choice with and without a text encoder."""
    encoder = None if request.param is None else {"model": "bundled:minilm"}
    home = {"retrievers": [{"use": "popular"}]}
    plain = {"encoder": encoder, "scenarios": {"home": home}, "train": {"threads": 1, "device": "cpu"}}
    config = parse_config(plain)
    return choose_pipeline(Registry.discover(), config, example_dataset(), fit_context(config))


def test_search_is_added_as_the_default_configuration_has_it(chosen: AutomaticPipeline) -> None:
    scenarios = chosen.resolved.config.scenarios
    assert list(scenarios) == ["home", "search"]
    reads = ["lexical"] if chosen.resolved.encoder is None else ["lexical", "content"]
    assert [part.use for part in scenarios["search"].retrievers] == reads
    assert scenarios["search"].seen == "allow"
    assert {f"retriever.{name}" for name in reads} <= set(chosen.windows.objects)
    written = yaml.safe_load(chosen.as_yaml({"server": {"port": 8123}}))
    assert parse_config(written).scenarios == scenarios


def test_the_parts_of_home_are_chosen_by_behaviour_alone(chosen: AutomaticPipeline) -> None:
    home = [part.use for part in chosen.resolved.config.scenarios["home"].retrievers]
    assert "lexical" not in home
    assert {row.part for row in chosen.rows} >= set(home)


def test_rankers_that_are_for_people_to_choose_are_not_tried(chosen: AutomaticPipeline) -> None:
    tried = {row.part for row in chosen.rows} | set(chosen.windows.objects)
    chosen_by_people = ("lambdamart", "deepfm", "bert_sequence")
    assert not [part for part in tried if any(name in part for name in chosen_by_people)]
