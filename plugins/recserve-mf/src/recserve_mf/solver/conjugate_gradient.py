"""The CPU solver: preconditioned conjugate gradient for many small least-squares problems.

Both sides of the factorisation are kept in the principal axes of the fixed side, where the Gramian is
diagonal. A row's normal equations are then *diagonal plus low rank*: multiplying by them costs
O(events x d) instead of O(d^2 + events x d), and the diagonal is an excellent preconditioner, so that
a handful of steps is practically exact. (Takacs, Pilaszy & Tikk 2011, "Applications of the conjugate
gradient method for implicit feedback collaborative filtering", uses CG without this change of basis.)

Rows are independent and each is computed in a fixed order, so the result does not depend on how rows
are shared out over threads.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import types

# A row whose remaining error, measured in the objective, is below this share of the row's total
# confidence has converged: further steps only move float32 rounding.
CONVERGED = np.float32(1e-9)

# Read-only, as what is shared with other processes; writable arrays are accepted as well.
_FACTORS = types.Array(types.float32, 2, "C", readonly=True)
_VALUES = types.Array(types.float32, 1, "C", readonly=True)
_COLUMNS = types.Array(types.int32, 1, "C", readonly=True)
_OFFSETS = types.Array(types.int64, 1, "C", readonly=True)
_ROW, _ROWS = types.float32[::1], types.float32[:, ::1]
_INDEX = types.int64


@numba.njit(
    types.void(_FACTORS, _COLUMNS, _VALUES, _INDEX, _INDEX, _ROW, types.float32, _ROW),
    nogil=True,
    fastmath=True,
    cache=True,
)
def _add_errors(  # type: ignore[no-untyped-def]  # numba compiles it from the signature above
    fixed, columns, weights, begin, end, x, target, out
):
    """``out += sum_e w_e (target - h_e.x) h_e`` over events ``begin:end``; ``h_e = fixed[columns[e]]``.

    Four events at a time: ``x`` and ``out`` are then read and written once for four vectors, and the
    vectors are still in the nearest cache when they are added up.
    """
    d = fixed.shape[1]
    whole = end - (end - begin) % 4
    for e in range(begin, whole, 4):
        h0, h1 = fixed[columns[e]], fixed[columns[e + 1]]
        h2, h3 = fixed[columns[e + 2]], fixed[columns[e + 3]]
        s0 = s1 = s2 = s3 = np.float32(0.0)
        for f in range(d):
            s0 += h0[f] * x[f]
            s1 += h1[f] * x[f]
            s2 += h2[f] * x[f]
            s3 += h3[f] * x[f]
        s0 = weights[e] * (target - s0)
        s1 = weights[e + 1] * (target - s1)
        s2 = weights[e + 2] * (target - s2)
        s3 = weights[e + 3] * (target - s3)
        for f in range(d):
            out[f] += s0 * h0[f] + s1 * h1[f] + s2 * h2[f] + s3 * h3[f]
    for e in range(whole, end):
        h0 = fixed[columns[e]]
        s0 = np.float32(0.0)
        for f in range(d):
            s0 += h0[f] * x[f]
        s0 = weights[e] * (target - s0)
        for f in range(d):
            out[f] += s0 * h0[f]


@numba.njit(
    types.void(_FACTORS, _OFFSETS, _COLUMNS, _VALUES, _VALUES, _VALUES, _ROWS, _INDEX, _INDEX, _INDEX),
    nogil=True,
    fastmath=True,
    cache=True,
)
def solve_rows(  # type: ignore[no-untyped-def]  # numba compiles it from the signature above
    fixed, offsets, columns, weights, diagonal, regularization, out, start, stop, steps
):
    """Improve rows ``start:stop`` of ``out`` in place by up to ``steps`` CG steps (warm start).

    Row r minimises ``sum_e w_e (1 - h_e.x)^2 + x.diag(diagonal).x + regularization[r] |x|^2`` over
    its events e, where ``h_e = fixed[columns[e]]``.

    Args:
        fixed: float32, shape (m, d), C order; the other side, in its principal axes.
        offsets: int64, shape (n + 1,); CSR row offsets.
        columns: int32, shape (nnz,); rows of ``fixed``.
        weights: float32, shape (nnz,); positive confidences.
        diagonal: float32, shape (d,); unobserved weight times the Gramian's diagonal.
        regularization: float32, shape (n,).
        out: float32, shape (n, d), C order; starting point and result.
        start: First row.
        stop: Row after the last.
        steps: Most CG steps a row.
    """
    d = fixed.shape[1]
    shifted = np.empty(d, dtype=np.float32)
    inverse = np.empty(d, dtype=np.float32)
    residual = np.empty(d, dtype=np.float32)
    direction = np.empty(d, dtype=np.float32)
    descent = np.empty(d, dtype=np.float32)
    shift = np.float32(-1.0)  # no row has it
    for row in range(start, stop):
        x = out[row]
        begin, end = offsets[row], offsets[row + 1]
        if regularization[row] != shift:  # many rows in succession may have the same
            shift = regularization[row]
            for f in range(d):
                shifted[f] = diagonal[f] + shift
                inverse[f] = np.float32(1.0) / shifted[f]
        for f in range(d):
            residual[f] = -shifted[f] * x[f]
        _add_errors(fixed, columns, weights, begin, end, x, np.float32(1.0), residual)
        energy = np.float32(0.0)
        for f in range(d):
            direction[f] = residual[f] * inverse[f]
            energy += residual[f] * direction[f]
        total = np.float32(0.0)
        for e in range(begin, end):
            total += weights[e]
        for _ in range(steps):
            if energy <= CONVERGED * total:
                break
            # The system times -direction: how the residual falls along the direction.
            for f in range(d):
                descent[f] = -shifted[f] * direction[f]
            _add_errors(fixed, columns, weights, begin, end, direction, np.float32(0.0), descent)
            curvature = np.float32(0.0)
            for f in range(d):
                curvature -= direction[f] * descent[f]
            length = energy / curvature
            previous = energy
            energy = np.float32(0.0)
            for f in range(d):
                x[f] += length * direction[f]
                residual[f] += length * descent[f]
                energy += residual[f] * residual[f] * inverse[f]
            ratio = energy / previous
            for f in range(d):
                direction[f] = residual[f] * inverse[f] + ratio * direction[f]


@numba.njit(
    types.float64(_FACTORS, _FACTORS, _OFFSETS, _COLUMNS, _VALUES, _INDEX, _INDEX),
    nogil=True,
    fastmath=True,
    cache=True,
)
def observed_loss(  # type: ignore[no-untyped-def]  # numba compiles it from the signature above
    rows, fixed, offsets, columns, weights, start, stop
):
    """``sum_e w_e (1 - h_e.x)^2`` over the events of rows ``start:stop``, in float64."""
    d = fixed.shape[1]
    loss = 0.0
    for row in range(start, stop):
        x = rows[row]
        for e in range(offsets[row], offsets[row + 1]):
            h = fixed[columns[e]]
            dot = np.float32(0.0)
            for f in range(d):
                dot += h[f] * x[f]
            miss = 1.0 - np.float64(dot)
            loss += weights[e] * miss * miss
    return loss
