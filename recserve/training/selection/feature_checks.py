"""Leak check of the features that a pipeline's ranker goes by, on items that are dealt out at random."""

from __future__ import annotations

from typing import Any

from recserve.data.dataset import Dataset
from recserve.evaluation import LeakCheck, check_feature_leaks
from recserve.plugin.protocols import ShowsFeatures
from recserve.plugin.resolved import ResolvedConfig
from recserve.training.fitting import fit_component, fit_context


def ranker_checks(resolved: ResolvedConfig, model: object, data: Dataset) -> tuple[LeakCheck, ...]:
    """Check the features of the default scenario's ranker.

    Args:
        resolved: The configuration.
        model: As it was fitted; one without a ranker that shows its features is not checked.
        data: What it was fitted on.

    Raises:
        LeakError: Features know what is to be predicted.
    """
    chosen = resolved.scenarios[resolved.config.default_scenario].ranker
    if chosen is None or not isinstance(getattr(model, "ranker", None), ShowsFeatures):
        return ()
    context = fit_context(resolved.config)

    def fit(training: Dataset) -> Any:
        return fit_component(chosen, training, context)[0]

    return (check_feature_leaks(data, fit, name=chosen.name, seed=context.seed),)
