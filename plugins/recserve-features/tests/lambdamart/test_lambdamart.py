"""The ranker ``lambdamart``: its trees, what a bundle holds of them, and what each feature adds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recserve_features import register_rankers
from recserve_features.lambdamart.ranker import LambdaMart
from recserve_features.parameters import LambdaMartParams

from recserve import BundleError, FitContext
from recserve.testing import example_candidates, example_dataset, example_queries


def test_facts_say_what_trees_go_by(made_up: Any) -> None:
    data = example_dataset()
    _, facts = made_up.learnt("lambdamart", data, made_up.examples(data, made_up.at_weekends))
    assert facts["gains"].get("weekend", 0) + facts["gains"].get("weekday", 0) > 0.02
    assert facts["trees"] == 20


def test_features_that_say_nothing_are_idle(made_up: Any) -> None:
    data = example_dataset()
    declared = {
        "device": {"type": "context", "key": "tablet"},
        "device_topic": {"type": "context", "key": "tablet", "attribute": "topic"},
    }
    taught = made_up.examples(data, made_up.on_phones)
    _, facts = made_up.learnt("lambdamart", data, taught, features=declared)
    assert facts["idle"] == ["device", "device_topic"]


def test_the_number_of_trees_is_chosen_on_users_held_out(made_up: Any) -> None:
    data, reported = example_dataset(), []
    built = LambdaMart(LambdaMartParams(max_trees=40, min_leaf=10), data.catalogue)
    built.fit(data, FitContext(threads=1))
    context = FitContext(threads=1, validated=lambda step, score: reported.append((step, score)))
    facts = built.fit_candidates(made_up.examples(data, made_up.at_weekends), context)
    assert 1 <= facts["trees"] <= 40
    assert facts["validation"][str(facts["trees"])] == pytest.approx(
        max(score for _, score in reported), abs=1e-5
    )
    assert [step for step, _ in reported] == list(range(1, len(reported) + 1))


def test_equal_fits_give_equal_bytes_whatever_the_threads(made_up: Any, tmp_path: Path) -> None:
    data = example_dataset()
    written = []
    for threads in (1, 2):
        folder = tmp_path / str(threads)
        folder.mkdir()
        taught = made_up.examples(data, made_up.at_weekends, 60)
        made_up.learnt("lambdamart", data, taught, threads, trees=3)[0].save(folder)
        written.append({file.name: file.read_bytes() for file in folder.iterdir()})
    assert written[0] == written[1]


def test_damaged_trees_are_refused(made_up: Any, tmp_path: Path) -> None:
    data = example_dataset()
    made_up.learnt("lambdamart", data, made_up.examples(data, made_up.at_weekends))[0].save(tmp_path)
    file = tmp_path / "features.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "trees": ["tree", "nonsense"]}))
    with pytest.raises(BundleError, match="cannot be read"):
        made_up.ranker("lambdamart", data).load(tmp_path)


def test_without_trees_features_add_nothing(made_up: Any) -> None:
    data = example_dataset()
    queries = example_queries(data)
    nothing = made_up.examples(data, lambda asked, topics: np.zeros(topics.shape))
    ranker, facts = made_up.learnt("lambdamart", data, nothing)
    assert facts["trees"] == 0
    assert not ranker.contributions(queries, example_candidates(data, queries)).any()


def test_contributions_add_up_to_scores(made_up: Any) -> None:
    data = example_dataset()
    taught = made_up.examples(data, made_up.at_weekends)
    ranker, _ = made_up.learnt("lambdamart", data, taught)
    found = ranker.contributions(taught.queries, taught.candidates)
    rest = ranker.score(taught.queries, taught.candidates) - found.sum(axis=2)
    rest -= ranker._anchor.scores(taught.candidates)
    np.testing.assert_allclose(rest, rest[0, 0], atol=1e-4)
    strongest = np.abs(found).mean(axis=(0, 1)).argsort()[::-1][:6]
    assert any("topic" in ranker.feature_names[place] for place in strongest)


def test_lightgbm_is_not_imported_before_it_is_needed() -> None:
    heavy = "{'lightgbm', 'torch', 'pandas'}"
    code = f"import sys, recserve_features.lambdamart.ranker; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert [component.name for component in register_rankers()] == ["lambdamart", "deepfm"]
