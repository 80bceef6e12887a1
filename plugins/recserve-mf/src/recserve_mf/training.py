"""Fitting: data-dependent settings and the final model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from recserve import Dataset, FitContext, InvertedFileIndex, Ragged, Validation, sample_queries
from recserve_mf.cost import Size
from recserve_mf.model import Model
from recserve_mf.parameters import MfParams
from recserve_mf.selection import (
    DEFAULT_RATIO,
    DEFAULT_STRENGTH,
    NO_HALF_LIFE,
    TESTED_USERS,
    Search,
    Settings,
)
from recserve_mf.solver.factorise import factorise
from recserve_mf.solver.fold_in import FoldIn
from recserve_mf.solver.ials import Objective, Problem

logger = logging.getLogger(__name__)


def fit_model(data: Dataset, params: MfParams, context: FitContext) -> tuple[Model, dict[str, Any]]:
    """Learn item factors.

    Returns:
        The model, and facts: ``dimension``, ``unobserved_ratio``, ``regularization``, ``unobserved_weight``,
        ``half_life_events``, ``pairs``; ``validation``, if settings were chosen here: the split, its users,
        and nDCG@20 of each fit and half-life tried; ``index`` where items are too many to score them all.
    """
    # One BLAS thread a call: sums are then taken in one order whatever the number of threads.
    with threadpool_limits(limits=1, user_api="blas"):
        return _fit(data, params, context)


def _fit(data: Dataset, params: MfParams, context: FitContext) -> tuple[Model, dict[str, Any]]:
    problem = Problem.of(data, params.confidence_power)
    if problem is None:
        dimension = params.dimension or default_dimension(data)
        model = Model.empty(data.n_items, dimension, Objective(1.0, 1.0, params.nu))
        return model, {"dimension": dimension, "pairs": 0}
    settings, tried = _chosen(data, params, context, Size.of(problem))
    objective = Objective(settings.unobserved_ratio * problem.density, settings.regularization, params.nu)
    items = factorise(
        problem, objective, settings.dimension, params, context, params.iterations, context.progress
    )
    facts: dict[str, Any] = {
        "dimension": settings.dimension,
        "unobserved_ratio": settings.unobserved_ratio,
        "regularization": settings.regularization,
        "unobserved_weight": objective.unobserved_weight,
        "half_life_events": settings.half_life_events,
        "pairs": len(problem.by_user.columns),
        **tried,
    }
    model = Model.of(problem, items, data.n_items, objective, params.confidence_power)
    model = replace(model, half_life_events=settings.half_life_events)
    if len(problem.items) > params.approximate_above:
        context.progress("indexing", 0, 1)
        model = with_index(model, data, context.seed)
        facts["index"] = {"product": model.product.facts(), "cosine": model.cosine.facts()}
        context.progress("indexing", 1, 1)
    return model, facts


def with_index(model: Model, data: Dataset, seed: int) -> Model:
    """The model with indexes that are tuned for users of ``data`` and for items that they liked."""
    queries = sample_queries(data, seed)
    fold_in = FoldIn(model)
    users, _ = fold_in.solve(fold_in.liked(queries.histories))
    anchors = queries.histories.items[queries.histories.offsets[1:] - 1]
    themselves = Ragged.of(list(anchors[:, None]))
    build = InvertedFileIndex.build
    product = build(model.items, users, queries.excluded, seed=seed)
    similar = build(model.items, model.items[anchors], themselves, cosine=True, seed=seed)
    return replace(model, product=product, cosine=similar)


def default_dimension(data: Dataset) -> int:
    """The power of two nearest to ``4 sqrt(min(users, items with events))``, within 16..256."""
    liked = data.weights > 0
    smaller = min(len(np.unique(data.users[liked])), len(np.unique(data.items[liked])))
    exponent = round(float(np.log2(4.0 * np.sqrt(max(smaller, 1)))))
    return int(2 ** min(max(exponent, 4), 8))


def _chosen(
    data: Dataset, params: MfParams, context: FitContext, size: Size
) -> tuple[Settings, dict[str, Any]]:
    """Settings, configured or of the earlier fit or else chosen by validation, and facts about the choice."""
    known = _known(params, context.previous or {})
    if known.dimension and known.regularization and known.half_life_events is not None:
        ratio = known.unobserved_ratio or DEFAULT_RATIO
        return Settings(known.dimension, ratio, known.regularization, known.half_life_events), {}
    dimension = known.dimension or default_dimension(data)
    validation = Validation.of(data, context.seed, TESTED_USERS) if params.search_share > 0 else None
    if validation is None:
        ratio = known.unobserved_ratio or DEFAULT_RATIO
        regularization = known.regularization or DEFAULT_STRENGTH / (1.0 + ratio)
        return Settings(dimension, ratio, regularization, known.half_life_events or NO_HALF_LIFE), {}
    search = Search(validation, known, context, dimension, size)
    settings = search.settings()
    logger.info(
        "mf chose unobserved_ratio %g, regularization %.4g, %d dimensions and a half-life of %g events by "
        "%d fits on a %s hold-out of %d users",
        settings.unobserved_ratio,
        settings.regularization,
        settings.dimension,
        settings.half_life_events,
        len(search.fits),
        validation.split,
        len(validation.histories),
    )
    facts = {
        "split": validation.split,
        "users": len(validation.histories),
        "fits": search.fits,
        "half_lives": search.half_lives,
    }
    return settings, {"validation": facts}


def _known(params: MfParams, previous: Mapping[str, Any]) -> MfParams:
    """The parameters with what an earlier fit chose where nothing is configured."""
    names = ("dimension", "unobserved_ratio", "regularization", "half_life_events")
    chosen = {name: previous[name] for name in names if name in previous and getattr(params, name) is None}
    return params.model_copy(update=chosen)
