"""Clustering of users into groups, so that a bundle holds nothing about a single person.

A set of people is halved along the direction in which they differ most, again and again, until a group
could not be halved without becoming too small (multidimensional partitioning as for k-anonymity, LeFevre
et al. 2006, on tastes instead of columns). A group likes what enough of its people like, as much as they
do on average.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from recserve import Executor, Float64Array, InProcess, Int64Array
from recserve_neighbours.weighting import inverse_frequency, norms

DIMENSIONS = 24
_SWEEPS = 4
_REFINEMENTS = 12
# Sets of people that a worker gets to halve further: enough to even out a busy one.
SETS_A_WORKER = 4


def pooled(
    matrix: csr_array, group_size: int, shared_by: int, seed: int, executor: Executor | None = None
) -> csr_array:
    """What groups of people like.

    Args:
        matrix: CSR, float32, one row a person; how much each likes each item, positive.
        group_size: People a group has at least.
        shared_by: People of a group that like an item at least, or the group does not.
        seed: Of the start of the decomposition that people are compared in.
        executor: Forms the groups.

    Returns:
        CSR, float32, one row a group: the mean over its people, others than those who like an item
        counting 0. No row if there are fewer people than one group needs. People who like nothing are in
        no group.
    """
    people = np.flatnonzero(np.diff(matrix.indptr))
    if len(people) < group_size:
        return csr_array((0, matrix.shape[1]), dtype=np.float32)
    chosen = csr_array(matrix[people])
    # One BLAS thread: sums are then taken in one order whatever the number of threads.
    with threadpool_limits(limits=1, user_api="blas"):
        groups = partition(coordinates(chosen, seed), group_size, executor)
    n_groups = int(groups.max()) + 1
    member = csr_array(
        (np.ones(len(people), dtype=np.float32), (groups, np.arange(len(people)))),
        shape=(n_groups, len(people)),
    )
    sums = csr_array(member @ chosen)
    likes = csr_array((np.ones_like(chosen.data), chosen.indices, chosen.indptr), shape=chosen.shape)
    support = csr_array(member @ likes)
    sums.sort_indices()
    support.sort_indices()
    owners = np.repeat(np.arange(n_groups), np.diff(sums.indptr))
    keep = support.data >= shared_by
    means = sums.data / np.bincount(groups, minlength=n_groups).astype(np.float32)[owners]
    return csr_array((means[keep], (owners[keep], sums.indices[keep])), shape=sums.shape)


def coordinates(matrix: csr_array, seed: int) -> Float64Array:
    """Where people are among each other: leading singular directions of their weighted, unit-length rows.

    Returns:
        float64, shape (people, d), d <= :data:`DIMENSIONS`.
    """
    weighted = csr_array(
        (matrix.data * inverse_frequency(matrix)[matrix.indices], matrix.indices, matrix.indptr),
        shape=matrix.shape,
    )
    lengths = np.maximum(norms(weighted), np.float32(1e-12)).astype(np.float64)
    weighted.data /= np.repeat(lengths, np.diff(weighted.indptr))
    width = min(DIMENSIONS, *weighted.shape)
    basis = np.random.default_rng(seed).standard_normal((weighted.shape[1], width))
    for _ in range(_SWEEPS):
        basis = np.linalg.qr(weighted.T @ (weighted @ basis))[0]
    return np.asarray(weighted @ basis, dtype=np.float64)


def partition(points: Float64Array, group_size: int, executor: Executor | None = None) -> Int64Array:
    """Halve a set of points until every part has ``group_size`` to ``2 * group_size - 1`` of them.

    Args:
        points: float64, shape (n, d), n >= group_size.
        group_size: At least 1.
        executor: Goes on with what few halvings left, each by itself.

    Returns:
        int64, shape (n,): the part of each point, 0..parts-1.
    """
    executor = executor or InProcess()
    most = len(points)
    if executor.workers > 1:
        most = max(len(points) // (executor.workers * SETS_A_WORKER), 2 * group_size)
    sets = _halve(points, group_size, most)
    groups = np.empty(len(points), dtype=np.int64)
    done = 0
    parts = ((points[members], group_size) for members in sets)
    for members, found in zip(sets, executor.map(groups_of, parts), strict=True):
        groups[members] = done + found
        done += int(found.max()) + 1
    return groups


def groups_of(part: tuple[Float64Array, int]) -> Int64Array:
    """Groups of a set of points by itself; see :func:`partition`."""
    points, group_size = part
    groups = np.empty(len(points), dtype=np.int64)
    # One BLAS thread: sums are then taken in one order whatever the number of threads.
    with threadpool_limits(limits=1, user_api="blas"):
        for number, members in enumerate(_halve(points, group_size, 0)):
            groups[members] = number
    return groups


def _halve(points: Float64Array, group_size: int, most: int) -> list[Int64Array]:
    """Halve a set of points until each has at most ``most`` of them, or too few for two groups."""
    pending = [np.arange(len(points))]
    sets: list[Int64Array] = []
    while pending:
        members = pending.pop()
        parts = len(members) // group_size
        if parts <= 1 or len(members) <= most:
            sets.append(members)
            continue
        # Where the parts come out as equal as they can.
        cut = len(members) * (parts // 2) // parts
        order = _halved(points, members, cut)
        pending += [order[cut:], order[:cut]]
    return sets


def _halved(points: Float64Array, members: Int64Array, cut: int) -> Int64Array:
    """Members in such an order that the first ``cut`` of them are alike, and the others are.

    Starts along the direction of largest variance; then halves and the direction between their means are
    taken in turn, as in k-means with two clusters of fixed sizes.
    """
    centred = points[members] - points[members].mean(axis=0)
    direction = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    order = np.argsort(centred @ direction, kind="stable")
    for _ in range(_REFINEMENTS):
        between = centred[order[cut:]].mean(axis=0) - centred[order[:cut]].mean(axis=0)
        better = np.argsort(centred @ between, kind="stable")
        if np.array_equal(np.sort(better[:cut]), np.sort(order[:cut])):
            break
        order = better
    return members[order]
