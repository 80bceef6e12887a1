"""The made-up taste for weekdays and weekends, and that features of time find it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from recserve_features.inputs.clock import part_of

from benchmarks.common import SAMPLE
from benchmarks.features import (
    SCENARIO,
    WITHOUT_TEXTS,
    Row,
    markdown,
    movielens_config,
    pipelines,
    weekend_config,
    weekend_tables,
)
from recserve import Dataset
from recserve.config import parse_config
from recserve.evaluation import Interval, evaluate, paired_difference, temporal
from recserve.plugin.registry import Registry
from recserve.training.fitting import catalogue_of, fit_context, fit_pipeline

TIMELESS = {
    "retrieval": {"type": "retrieval"},
    "popularity": {"type": "popularity"},
    "taste": {"type": "affinity", "attribute": "topic"},
}
TIMED = {**TIMELESS, "then": {"type": "affinity", "attribute": "topic", "when": "weekend"}}


def test_a_user_has_a_topic_for_weekdays_and_another_one_for_weekends() -> None:
    tables = weekend_tables(20, 80, topics=4, length=40, days=100, seed=3)
    assert tables.events.num_rows == 800
    topics = [int(item[1:]) % 4 for item in tables.events["item_id"].to_pylist()]
    weekend = part_of(tables.events["timestamp"].to_numpy(), "weekend", "UTC")
    users = np.array(tables.events["user_id"].to_pylist())
    for user in np.unique(users)[:5]:
        common = [
            np.bincount(np.array(topics)[(users == user) & (weekend == kind)]).argmax() for kind in (0, 1)
        ]
        assert common[0] != common[1]
    assert json.loads(tables.items["attributes"][7].as_py()) == {"topic": "topic 3"}


@pytest.mark.parametrize(
    ("ranker", "params"),
    [
        ("lambdamart", {"trees": 30, "feature_share": 1.0}),
        ("deepfm", {"epochs": 4, "learning_rate": 0.01, "hidden": (16,)}),
    ],
)
def test_features_of_time_gain_over_the_same_without_them(ranker: str, params: dict[str, Any]) -> None:
    tables = weekend_tables(150, 160, topics=8, length=30, days=150)
    values = {}
    for name, features in (("timeless", TIMELESS), ("timed", TIMED)):
        used = {"use": ranker, "params": {"features": features, **params}}
        home: dict[str, Any] = {"retrievers": [{"use": "popular"}], "ranker": used}
        config = parse_config({"encoder": None, "scenarios": {SCENARIO: home}, "train": {"threads": 1}})
        resolved = Registry.discover().resolve(config)
        data = Dataset.from_tables(catalogue_of(tables), tables.events, config.event_types)
        split = temporal(data, 0.1)
        fitted = fit_pipeline(resolved, split.training, fit_context(config))
        fitted.orders.clear()
        values[name] = evaluate(fitted.recommender(SCENARIO), split, name=name).per_user["ndcg@10"]
    assert paired_difference(values["timed"], values["timeless"]).low > 0


def test_configurations_are_those_of_the_rankers_named() -> None:
    made_up = weekend_config({"use": "lambdamart"}, ["bert_lstm"])["scenarios"][SCENARIO]
    assert made_up["ranker"] == {"use": "lambdamart"}
    assert made_up["retrievers"][-1] == {"use": "bert_lstm", "params": {"text": False}}
    films = movielens_config({"use": "bert_lstm"})
    assert films["scenarios"][SCENARIO]["ranker"] == {"use": "bert_lstm"}
    assert Registry.discover().resolve(parse_config(films)).scenarios[SCENARIO].ranker is not None


def test_every_ranker_is_held_against_the_first_one_with_its_candidates() -> None:
    plain = pipelines(WITHOUT_TEXTS)
    assert [(one.name, one.base) for one in plain] == [
        ("mf alone", True),
        ("lambdamart", False),
        ("deepfm", False),
    ]
    registry = Registry.discover()
    homes = [registry.resolve(parse_config(one.settings)).scenarios[SCENARIO] for one in plain]
    assert [home.ranker is None for home in homes] == [True, False, False]
    assert [one.name for one in homes[0].retrievers] == ["mf"]
    films = pipelines(SAMPLE)
    assert [one.base for one in films] == [True, False, False, True, False, False]
    assert films[4].name == "lambdamart, with candidates of bert_lstm"


def test_the_table_has_a_row_a_ranker() -> None:
    rows = [
        Row("bert_lstm", Interval(0.1, 0.05, 0.15), Interval(0.0, 0.0, 0.0), 20.0, 1.5, {}),
        Row("lambdamart", Interval(0.2, 0.15, 0.25), Interval(0.1, 0.08, 0.12), 5.0, 2.5, {}),
    ]
    text = markdown("weekend", rows)
    assert "| bert_lstm | 0.1000 (0.0500 to 0.1500) | - | 20.0 | 1.5 |" in text
    assert "| +0.1000 (+0.0800 to +0.1200) | 5.0 | 2.5 |" in text
