"""The automatic choice of a pipeline beside a scenario that searches."""

from __future__ import annotations

import pytest
import yaml

from recserve.config import parse_config
from recserve.plugin.protocols import Stage
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


def test_no_ranker_is_tried_that_is_for_people_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that would be tried first are gone, so that nothing but the flag keeps the others out."""
    registry = Registry.discover()
    rankers = registry.names(Stage.RANKER)
    manual = [name for name in rankers if not registry.get(Stage.RANKER, name, "ranker")[0].automatic]
    assert {"lambdamart", "deepfm", "bert_sequence"} <= set(manual)
    known = Registry.names
    monkeypatch.setattr(
        Registry,
        "names",
        lambda self, stage: manual if stage is Stage.RANKER else known(self, stage),
    )
    plain = {"encoder": None, "train": {"threads": 1, "device": "cpu"}}
    config = parse_config({**plain, "scenarios": {"home": {"retrievers": [{"use": "popular"}]}}})
    chosen = choose_pipeline(registry, config, example_dataset(200, 10), fit_context(config))
    assert any(row.figure for row in chosen.rows), "orders were measured, so a ranker could have been tried"
    assert chosen.resolved.config.scenarios["home"].ranker is None
    assert not [row.part for row in chosen.rows if row.part.startswith("ranked by")]
