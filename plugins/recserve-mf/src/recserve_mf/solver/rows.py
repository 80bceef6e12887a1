"""Solvers of all rows of one side for the fixed other side: by threads, or by the workers of an executor.

Rows are independent and each is computed in a fixed order, so both give the same bits.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from recserve import Executor, FloatArray
from recserve_mf.solver.conjugate_gradient import solve_rows
from recserve_mf.solver.ials import Side

# Pieces of equal work that a thread or worker gets of a half sweep: enough to even out a busy core.
PIECES_EACH = 8


@dataclass(frozen=True, slots=True)
class Fixed:
    """The side that a half sweep leaves alone.

    Attributes:
        rows: float32, shape (m, d), C order; in their principal axes.
        diagonal: float32, shape (d,); unobserved weight times the Gramian's diagonal.
        steps: Most CG steps a row of the other side.
    """

    rows: FloatArray
    diagonal: FloatArray
    steps: int


class RowSolver(Protocol):
    """Solver of all rows of one side."""

    def solve(self, fixed: Fixed, out: FloatArray) -> None:
        """Improve all rows in place; ``out`` is float32, shape (n, d), C order."""
        ...

    def release(self) -> None:
        """Let go of what is shared with workers."""
        ...


class ThreadRows:
    """Row solver by threads of this process.

    Args:
        side: The observed pairs, n rows.
        regularization: float32, shape (n,).
        pool: Threads.
        threads: How many.
    """

    def __init__(
        self, side: Side, regularization: FloatArray, pool: ThreadPoolExecutor, threads: int
    ) -> None:
        self._side = side
        self._regularization = regularization
        self._pool = pool
        self._pieces = side.pieces(threads * PIECES_EACH)

    def solve(self, fixed: Fixed, out: FloatArray) -> None:
        """See :class:`RowSolver`."""

        def solve(bounds: tuple[int, int]) -> None:
            _solve(self._side, self._regularization, fixed, out, *bounds)

        list(self._pool.map(solve, self._pieces))

    def release(self) -> None:
        """Nothing is shared."""


class BlockRows:
    """Row solver by the workers of an executor.

    The observed pairs travel once: each block of rows is shared by itself, so that no node has to hold all
    pairs. In each half sweep travel the fixed side, once to a node, and the rows of a block there and back.

    Args:
        side: The observed pairs, n rows.
        regularization: float32, shape (n,).
        executor: Solves blocks.
        blocks: Most blocks; default: a few for each worker.
    """

    def __init__(
        self, side: Side, regularization: FloatArray, executor: Executor, blocks: int | None = None
    ) -> None:
        self._regularization = regularization
        self._executor = executor
        self._pieces = side.pieces(blocks or executor.workers * PIECES_EACH)
        self._pairs = [executor.share(side.rows(start, stop)) for start, stop in self._pieces]

    def solve(self, fixed: Fixed, out: FloatArray) -> None:
        """See :class:`RowSolver`."""
        parts = (
            (pairs, self._regularization[start:stop], out[start:stop])
            for pairs, (start, stop) in zip(self._pairs, self._pieces, strict=True)
        )
        shared = self._executor.share(fixed)
        try:
            solved = self._executor.map(solve_block, parts, shared)
            for (start, stop), rows in zip(self._pieces, solved, strict=True):
                out[start:stop] = rows
        finally:
            shared.release()

    def release(self) -> None:
        """Let go of the observed pairs."""
        for pairs in self._pairs:
            pairs.release()


def solve_block(part: tuple[Side, FloatArray, FloatArray], fixed: Fixed) -> FloatArray:
    """Solve a block of rows.

    Args:
        part: Observed pairs of n rows; their regularization, float32 (n,); where they start, float32 (n, d).
        fixed: The other side.

    Returns:
        float32, shape (n, d).
    """
    side, regularization, before = part
    rows = before.copy()
    _solve(side, regularization, fixed, rows, 0, len(rows))
    return rows


def _solve(
    side: Side, regularization: FloatArray, fixed: Fixed, out: FloatArray, start: int, stop: int
) -> None:
    solve_rows(
        fixed.rows,
        side.offsets,
        side.columns,
        side.weights,
        fixed.diagonal,
        regularization,
        out,
        start,
        stop,
        fixed.steps,
    )
