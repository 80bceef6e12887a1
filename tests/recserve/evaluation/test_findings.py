"""What an evaluation found, as one JSON object."""

from __future__ import annotations

import json

import numpy as np

from recserve.evaluation.checks.leaks import LeakCheck
from recserve.evaluation.comparison import PIPELINE
from recserve.evaluation.findings import Findings
from tests.support.reports import report_of, slice_of

COLD = slice_of("cold items", [0.5, np.nan, 0.1])
OF_SPLIT = LeakCheck("times", True, "No test event is older than training.")
OF_MODEL = LeakCheck("items", False, "An item is known too early.")


def findings() -> Findings:
    mf = report_of("mf", [0.1, 0.2, 0.3], slices=(COLD,), checks=(OF_MODEL,))
    pipeline = report_of(PIPELINE, [0.3, 0.3, 0.3], slices=(COLD,))
    return Findings([mf, pipeline], [OF_SPLIT], "recserve evaluate --model mf")


def test_everything_found_is_in_the_json() -> None:
    value = json.loads(json.dumps(findings().to_json(), allow_nan=False))
    assert value["command"] == "recserve evaluate --model mf"
    assert (value["split"], value["users"], value["queries"], value["items"]) == ("temporal", 3, 3, 100)
    assert [check["name"] for check in value["leak_checks"]] == ["times", "items"]
    assert [model["model"] for model in value["models"]] == ["mf", PIPELINE]
    (difference,) = value["differences"]
    assert (difference["first"], difference["second"], difference["metric"]) == ("mf", PIPELINE, "ndcg@10")
    assert difference["significant"] is False
    (part,) = value["slice_differences"]
    assert (part["slice"], part["mean"]) == ("cold items", 0.0)
    assert value["pipeline_over_best_part"]["second"] == "mf"
    assert value["trade_offs"]["front"] == [PIPELINE]
    assert [model["dominated_by"] for model in value["models"]] == [[PIPELINE], []]
    assert value["choices"] == {}
    np.testing.assert_allclose(value["pipeline_over_best_part"]["mean"], 0.1)


def test_the_headline_is_the_first_cut_off() -> None:
    assert findings().metric == "ndcg@10"
    assert Findings([report_of("mf", [0.1], k=5)]).metric == "ndcg@5"


def test_a_single_model_has_nothing_to_be_compared_with() -> None:
    alone = Findings([report_of("mf", [0.1, 0.2])])
    value = alone.to_json()
    assert value["differences"] == value["slice_differences"] == value["leak_checks"] == []
    assert value["pipeline_over_best_part"] is None
    assert value["command"] is None
