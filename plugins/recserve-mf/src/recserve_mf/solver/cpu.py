"""Alternating sweeps on the CPU: Gramian and rotation by BLAS, rows by conjugate gradient.

An executor with several workers solves the rows. Gramians and rotations are a small part of the work and
need all rows at once: they stay with the threads of this process.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from recserve import Executor, FloatArray, InProcess, usable_threads
from recserve_mf.solver.conjugate_gradient import observed_loss
from recserve_mf.solver.ials import Objective, Problem, Side
from recserve_mf.solver.rows import BlockRows, Fixed, RowSolver, ThreadRows

T = TypeVar("T")

# Rows of a block of a Gramian: fixed, so that the order of summation is too.
GRAMIAN_ROWS = 4096


class CpuSolver:
    """Warm-started block coordinate descent, see :class:`recserve_mf.solver.ials.Solver`.

    Use as a context manager: inside, BLAS is held to one thread a call (parallelism comes from
    blocks), which makes results independent of the number of threads and workers.

    Args:
        problem: The observed pairs.
        objective: What to minimise.
        items: Initial item factors, float32, shape (n_items, d); not modified.
        steps: CG steps a row and half sweep.
        threads: Threads; 0 takes as many as this process may use.
        executor: Solves rows where it has several workers.
    """

    def __init__(
        self,
        problem: Problem,
        objective: Objective,
        items: FloatArray,
        steps: int,
        threads: int,
        executor: Executor | None = None,
    ) -> None:
        self._problem = problem
        self._objective = objective
        self._steps = steps
        self._threads = threads or usable_threads()
        self.items = items.copy()
        self.users = np.zeros((len(problem.by_user), items.shape[1]), dtype=np.float32)
        self._user_reg = _regularization(problem.by_user, objective)
        self._item_reg = _regularization(problem.by_item, objective)
        self._pool = ThreadPoolExecutor(self._threads)
        executor = executor or InProcess()
        self._by_user = self._rows(problem.by_user, self._user_reg, executor)
        self._by_item = self._rows(problem.by_item, self._item_reg, executor)

    def __enter__(self) -> Self:
        self._limits = threadpool_limits(limits=1, user_api="blas")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._limits.restore_original_limits()
        self._pool.shutdown()
        self._by_user.release()
        self._by_item.release()

    def sweep(self) -> None:
        """Solve all users for fixed items, then all items for fixed users."""
        self._by_user.solve(self._fix(self.items), self.users)
        self._by_item.solve(self._fix(self.users), self.items)

    def loss(self) -> float:
        """The whole objective at the current factors, float64 sums."""
        side = self._problem.by_user
        observed = self._map(
            lambda start, stop: float(
                observed_loss(self.users, self.items, side.offsets, side.columns, side.weights, start, stop)
            ),
            _blocks(len(self.users)),
        )
        unobserved = np.vdot(self._gramian(self.users), self._gramian(self.items))
        shrinkage = sum(
            float(np.dot(regularization.astype(np.float64), np.square(rows, dtype=np.float64).sum(1)))
            for rows, regularization in (
                (self.users, self._user_reg),
                (self.items, self._item_reg),
            )
        )
        return float(sum(observed) + self._objective.unobserved_weight * float(unobserved) + shrinkage)

    def _rows(self, side: Side, regularization: FloatArray, executor: Executor) -> RowSolver:
        if executor.workers > 1:
            return BlockRows(side, regularization, executor)
        return ThreadRows(side, regularization, self._pool, self._threads)

    def _fix(self, side: FloatArray) -> Fixed:
        """Turn both sides into the principal axes of ``side``, which is to be fixed."""
        strengths, axes = np.linalg.eigh(self._gramian(side))
        turn = axes.astype(np.float32)
        for rows in (self.users, self.items):
            self._map(partial(_turn, rows, turn), _blocks(len(rows)))
        # Rounding can leave a null direction slightly negative.
        scaled = self._objective.unobserved_weight * np.maximum(strengths, 0.0)
        return Fixed(side, np.asarray(scaled, dtype=np.float32), self._steps)

    def _gramian(self, rows: FloatArray) -> NDArray[np.float64]:
        parts = self._map(lambda start, stop: rows[start:stop].T @ rows[start:stop], _blocks(len(rows)))
        return np.asarray(np.sum(parts, axis=0, dtype=np.float64))

    def _map(self, work: Callable[[int, int], T], ranges: list[tuple[int, int]]) -> list[T]:
        return list(self._pool.map(lambda bounds: work(*bounds), ranges))


def _turn(rows: FloatArray, turn: FloatArray, start: int, stop: int) -> None:
    rows[start:stop] = rows[start:stop] @ turn


def _regularization(side: Side, objective: Objective) -> FloatArray:
    return objective.scaled_regularization(side.confidence(), side.n_columns)


def _blocks(n: int) -> list[tuple[int, int]]:
    return [(start, min(start + GRAMIAN_ROWS, n)) for start in range(0, n, GRAMIAN_ROWS)]
