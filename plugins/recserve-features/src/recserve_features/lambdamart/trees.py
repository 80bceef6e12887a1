"""LambdaMART: trees that LightGBM boosts for nDCG, kept in its text format.

Burges 2010, "From RankNet to LambdaRank to LambdaMART: An overview" (MSR-TR-2010-82); Ke et al. 2017,
"LightGBM: A highly efficient gradient boosting decision tree" (NeurIPS).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np

from recserve import BoolArray
from recserve_features.learning.examples import Examples
from recserve_features.parameters import LambdaMartParams

_PATIENCE = 20
# Where too few queries are held out to choose a number.
_USUAL_TREES = 50
_PARAMETERS = ("\nparameters:\n", "end of parameters\n")


@dataclass(frozen=True)
class Learnt:
    """Trees in text form, with what is worth knowing about how they were learnt.

    Attributes:
        text: LightGBM's text format, without the parameters that it was trained with.
        trees: How many.
        validation: nDCG by number of trees on users held out; empty where the number was given or constant.
        gains: Share of all gains by column.
    """

    text: str
    trees: int
    validation: dict[str, float]
    gains: dict[str, float]


def learn(
    examples: Examples,
    params: LambdaMartParams,
    seed: int,
    threads: int,
    validated: Callable[[int, float], None] = lambda step, score: None,
) -> Learnt:
    """Boost trees; equal examples, parameters and seed give equal text, whatever the number of threads.

    Args:
        examples: At least one query, each with a chosen candidate and others.
        params: How.
        seed: Of the features that a tree may use.
        threads: At most so many.
        validated: Called with (trees, nDCG) on users held out.
    """
    settings = _settings(params, seed, threads)
    trees = params.trees
    validation: dict[str, float] = {}
    if trees is None:
        held = examples.held_out()
        if held is None:
            trees = min(_USUAL_TREES, params.max_trees)
        else:
            trees, validation = _chosen_size(examples, held, settings, params.max_trees, validated)
    booster = lgb.train(settings, _dataset(examples, settings), trees)
    gains = booster.feature_importance("gain")
    shares = gains / max(float(gains.sum()), 1e-12)
    return Learnt(
        _without_parameters(booster.model_to_string(num_iteration=trees)),
        trees,
        validation,
        {name: round(float(share), 4) for name, share in zip(examples.names, shares, strict=True)},
    )


def loaded(text: str) -> lgb.Booster:
    """Trees from their text.

    Raises:
        ValueError: The text is damaged.
    """
    try:
        return lgb.Booster(model_str=text)
    except lgb.basic.LightGBMError as error:
        raise ValueError(f"the trees are damaged ({error})") from None


def _settings(params: LambdaMartParams, seed: int, threads: int) -> dict[str, Any]:
    return {
        "objective": "lambdarank",
        "metric": "ndcg",
        "eval_at": [10],
        "lambdarank_truncation_level": params.depth,
        "learning_rate": params.learning_rate,
        "num_leaves": params.leaves,
        "min_data_in_leaf": params.min_leaf,
        "feature_fraction": params.feature_share,
        "lambda_l2": params.l2,
        "seed": seed % 2**31,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": max(threads, 1),
        "feature_pre_filter": False,
        "verbosity": -1,
    }


def _dataset(examples: Examples, settings: dict[str, Any], reference: Any = None) -> lgb.Dataset:
    return lgb.Dataset(
        examples.features,
        examples.labels,
        reference=reference,
        weight=np.repeat(examples.shares(), examples.lengths),
        group=examples.lengths,
        init_score=examples.base,
        feature_name=list(examples.names),
        categorical_feature=list(examples.categorical),
        params={name: settings[name] for name in ("verbosity", "num_threads", "feature_pre_filter", "seed")},
    )


def _chosen_size(
    examples: Examples,
    held: BoolArray,
    settings: dict[str, Any],
    most: int,
    validated: Callable[[int, float], None],
) -> tuple[int, dict[str, float]]:
    """The number of trees with the best nDCG@10 on users held out, and what was found at some of them."""
    training = _dataset(examples.of_queries(~held), settings)
    validation = _dataset(examples.of_queries(held), settings, reference=training)
    found: dict[str, Any] = {}

    def report(step: Any) -> None:
        validated(step.iteration + 1, float(step.evaluation_result_list[0][2]))

    booster = lgb.train(
        settings,
        training,
        most,
        valid_sets=[validation],
        valid_names=["held"],
        callbacks=[
            lgb.early_stopping(_PATIENCE, verbose=False),
            lgb.record_evaluation(found),
            report,
        ],
    )
    scores = found["held"]["ndcg@10"]
    best = max(booster.best_iteration, 1)
    return best, {str(trees): round(float(scores[trees - 1]), 6) for trees in (1, best)}


def _without_parameters(text: str) -> str:
    """Trees alone: how many threads there were is no part of a model."""
    start, end = text.index(_PARAMETERS[0]), text.index(_PARAMETERS[1])
    return text[:start] + "\n" + text[end + len(_PARAMETERS[1]) :]
