"""Fitting: data-dependent settings, choice of solver, final model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from recserve import ConfigError, Dataset, FitContext, InvertedFileIndex, Ragged, sample_queries
from recserve_mf.model import Model
from recserve_mf.parameters import MfParams
from recserve_mf.selection import (
    DEFAULT,
    REGULARIZATIONS,
    Validation,
    choose_half_life,
    choose_regularization,
)
from recserve_mf.solver.fold_in import FoldIn
from recserve_mf.solver.ials import FloatArray, Objective, Problem, Solver, initial_items

# Enough to tell regularizations apart: the order of models hardly changes afterwards.
VALIDATION_ITERATIONS = 6

Progress = Callable[[str, int, int], None]


def fit_model(data: Dataset, params: MfParams, context: FitContext) -> tuple[Model, dict[str, Any]]:
    """Learn item factors.

    Returns:
        The model, and facts: ``dimension``, ``regularization``, ``unobserved_weight``, ``half_life_events``,
        ``pairs``; ``validation`` and ``half_life_validation``: nDCG@20 by value, if chosen here; ``index``
        where items are too many to score them all.
    """
    # One BLAS thread a call: sums are then taken in one order whatever the number of threads.
    with threadpool_limits(limits=1, user_api="blas"):
        return _fit(data, params, context)


def _fit(data: Dataset, params: MfParams, context: FitContext) -> tuple[Model, dict[str, Any]]:
    previous = context.previous or {}
    dimension = params.dimension or previous.get("dimension") or default_dimension(data)
    problem = Problem.of(data, params.confidence_power)
    if problem is None:
        model = Model.empty(data.n_items, dimension, Objective(1.0, 1.0, params.nu))
        return model, {"dimension": dimension, "pairs": 0}
    regularization, half_life, tried = _chosen(data, params, context, previous, dimension)
    objective = Objective(params.unobserved_ratio * problem.density, regularization, params.nu)
    items = factorise(problem, objective, dimension, params, context, params.iterations, context.progress)
    facts: dict[str, Any] = {
        "dimension": dimension,
        "regularization": regularization,
        "unobserved_weight": objective.unobserved_weight,
        "half_life_events": half_life,
        "pairs": len(problem.by_user.columns),
        **tried,
    }
    model = Model.of(problem, items, data.n_items, objective, params.confidence_power)
    model = replace(model, half_life_events=half_life)
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
    build = InvertedFileIndex.build
    product = build(model.items, users, queries.excluded, seed=seed)
    itself = Ragged.of(list(anchors[:, None]))
    similar = build(model.items, model.items[anchors], itself, cosine=True, seed=seed)
    return replace(model, product=product, cosine=similar)


def default_dimension(data: Dataset) -> int:
    """The power of two nearest to ``4 sqrt(min(users, items with events))``, within 16..256."""
    liked = data.weights > 0
    smaller = min(len(np.unique(data.users[liked])), len(np.unique(data.items[liked])))
    exponent = round(float(np.log2(4.0 * np.sqrt(max(smaller, 1)))))
    return int(2 ** min(max(exponent, 4), 8))


def factorise(
    problem: Problem,
    objective: Objective,
    dimension: int,
    params: MfParams,
    context: FitContext,
    iterations: int,
    progress: Progress,
) -> FloatArray:
    """Minimise the objective from a random start; item factors, float32, shape (n_items, d)."""
    start = initial_items(len(problem.items), dimension, params.init_stddev, context.seed)
    solver: Solver
    if _wants_cuda(context.device):
        from recserve_mf.solver.gpu import TorchSolver

        solver = TorchSolver(problem, objective, start, "cuda")
    else:
        from recserve_mf.solver.cpu import CpuSolver

        solver = CpuSolver(problem, objective, start, params.cg_steps, context.threads)
    with solver:
        for iteration in range(iterations):
            solver.sweep()
            progress("factorising", iteration + 1, iterations)
        return solver.items


def _chosen(
    data: Dataset,
    params: MfParams,
    context: FitContext,
    previous: Mapping[str, Any],
    dimension: int,
) -> tuple[float, float, dict[str, dict[str, float]]]:
    """Regularization and half-life: configured, else the earlier fit's, else the best on held-out events."""
    regularization = params.regularization or previous.get("regularization")
    half_life = (
        previous.get("half_life_events") if params.half_life_events is None else params.half_life_events
    )
    if regularization is not None and half_life is not None:
        return float(regularization), float(half_life), {}
    validation = Validation.of(data, context.seed)
    if validation is None:
        return float(regularization or REGULARIZATIONS[DEFAULT]), float(half_life or 0.0), {}
    models: dict[float, Model] = {}

    def fit(training: Dataset, value: float) -> Model:
        problem = Problem.of(training, params.confidence_power)
        assert problem is not None, "validation leaves every user at least one positive event"
        objective = Objective(params.unobserved_ratio * problem.density, value, params.nu)
        label = f"trying on held-out events, fit {len(models) + 1}"
        items = factorise(
            problem,
            objective,
            dimension,
            params,
            context,
            min(params.iterations, VALIDATION_ITERATIONS),
            lambda _, done, total: context.progress(label, done, total),
        )
        models[value] = Model.of(problem, items, data.n_items, objective, params.confidence_power)
        return models[value]

    tried: dict[str, dict[str, float]] = {}
    if regularization is None:
        regularization, tried["validation"] = choose_regularization(validation, fit, context.threads)
    if half_life is None:
        model = models.get(regularization) or fit(validation.training, regularization)
        half_life, tried["half_life_validation"] = choose_half_life(validation.steps, model, context.threads)
    return float(regularization), float(half_life), tried


def _wants_cuda(device: str) -> bool:
    if device == "cpu":
        return False
    try:
        import torch
    except ImportError:
        if device == "cuda":
            raise ConfigError(
                "train.device is 'cuda', but torch is not installed; pip install 'recserve-mf[gpu]'",
                field="train.device",
            ) from None
        return False
    available = bool(torch.cuda.is_available())
    if device == "cuda" and not available:
        raise ConfigError(
            "train.device is 'cuda', but torch sees no CUDA device; use 'auto' or 'cpu'",
            field="train.device",
        )
    return available
