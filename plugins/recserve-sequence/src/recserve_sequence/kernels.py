"""Compiled blend: a query at a time, without arrays of features.

Imported by :func:`recserve.compiled` alone, as it needs numba.
"""

# numba compiles functions from their signatures, which stand above them.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, untyped-decorator, assignment"

from __future__ import annotations

import numba
import numpy as np
from numba import types

RANK_OFFSET = 10.0
_LEAST_SPREAD = 1e-9


def read_only(kind, dimensions):
    """A contiguous array, possibly mapped read-only."""
    return types.Array(kind, dimensions, "C", readonly=True)


_f4, _i4, _i8 = types.float32, types.int32, types.int64
_FLAGS = types.boolean[::1]


@numba.njit(types.void(types.float32[::1], _FLAGS), nogil=True, cache=True)
def _standardise(values, counted):
    """Zero mean and unit deviation over what is counted, 0 elsewhere, in place."""
    count, total = 0, 0.0
    for place in range(len(values)):
        if counted[place]:
            count += 1
            total += values[place]
    mean = total / max(count, 1)
    total = 0.0
    for place in range(len(values)):
        if counted[place]:
            total += (values[place] - mean) ** 2
    spread = np.sqrt(total / max(count, 1))
    if not spread > _LEAST_SPREAD:
        spread = 1.0
    for place in range(len(values)):
        values[place] = (values[place] - mean) / spread if counted[place] else 0.0


@numba.njit(types.void(types.float32[::1], _i8, types.int32[::1]), nogil=True, cache=True)
def _ranks(values, count, found):
    """The place of each of the first ``count`` values among them, the largest at 0, ties in their order.

    Counted, not sorted: a processor compares eight numbers at a time.
    """
    for place in range(count):
        own = values[place]
        rank = 0
        for other in range(place):
            rank += values[other] >= own
        for other in range(place + 1, count):
            rank += values[other] > own
        found[place] = rank


@numba.njit(
    types.void(
        read_only(_i4, 2),
        read_only(_f4, 2),
        read_only(_f4, 2),
        read_only(_f4, 2),
        read_only(types.boolean, 1),
        read_only(_f4, 1),
        read_only(_f4, 3),
        read_only(_f4, 2),
        read_only(_i8, 1),
        read_only(_f4, 1),
        types.float32[:, ::1],
    ),
    nogil=True,
    cache=True,
)
def blend(items, sequence, popularity, similarity, known, length, by_source, fused, places, weights, found):
    """See :meth:`recserve_sequence.blend.Blend.score`; fills ``found``.

    Args:
        items: Shape (B, K).
        sequence: Shape (B, K), as are popularity, similarity and the fused scores.
        popularity: See :class:`recserve_sequence.blend.Signals`, as for all up to the length.
        similarity: Likewise.
        known: Likewise.
        length: Likewise.
        by_source: Shape (B, K, R).
        fused: Scores that retrieval gave.
        places: Which of the R sources each source of the blend is, -1 for none.
        weights: In the order of the features.
        found: Shape (B, K).
    """
    batch, width = items.shape
    valid = np.empty(width, dtype=np.bool_)
    present = np.empty(width, dtype=np.bool_)
    values = np.empty(width, dtype=np.float32)
    packed = np.empty(width, dtype=np.float32)
    where = np.empty(width, dtype=np.int64)
    ranks = np.empty(width, dtype=np.int32)
    for query in range(batch):
        out, long = found[query], length[query]
        for place in range(width):
            valid[place] = items[query, place] >= 0
        if not known[query]:
            for place in range(width):
                values[place] = fused[query, place]
                present[place] = valid[place] and np.isfinite(values[place])
            _standardise(values, present)
            out[:] = values
            continue
        values[:] = sequence[query]
        _standardise(values, valid)
        for place in range(width):
            out[place] = values[place] * weights[0] + values[place] * long * weights[1]
        values[:] = popularity[query]
        _standardise(values, valid)
        for place in range(width):
            out[place] += values[place] * weights[2] + values[place] * long * weights[3]
        values[:] = similarity[query]
        _standardise(values, valid)
        for place in range(width):
            out[place] += values[place] * weights[4]
        for number in range(len(places)):
            if places[number] < 0:
                continue
            own = weights[5 + 4 * number : 9 + 4 * number]
            count = 0
            for place in range(width):
                score = by_source[query, place, places[number]]
                values[place] = score
                present[place] = valid[place] and np.isfinite(score)
                if present[place]:
                    packed[count], where[count] = score, place
                    count += 1
            _ranks(packed, count, ranks)
            _standardise(values, present)
            for index in range(count):
                place = where[index]
                reciprocal = np.float32(RANK_OFFSET / (ranks[index] + RANK_OFFSET))
                out[place] += (
                    values[place] * own[0] + values[place] * long * own[1] + own[2] + reciprocal * own[3]
                )
