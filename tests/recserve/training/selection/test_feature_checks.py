"""The leak check of a pipeline's ranker that shows its features."""

from __future__ import annotations

from recserve.config import parse_config
from recserve.plugin.registry import Registry
from recserve.testing import example_dataset
from recserve.training.fitting import fit_context, fit_pipeline
from recserve.training.selection.feature_checks import ranker_checks


def test_only_rankers_that_show_their_features_are_checked() -> None:
    data = example_dataset()
    home = {"retrievers": [{"use": "popular"}], "ranker": {"use": "lambdamart", "params": {"trees": 5}}}
    config = parse_config({"encoder": None, "scenarios": {"home": home}, "train": {"threads": 1}})
    resolved = Registry.discover().resolve(config)
    fitted = fit_pipeline(resolved, data, fit_context(config))
    (check,) = ranker_checks(resolved, fitted.recommender("home"), data)
    assert (check.name, check.passed) == ("ranker features", True)
    assert "features of lambdamart tells answers apart" in check.detail
    assert ranker_checks(resolved, object(), data) == ()
