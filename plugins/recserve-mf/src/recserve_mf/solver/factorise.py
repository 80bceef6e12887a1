"""One factorisation from a random start, by the solver that suits the device."""

from __future__ import annotations

from collections.abc import Callable

from recserve import ConfigError, FitContext, FloatArray
from recserve_mf.parameters import MfParams
from recserve_mf.solver.ials import Objective, Problem, Solver, initial_items

Progress = Callable[[str, int, int], None]


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
    if wants_cuda(context.device):
        from recserve_mf.solver.gpu import TorchSolver

        solver = TorchSolver(problem, objective, start, "cuda")
    else:
        from recserve_mf.solver.cpu import CpuSolver

        solver = CpuSolver(problem, objective, start, params.cg_steps, context.threads, context.executor)
    with solver:
        for iteration in range(iterations):
            solver.sweep()
            progress("factorising", iteration + 1, iterations)
        return solver.items


def wants_cuda(device: str) -> bool:
    """Whether to factorise on a CUDA device.

    Raises:
        ConfigError: One is demanded, but there is none.
    """
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
