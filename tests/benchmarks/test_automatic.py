"""The chosen pipeline is held against its best single part on users held out before anything was chosen."""

from __future__ import annotations

import time

import pytest

from benchmarks.automatic import CHOSEN, DEFAULT, Measurement
from benchmarks.places import crowd
from recserve.config import DEFAULT_SCENARIO, parse_config
from recserve.evaluation import RetrieverRecommender
from recserve.plugin.registry import Registry
from recserve.training.fitting import fit_component
from recserve.training.selection.summary import SummaryRow


@pytest.fixture(scope="module")
def measurement() -> Measurement:
    """One of a small crowd, whose single parts are fitted."""
    made = Measurement(crowd(120, 150), 1)
    names = ("popular", "item_knn")
    parts = {"scenarios": {DEFAULT_SCENARIO: {"retrievers": [{"use": name} for name in names]}}}
    for part in Registry.discover().resolve(parse_config(parts)).scenarios[DEFAULT_SCENARIO].retrievers:
        built, _ = fit_component(part, made._split.training, made._context)
        made._put(part.name, RetrieverRecommender(built), time.perf_counter())
    made.rows = [SummaryRow("popular", ".1", 1.0, "chosen")]
    return made


def test_what_is_held_out_is_not_trained_on(measurement: Measurement) -> None:
    split = measurement._split
    assert split.n_users > 30
    assert len(split.training.users) < len(crowd(120, 150).events)


@pytest.mark.parametrize("worse", [True, False])
def test_a_pipeline_below_its_best_part_falls_short(measurement: Measurement, worse: bool) -> None:
    parts = measurement.parts
    best = measurement.best_part()
    (other,) = set(parts) - {best}
    assert parts[best].metrics["ndcg@10"].mean > parts[other].metrics["ndcg@10"].mean
    measurement.reports[CHOSEN] = parts[other if worse else best]
    measurement.reports[DEFAULT] = parts[other]
    assert set(measurement.parts) == set(parts), "neither the chosen one nor the default is a part"
    gain = measurement.reports[CHOSEN].difference(parts[best], "ndcg@10")
    assert measurement.falls_short() == (gain.high < 0)
    found = measurement.to_json()
    assert found["best_part"] == best
    assert found["chosen"] == [["popular", ".1", "chosen"]]
    against = found["models"][best]["ndcg@10"]["chosen_minus_it"]
    assert (against["mean"] < 0) == worse
