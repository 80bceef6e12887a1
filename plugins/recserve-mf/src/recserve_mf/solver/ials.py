"""The objective of implicit-feedback matrix factorisation and the alternating loop that minimises it.

Hu, Koren & Volinsky 2008, "Collaborative filtering for implicit feedback datasets", in the form of
Rendle, Krichene, Zhang & Koren 2021, "Revisiting the performance of iALS on item recommendation
benchmarks". With confidences ``c_ui`` of the observed pairs S, user vectors ``x_u`` and item vectors
``h_i``::

    sum_{(u,i) in S} c_ui (1 - x_u.h_i)^2  +  a0 sum_{u,i} (x_u.h_i)^2
        + sum_u lambda_u |x_u|^2  +  sum_i lambda_i |h_i|^2
    lambda_u = lambda (sum_i c_ui + a0 n_items)^nu      (lambda_i alike, with n_users)

Confidences are divided by their mean, so that ``a0`` and ``lambda`` mean the same whatever weights the
event types have. Users and items without a positive event take no part.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from scipy.sparse import csr_array

from recserve import Dataset, FloatArray, Int32Array, Int64Array


@dataclass(frozen=True, slots=True)
class Objective:
    """The hyper-parameters that define the minimum (see the module's formula).

    Attributes:
        unobserved_weight: ``a0``, the weight of every (user, item) pair's pull towards zero.
        regularization: ``lambda``.
        nu: Exponent of the frequency scaling.
    """

    unobserved_weight: float
    regularization: float
    nu: float

    def scaled_regularization(self, confidence: FloatArray, n_others: int) -> FloatArray:
        """``lambda_r`` of rows with these summed confidences against ``n_others`` columns.

        Args:
            confidence: float, shape (n,).
            n_others: Rows of the other side.

        Returns:
            float32, shape (n,).
        """
        frequency = confidence.astype(np.float64) + self.unobserved_weight * n_others
        return (self.regularization * frequency**self.nu).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Side:
    """The observed pairs as seen from the users or from the items: n rows over m columns (CSR).

    Attributes:
        offsets: int64, shape (n + 1,).
        columns: int32, shape (nnz,).
        weights: float32, shape (nnz,); confidences, all positive.
        n_columns: m.
    """

    offsets: Int64Array
    columns: Int32Array
    weights: FloatArray
    n_columns: int

    @classmethod
    def of(cls, matrix: csr_array) -> Side:
        """Take over a CSR matrix with sorted indices."""
        return cls(
            matrix.indptr.astype(np.int64),
            matrix.indices.astype(np.int32),
            matrix.data.astype(np.float32),
            matrix.shape[1],
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def confidence(self) -> FloatArray:
        """Summed confidence of each row, float32, shape (n,)."""
        sums = np.add.reduceat(self.weights.astype(np.float64), self.offsets[:-1])
        return sums.astype(np.float32)

    def pieces(self, count: int) -> list[tuple[int, int]]:
        """Up to ``count`` contiguous row ranges of about equal work; a row itself counts as four events."""
        work = self.offsets + 4 * np.arange(len(self.offsets))
        bounds = np.searchsorted(work, np.linspace(0, work[-1], count + 1)[1:-1])
        edges = np.unique(np.concatenate([[0], bounds, [len(self)]]))
        return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))

    def rows(self, start: int, stop: int) -> Side:
        """Some of the rows, over the same columns."""
        events = slice(self.offsets[start], self.offsets[stop])
        offsets = self.offsets[start : stop + 1] - self.offsets[start]
        return Side(offsets, self.columns[events], self.weights[events], self.n_columns)


@dataclass(frozen=True, slots=True)
class Problem:
    """The observed pairs of one data set, without empty rows and columns.

    Attributes:
        by_user: The pairs, a row a user.
        by_item: The same pairs, a row an item.
        items: int64, shape (m,); catalogue row of each item that has a positive event.
        confidence_unit: The mean confidence that all confidences were divided by.
    """

    by_user: Side
    by_item: Side
    items: Int64Array
    confidence_unit: float

    @property
    def density(self) -> float:
        """Observed pairs over all pairs of users and items that take part."""
        return len(self.by_user.columns) / (len(self.by_user) * len(self.by_item))

    @classmethod
    def of(cls, data: Dataset, confidence_power: float) -> Problem | None:
        """Build from a data set; None when it has no positive event."""
        return cls.of_matrix(data.matrix(), confidence_power)

    @classmethod
    def of_matrix(cls, matrix: csr_array, confidence_power: float) -> Problem | None:
        """Build from summed confidences, shape (n_users, n_items); None when there are none."""
        if matrix.nnz == 0:
            return None
        users = np.flatnonzero(np.diff(matrix.indptr))
        items = np.flatnonzero(np.bincount(matrix.indices, minlength=matrix.shape[1]))
        dense = np.zeros(matrix.shape[1], dtype=np.int32)
        dense[items] = np.arange(len(items))
        damped = matrix.data.astype(np.float64) ** confidence_power
        unit = float(damped.mean())
        compact = csr_array(
            (
                (damped / unit).astype(np.float32),
                dense[matrix.indices],
                np.concatenate([[0], np.cumsum(np.diff(matrix.indptr)[users])]),
            ),
            shape=(len(users), len(items)),
        )
        return cls(Side.of(compact), Side.of(compact.T.tocsr()), items, unit)


class Solver(Protocol):
    """Keeps the factors of both sides and improves them, one alternating sweep at a time.

    Used as a context manager; factors are read inside it.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    @property
    def users(self) -> FloatArray:
        """float32, shape (n_users, d)."""
        ...

    @property
    def items(self) -> FloatArray:
        """float32, shape (n_items, d), in the same basis as :attr:`users`."""
        ...

    def sweep(self) -> None:
        """Solve all users for fixed items, then all items for fixed users."""
        ...


def initial_items(n_items: int, dimension: int, stddev: float, seed: int) -> FloatArray:
    """Normal item factors whose norm is about ``stddev`` whatever the dimension (Rendle et al.)."""
    generator = np.random.default_rng(seed)
    scale = np.float32(stddev / np.sqrt(dimension))
    return generator.standard_normal((n_items, dimension), dtype=np.float32) * scale


def in_principal_axes(items: FloatArray) -> FloatArray:
    """The same item factors, rotated so that their Gramian is diagonal (largest axis first).

    Rotating both sides alike changes no score, so this only picks the basis in which fold-in is
    cheap. Done in float64, so that the weak axes keep their relative precision.

    Args:
        items: float32, shape (n, d).

    Returns:
        float32, shape (n, d), C order.
    """
    wide = items.astype(np.float64)
    _, axes = np.linalg.eigh(wide.T @ wide)
    return np.ascontiguousarray((wide @ axes[:, ::-1]).astype(np.float32))
