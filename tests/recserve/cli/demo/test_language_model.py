"""The language model of the demo: named where it is missing, and put at the end of the default scenario."""

from __future__ import annotations

from pathlib import Path

import pytest

from recserve.cli.common import State
from recserve.cli.demo import language_model
from recserve.cli.demo.language_model import LanguageModel, check_language_model
from recserve.config import load_config
from recserve.errors import RuntimeEnvironmentError


def test_a_model_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_model, "MODULE", "no_such_plugin.local")
    with pytest.raises(RuntimeEnvironmentError, match="--llm needs a language model: pip install"):
        check_language_model()


def test_the_model_ends_the_default_scenario_and_keeps_its_explainer(tmp_path: Path) -> None:
    (tmp_path / "recserve.yaml").write_text(
        "scenarios:\n  home:\n    retrievers: [{use: popular}]\n    rerankers: [{use: mmr}]\n"
        "    explainer: {use: movielens}\n"
    )
    written = LanguageModel("tiny", "http://127.0.0.1:9/v1").configured(State(tmp_path), ["film"])
    config = load_config(written)
    scenario = config.scenarios["home"]
    assert [reranker.use for reranker in scenario.rerankers] == ["mmr", "llm_rerank"]
    assert scenario.rerankers[1].params["base_url"] == "http://127.0.0.1:9/v1"
    assert (scenario.explainer.use, scenario.explainer.params["base"]) == ("llm", "movielens")
    assert scenario.explainer.params["nouns"] == ["film"]
    assert config.server.reranking_deadline_ms > scenario.rerankers[1].params["deadline_ms"]
