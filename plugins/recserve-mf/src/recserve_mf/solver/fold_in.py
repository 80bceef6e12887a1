"""Exact user vectors from histories at request time, and what each event contributed to a score.

Given item factors, a user's vector is the solution of the same small least-squares problem that
training solves (:mod:`recserve_mf.solver.ials`)::

    (D + H' W H) x = H' w        D = a0 diag(Gramian) + lambda_u I

with one row of H and one entry of w for each distinct item of the history. In the principal axes of
the items D is diagonal, so a history shorter than d is solved through the Woodbury identity as a
system of its own length. NumPy only: nothing to compile, and no torch at serving time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recserve import Float64Array, FloatArray, Histories, Int32Array, Int64Array
from recserve_mf.model import Model

# Numbers (float64) that the systems of one group of users may hold at a time: 32 MB.
GROUP_NUMBERS = 4_000_000
# What counts less than 1 / 2 ** this is left out: it takes time and moves nothing.
_HALVINGS = 8.0


@dataclass(frozen=True, slots=True)
class Liked:
    """Distinct liked items of B users, ragged.

    Attributes:
        offsets: int64, shape (B + 1,).
        items: int32, shape (N,); catalogue rows, ascending within a user.
        confidences: float64, shape (N,); positive, in the unit of training.
    """

    offsets: Int64Array
    items: Int32Array
    confidences: Float64Array

    @property
    def lengths(self) -> Int64Array:
        """Liked items of each user, int64, shape (B,)."""
        return np.diff(self.offsets)


@dataclass(frozen=True, slots=True)
class Group:
    """Solved users of similar history length.

    Attributes:
        users: int64, shape (b,); position of each in the batch.
        items: int32, shape (b, L); liked items, padded.
        real: bool, shape (b, L); False at padding.
        influence: float32, shape (b, L, d); row e is the part of the user vector that comes from
            event e, so the rows sum to the user vector (Hu et al. 2008, section 5).
    """

    users: Int64Array
    items: Int32Array
    real: NDArray[np.bool_]
    influence: FloatArray


class FoldIn:
    """Solves user vectors for fixed item factors.

    Args:
        model: Item factors in principal axes and the constants of their training.
    """

    def __init__(self, model: Model) -> None:
        self._half_life = model.half_life_events
        self._model = model
        self._items = model.items
        self._trained = model.trained
        self._n_trained = int(model.trained.sum())
        self._objective = model.objective
        self._power = model.confidence_power
        self._unit = model.confidence_unit
        gramian = np.einsum("nd,nd->d", model.items, model.items, dtype=np.float64)
        self._diagonal = model.objective.unobserved_weight * gramian

    def liked(self, histories: Histories) -> Liked:
        """The positive events on trained items, summed over repeats of an item."""
        known = histories.known(len(self._items)).positive()
        weights, keep = known.weights.astype(np.float64), self._trained[known.items]
        if self._half_life > 0:
            later = np.repeat(known.offsets[1:], known.lengths) - 1 - np.arange(len(weights))
            keep &= later < _HALVINGS * self._half_life
            weights = weights * np.exp2(-later / self._half_life)
        n_items = max(len(self._items), 1)
        owners, items = known.owners()[keep], known.items[keep].astype(np.int64)
        pairs, where = np.unique(owners * n_items + items, return_inverse=True)
        sums = np.bincount(where, weights=weights[keep], minlength=len(pairs))
        counts = np.bincount(pairs // n_items, minlength=len(histories))
        return Liked(
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            (pairs % n_items).astype(np.int32),
            np.asarray(sums**self._power / self._unit, dtype=np.float64),
        )

    def solve(self, liked: Liked, *, influence: bool = True) -> tuple[FloatArray, list[Group]]:
        """Solve every user of a batch.

        Args:
            liked: What they like.
            influence: Whether to find out which event does what: one right-hand side an event or a dimension
                instead of a single one. Without, there are no groups.

        Returns:
            User vectors (float32, shape (B, d); zero rows for users without a liked item) and the
            groups they were solved in.
        """
        vectors = np.zeros((len(liked.lengths), self._items.shape[1]), dtype=np.float32)
        groups = []
        for users, length in self._batches(liked.lengths):
            rows, real, history, confidence, diagonal = self._systems(liked, users, length)
            if not influence:
                alone = _dual_alone if length <= history.shape[2] else _primal_alone
                vectors[users] = alone(history, confidence, diagonal)
                continue
            solve = _dual if length <= history.shape[2] else _primal
            found = solve(history, confidence, diagonal).astype(np.float32)
            vectors[users] = found.sum(axis=1)
            groups.append(Group(users, rows, real, found))
        return vectors, groups

    def evidence(self, groups: list[Group], items: Int32Array) -> Int32Array:
        """For each retrieved item the liked item that contributed most to its score.

        Args:
            groups: From :meth:`solve`.
            items: int32, shape (B, k); -1 pads.

        Returns:
            int32, shape (B, k); -1 where nothing contributed positively.
        """
        seeds = np.full(items.shape, -1, dtype=np.int32)
        if items.shape[1] == 0:
            return seeds
        for group in groups:
            asked = items[group.users]
            vectors = self._items[np.maximum(asked, 0)]
            contributions = np.matmul(vectors, group.influence.transpose(0, 2, 1))
            contributions[~np.broadcast_to(group.real[:, None, :], contributions.shape)] = -np.inf
            best = contributions.argmax(axis=2)
            positive = np.take_along_axis(contributions, best[:, :, None], axis=2)[:, :, 0] > 0
            rows = np.take_along_axis(group.items, best, axis=1)
            seeds[group.users] = np.where(positive & (asked >= 0), rows, np.int32(-1))
        return seeds

    def _batches(self, lengths: Int64Array) -> Iterator[tuple[Int64Array, int]]:
        """Users of similar length (up to a power of two), cut so that a group stays small."""
        d = self._items.shape[1]
        classes = np.ceil(np.log2(np.maximum(lengths, 1))).astype(np.int64)
        classes[lengths == 0] = -1
        for size in np.unique(classes[classes >= 0]):
            users = np.flatnonzero(classes == size)
            length = int(lengths[users].max())
            numbers = min(length, d) ** 2 + 3 * length * d
            step = max(1, GROUP_NUMBERS // numbers)
            for start in range(0, len(users), step):
                yield users[start : start + step], length

    def _systems(
        self, liked: Liked, users: Int64Array, length: int
    ) -> tuple[Int32Array, NDArray[np.bool_], Float64Array, Float64Array, Float64Array]:
        """Liked items (b, L), which are real, their factors (b, L, d), confidences (b, L), and D (b, d)."""
        position = np.arange(length)
        real = position < liked.lengths[users][:, None]
        index = np.where(real, liked.offsets[users][:, None] + position, 0)
        rows = np.where(real, liked.items[index], 0).astype(np.int32)
        confidence = np.where(real, liked.confidences[index], 0.0)
        history = self._items[rows].astype(np.float64) * real[:, :, None]
        shrinkage = self._objective.scaled_regularization(confidence.sum(axis=1), self._n_trained)
        return rows, real, history, confidence, self._diagonal + shrinkage.astype(np.float64)[:, None]


def _primal_alone(history: Float64Array, confidence: Float64Array, diagonal: Float64Array) -> Float64Array:
    """The sum over events of :func:`_primal`, which is the user: shape (b, d)."""
    weighted = history * confidence[:, :, None]
    system = np.matmul(weighted.transpose(0, 2, 1), history)
    axis = np.arange(system.shape[1])
    system[:, axis, axis] += diagonal
    return np.asarray(np.linalg.solve(system, weighted.sum(axis=1)[:, :, None])[:, :, 0], dtype=np.float64)


def _primal(history: Float64Array, confidence: Float64Array, diagonal: Float64Array) -> Float64Array:
    """``(D + H' W H)^-1 H' W``, transposed: shape (b, L, d). Systems of size d."""
    weighted = history * confidence[:, :, None]
    system = np.matmul(weighted.transpose(0, 2, 1), history)
    axis = np.arange(system.shape[1])
    system[:, axis, axis] += diagonal
    solved = np.linalg.solve(system, weighted.transpose(0, 2, 1))
    return np.asarray(solved.transpose(0, 2, 1), dtype=np.float64)


def _dual_alone(history: Float64Array, confidence: Float64Array, diagonal: Float64Array) -> Float64Array:
    """The sum over events of :func:`_dual`, which is the user: shape (b, d). The system is symmetric."""
    scaled, system = _dual_system(history, confidence, diagonal)
    ones = np.ones((*system.shape[:2], 1))
    shares = np.linalg.solve(system, ones)
    return np.asarray(np.matmul(shares.transpose(0, 2, 1), scaled)[:, 0], dtype=np.float64)


def _dual(history: Float64Array, confidence: Float64Array, diagonal: Float64Array) -> Float64Array:
    """The same as :func:`_primal` by ``(W^-1 + H D^-1 H')^-1 H D^-1``: systems of size L."""
    scaled, system = _dual_system(history, confidence, diagonal)
    return np.asarray(np.linalg.solve(system, scaled), dtype=np.float64)


def _dual_system(
    history: Float64Array, confidence: Float64Array, diagonal: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """``H D^-1``, shape (b, L, d), and ``W^-1 + H D^-1 H'``, shape (b, L, L)."""
    scaled = history / diagonal[:, None, :]
    system = np.matmul(scaled, history.transpose(0, 2, 1))
    event = np.arange(system.shape[1])
    # Padding has no vector: any finite diagonal keeps its rows apart and its influence zero.
    system[:, event, event] += np.where(confidence > 0, 1.0 / np.maximum(confidence, 1e-30), 1.0)
    return scaled, system
