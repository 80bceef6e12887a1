"""The explainer ``llm``: sentences that passed the check, and another explainer's where there is none."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from recserve_llm.explaining.explainer import LlmExplainer
from recserve_llm.parameters import LlmExplainerParams

from recserve import Catalogue, ConfigError, Item, Reason
from recserve.telemetry.outcomes import PROCESS_OUTCOMES
from recserve.testing import check_explainer
from tests.support.language_model import Reply, StubModel, says

FILM = Item("1", {"title": "Monsters, Inc.", "genres": ["Animation"]})
SEEN = Item("2", {"title": "Toy Story", "genres": ["Animation"]})
REASON = Reason(FILM, ("mf",), SEEN, "rating")
GOOD = "Because you rated Toy Story, you might enjoy Monsters, Inc. too."
TEMPLATE = "Because you rated Toy Story"
NAMES = count()


@pytest.fixture
def stub() -> Iterator[StubModel]:
    with StubModel(says(GOOD)) as server:
        yield server


def explainer(stub: StubModel, **more: Any) -> LlmExplainer:
    more = {"wait_ms": 20_000, "nouns": ["film"], **more}
    params = LlmExplainerParams(base_url=stub.url, model=f"e{next(NAMES)}", **more)
    return LlmExplainer(params, Catalogue.of([FILM, SEEN]))


def test_contract(stub: StubModel) -> None:
    sentences = check_explainer("llm", base_url=stub.url, model="contract", wait_ms=20_000)
    assert sentences[0] == "Picked for you"


def test_a_sentence_of_facts_is_given(stub: StubModel) -> None:
    made = pickle.loads(pickle.dumps(explainer(stub)))
    assert made.explain([REASON, Reason(FILM, ("popular",))]) == [GOOD, "Popular"]
    assert made.explain([REASON]) == [GOOD]
    assert len(stub.bodies) == 1


def test_a_sentence_with_more_than_facts_is_refused_for_good(stub: StubModel) -> None:
    stub.respond = says("Because you rated Toy Story, enjoy this film by Pixar.")
    made = explainer(stub)
    before = PROCESS_OUTCOMES.read().get(("llm", "refused_title"), 0)
    assert made.explain([REASON]) == made.explain([REASON]) == [TEMPLATE]
    assert len(stub.bodies) == 1
    assert PROCESS_OUTCOMES.read()["llm", "refused_title"] == before + 1


def test_without_waiting_the_sentence_is_there_next_time(stub: StubModel) -> None:
    held = threading.Event()
    stub.respond = lambda body: Reply(GOOD, wait=held)
    made = explainer(stub, wait_ms=0)
    assert made.explain([REASON]) == [TEMPLATE]
    held.set()
    patient = LlmExplainer(made._params, Catalogue.of([FILM, SEEN]))
    while patient.explain([REASON]) == [TEMPLATE]:
        threading.Event().wait(0.01)
    assert patient.explain([REASON]) == [GOOD]
    assert len(stub.bodies) == 1


def test_a_model_that_is_down_costs_nothing_but_its_sentence(stub: StubModel) -> None:
    stub.respond = lambda body: Reply("", 500)
    assert explainer(stub).explain([REASON] * 3) == [TEMPLATE] * 3


def test_other_languages_are_the_base_explainers(stub: StubModel) -> None:
    chinese = Reason(FILM, ("mf",), SEEN, "rating", language="zh")
    assert explainer(stub).explain([chinese]) == ["因为您评价过“Toy Story”"]
    assert stub.bodies == []


def test_the_base_explainer_is_chosen_by_name(stub: StubModel) -> None:
    stub.respond = says("no")
    plain = Reason(FILM, ("content",), SEEN, "rating")
    assert explainer(stub, base="movielens").explain([plain]) == ["Similar to Toy Story, which you rated"]
    with pytest.raises(ConfigError, match=r"unknown explainer 'movieles'.*movielens"):
        explainer(stub, base="movieles")
    with pytest.raises(ConfigError, match="base_params"):
        explainer(stub, base_params={"x": 1})
