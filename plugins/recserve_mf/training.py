"""Fitting: data-dependent settings, choice of solver, final model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from recserve import ConfigError, Dataset, FitContext
from recserve_mf import MfParams
from recserve_mf.ials import FloatArray, Objective, Problem, Solver, initial_items
from recserve_mf.model import Model
from recserve_mf.selection import DEFAULT, REGULARIZATIONS, Validation, choose_regularization

# Enough to tell regularizations apart: the order of models hardly changes afterwards.
VALIDATION_ITERATIONS = 6

Progress = Callable[[str, int, int], None]


def fit_model(data: Dataset, params: MfParams, context: FitContext) -> tuple[Model, dict[str, Any]]:
    """Learn item factors.

    Returns:
        The model, and facts: ``dimension``, ``regularization``, ``unobserved_weight``, ``pairs``,
        and ``validation`` (nDCG@20 by regularization, where it was chosen here).
    """
    # One BLAS thread a call: sums are then taken in one order whatever the number of threads.
    with threadpool_limits(limits=1, user_api="blas"):
        return _fit(data, params, context)


def _fit(data: Dataset, params: MfParams, context: FitContext) -> tuple[Model, dict[str, Any]]:
    prior = context.prior or {}
    dimension = params.dimension or prior.get("dimension") or default_dimension(data)
    problem = Problem.of(data, params.confidence_power)
    if problem is None:
        model = Model.empty(data.n_items, dimension, Objective(1.0, 1.0, params.nu))
        return model, {"dimension": dimension, "pairs": 0}
    regularization, tried = _regularization(data, params, context, prior, dimension)
    objective = Objective(params.unobserved_ratio * problem.density, regularization, params.nu)
    items = factorise(problem, objective, dimension, params, context, params.iterations, context.progress)
    facts: dict[str, Any] = {
        "dimension": dimension,
        "regularization": regularization,
        "unobserved_weight": objective.unobserved_weight,
        "pairs": len(problem.by_user.columns),
    }
    if tried:
        facts["validation"] = tried
    return Model.of(problem, items, data.n_items, objective, params.confidence_power), facts


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
        from recserve_mf.gpu import TorchSolver

        solver = TorchSolver(problem, objective, start, "cuda")
    else:
        from recserve_mf.cpu import CpuSolver

        solver = CpuSolver(problem, objective, start, params.cg_steps, context.threads)
    with solver:
        for iteration in range(iterations):
            solver.sweep()
            progress("factorising", iteration + 1, iterations)
        return solver.items


def _regularization(
    data: Dataset,
    params: MfParams,
    context: FitContext,
    prior: Mapping[str, Any],
    dimension: int,
) -> tuple[float, dict[str, float]]:
    """The configured value, else the earlier fit's, else the best on held-out events."""
    chosen = params.regularization or prior.get("regularization")
    if chosen is not None:
        return float(chosen), {}
    validation = Validation.of(data, context.seed)
    if validation is None:
        return REGULARIZATIONS[DEFAULT], {}
    tried = 0

    def fit(training: Dataset, regularization: float) -> Model:
        nonlocal tried
        tried += 1
        problem = Problem.of(training, params.confidence_power)
        assert problem is not None, "validation leaves every user at least one positive event"
        objective = Objective(params.unobserved_ratio * problem.density, regularization, params.nu)
        label = f"choosing the regularization, try {tried}"
        items = factorise(
            problem,
            objective,
            dimension,
            params,
            context,
            min(params.iterations, VALIDATION_ITERATIONS),
            lambda _, done, total: context.progress(label, done, total),
        )
        return Model.of(problem, items, data.n_items, objective, params.confidence_power)

    return choose_regularization(validation, fit, context.threads)


def _wants_cuda(device: str) -> bool:
    if device == "cpu":
        return False
    import torch

    available = bool(torch.cuda.is_available())
    if device == "cuda" and not available:
        raise ConfigError(
            "train.device is 'cuda', but torch sees no CUDA device; use 'auto' or 'cpu'",
            field="train.device",
        )
    return available
