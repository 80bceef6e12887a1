"""The settings that ``graph_filter`` chooses for itself."""

from __future__ import annotations

from recserve_graph.parameters import GraphFilterParams
from recserve_graph.retriever import GraphFilterRetriever

from recserve import Dataset, FitContext
from recserve.testing import dataset_of, example_dataset


def fit(data: Dataset, **params: float) -> dict[str, object]:
    built = GraphFilterRetriever(GraphFilterParams.model_validate(params), data.catalogue)
    return dict(built.fit(data, FitContext(threads=1)))


def test_the_best_settings_tried_are_taken() -> None:
    data = example_dataset(n_users=120)
    facts = fit(data, tries=10)
    validation = facts["validation"]
    assert isinstance(validation, dict)
    best = max(validation["fits"], key=lambda tried: tried["ndcg@20"])
    assert {name: facts[name] for name in best if name != "ndcg@20"} == {
        name: value for name, value in best.items() if name != "ndcg@20"
    }
    assert validation["split"] == "newest"
    assert facts == fit(data, tries=10), "the choice is the same for a seed"


def test_what_is_configured_is_not_searched() -> None:
    data = example_dataset(n_users=120)
    facts = fit(data, tries=8, rank=5, linear_weight=0.7)
    validation = facts["validation"]
    assert isinstance(validation, dict)
    assert {(tried["rank"], tried["linear_weight"]) for tried in validation["fits"]} == {(5, 0.7)}
    assert len({tried["half_life_events"] for tried in validation["fits"]}) > 1


def test_half_lives_are_not_tried_where_times_order_nothing() -> None:
    untimed = dataset_of(
        [(user, (user * 7 + place) % 40, 1.0) for user in range(60) for place in range(5)], 40
    )
    untimed.timestamps[:] = 0
    facts = fit(untimed, tries=8)
    validation = facts["validation"]
    assert isinstance(validation, dict)
    assert validation["split"] == "random"
    assert {tried["half_life_events"] for tried in validation["fits"]} == {0.0}


def test_few_users_get_constants() -> None:
    few = dataset_of([(user, (user + place) % 6, 1.0) for user in range(5) for place in range(4)], 6)
    assert "validation" not in fit(few)
    assert "validation" not in fit(example_dataset(), tries=0)
