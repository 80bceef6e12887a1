"""Compiled kernels: top-k selection, sparse products, rank fusion, products of gathered rows.

Each does for one batch what the NumPy code beside its caller does, in the same order where the order of
additions matters, without arrays of the size of batch times catalogue. Imported by
:func:`recserve.data.system.compilation.compiled` alone.

A score and a row become one unsigned number, so that what is larger comes first and of equal scores the lower
row: such keys are compared, selected and sorted without looking anything up.
"""

# numba compiles functions from their signatures, which stand above them.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, untyped-decorator"

from __future__ import annotations

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_f4, _f8, _i4, _i8, _u4, _u8 = (
    types.float32,
    types.float64,
    types.int32,
    types.int64,
    types.uint32,
    types.uint64,
)


def _read(kind, dimensions):
    """A contiguous array, possibly mapped read-only."""
    return types.Array(kind, dimensions, "C", readonly=True)


_COMPILE = {"nogil": True, "cache": True}

# The best are selected whenever so many times k have been collected.
_COLLECTED = 4


@intrinsic
def _bits_of(context, score):
    """The bits of a float32 as an unsigned number."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return _u4(_f4), generate


@numba.njit(_u8(_f4, _i8), **_COMPILE)
def _key(score, row):
    """Larger for a larger score and, of equal ones, for a lower row."""
    bits = _bits_of(score + np.float32(0.0))  # there is one zero
    bits = ~bits if bits >> np.uint32(31) else bits | np.uint32(0x80000000)
    return (np.uint64(bits) << np.uint64(32)) | np.uint64(0xFFFFFFFF - row)


@numba.njit(_i8(_u8), **_COMPILE)
def _row(key):
    """The row of a key."""
    return np.int64(0xFFFFFFFF - (key & np.uint64(0xFFFFFFFF)))


@numba.njit(types.void(types.uint64[::1], _i8, _i8), **_COMPILE)
def _select(keys, count, k):
    """Quickselect of distinct keys: the k largest of the first ``count`` to the front, their least last."""
    low, high, wanted = 0, count - 1, k - 1
    while low < high:
        a, b, c = keys[low], keys[(low + high) >> 1], keys[high]
        pivot = max(min(a, b), min(max(a, b), c))
        left, right = low, high
        while left <= right:
            while keys[left] > pivot:
                left += 1
            while keys[right] < pivot:
                right -= 1
            if left <= right:
                keys[left], keys[right] = keys[right], keys[left]
                left += 1
                right -= 1
        if wanted <= right:
            high = right
        elif wanted >= left:
            low = left
        else:
            break


@numba.njit(_i8(types.uint64[::1], _i8, _i8), **_COMPILE)
def _best_first(keys, count, k):
    """Sort the k largest keys, or all if there are fewer, into descending order at the front; how many."""
    if count > k:
        _select(keys, count, k)
        count = k
    found = keys[:count]
    found.sort()
    for place in range(count >> 1):
        other = count - 1 - place
        found[place], found[other] = found[other], found[place]
    return count


@numba.njit(_i8(types.float32[::1], _f4, _i8, types.uint64[::1]), **_COMPILE)
def _collect(line, worst, k, keys):
    """Keys of the k best scores above ``worst``, best first, at the front of ``keys``; how many."""
    count = 0
    for row in range(len(line)):
        # A later row with the score of the worst kept one would come after it.
        if line[row] > worst:
            keys[count] = _key(line[row], row)
            count += 1
            if count == len(keys):
                _select(keys, count, k)
                worst = line[_row(keys[k - 1])]
                count = k
    return _best_first(keys, count, k)


_SPARSE = (_read(_i4, 1), _read(_i4, 1), _read(_f4, 1))


@numba.njit(
    types.void(
        *_SPARSE,
        *_SPARSE,
        _read(types.boolean, 2),
        _read(_i4, 1),
        _read(_i8, 1),
        _read(_i4, 1),
        _i8,
        types.int32[:, ::1],
        types.float32[:, ::1],
    ),
    **_COMPILE,
)
def top_k_of_products(
    starts,
    columns,
    values,
    right_starts,
    right_columns,
    right_values,
    masks,
    mask_of,
    offsets,
    barred,
    k,
    items,
    best,
):
    """See :func:`recserve.plugin.toolkit.topk.top_k_of_products`; both matrices are CSR.

    ``masks[mask_of[query]]`` says what may be returned to a query, -1 stands for everything;
    ``barred[offsets[query]:offsets[query + 1]]`` must not be.
    """
    n_items = masks.shape[1]
    sums = np.empty(n_items, dtype=np.float32)
    keys = np.empty(_COLLECTED * k + 1, dtype=np.uint64)
    for query in range(len(starts) - 1):
        sums[:] = 0
        for entry in range(starts[query], starts[query + 1]):
            weight = values[entry]
            begin, end = right_starts[columns[entry]], right_starts[columns[entry] + 1]
            near, close = right_columns[begin:end], right_values[begin:end]
            for place in range(len(near)):
                sums[np.uint32(near[place])] += weight * close[place]
        for place in range(offsets[query], offsets[query + 1]):
            if 0 <= barred[place] < n_items:
                sums[barred[place]] = 0
        if mask_of[query] >= 0:
            mask = masks[mask_of[query]]
            for item in range(n_items):
                sums[item] = sums[item] if mask[item] else np.float32(0)
        for place in range(_collect(sums, np.float32(0), k, keys)):
            item = _row(keys[place])
            items[query, place] = item
            best[query, place] = sums[item]


@numba.njit(
    types.void(_read(_f4, 2), _read(_f4, 2), _read(_i4, 2), _read(_f4, 2), types.float32[:, ::1]),
    fastmath=True,
    **_COMPILE,
)
def products(vectors, extra, rows, directions, found):
    """See :meth:`recserve.data.catalogue.Catalogue.products`; fills ``found``, whose pads stay 0."""
    known = len(vectors)
    for query in range(len(rows)):
        direction = directions[query]
        for place in range(rows.shape[1]):
            row = rows[query, place]
            if row < 0 or row >= known + len(extra):
                continue
            vector = vectors[row] if row < known else extra[row - known]
            total = np.float32(0.0)
            for axis in range(len(direction)):
                total += vector[axis] * direction[axis]
            found[query, place] = total


_SLOT = np.uint64(11400714819323198485)


@numba.njit(_i8(types.int64[::1], types.int32[::1], _i8, _i8), **_COMPILE)
def _slot_of(table, found, item, count):
    """The slot of an item among the first ``count`` of ``found``; it gets the next one if it has none.

    Open addressing: ``table`` holds slots, or -1, and its length is a power of two.
    """
    place = np.int64((np.uint64(item) * _SLOT) >> np.uint64(32)) & (len(table) - 1)
    while table[place] >= 0 and found[table[place]] != item:
        place = (place + 1) & (len(table) - 1)
    if table[place] < 0:
        table[place] = count
        found[count] = item
    return table[place]


@numba.njit(
    _i8(
        _read(_i4, 2),
        _read(_f4, 2),
        _read(_i4, 2),
        _read(_i8, 1),
        _read(_f8, 2),
        _f8,
        types.int32[:, ::1],
        types.float32[:, ::1],
        types.float32[:, :, ::1],
        types.int32[:, ::1],
    ),
    **_COMPILE,
)
def fuse(
    items, scores, evidence, begins, weights, constant, out_items, out_scores, out_by_source, out_evidence
):
    """See :func:`recserve.serving.stages.fusion.merge`; returns the candidates of the longest row.

    Columns ``begins[r]:begins[r + 1]`` are those of retriever r, whose weights are ``weights[:, r]``. The
    outputs are filled with what pads hold, and as wide as the budget.
    """
    batch, width = items.shape
    sources, budget, longest = weights.shape[1], out_items.shape[1], 0
    size = 2
    while size < 2 * width:
        size *= 2
    table = np.empty(size, dtype=np.int64)
    found = np.empty(width, dtype=np.int32)
    fused = np.empty(width, dtype=np.float64)
    most = np.empty(width, dtype=np.float64)
    why = np.empty(width, dtype=np.int32)
    by_source = np.empty((width, sources), dtype=np.float32)
    keys = np.empty(width, dtype=np.uint64)
    order = np.empty(width, dtype=np.int64)
    for query in range(batch):
        table[:] = -1
        count = 0
        for source in range(sources):
            for column in range(begins[source], begins[source + 1]):
                item = items[query, column]
                if item < 0:
                    continue
                gain = weights[query, source] / (constant + 1.0 + (column - begins[source]))
                slot = _slot_of(table, found, item, count)
                if slot == count:
                    count += 1
                    fused[slot], most[slot], why[slot] = 0.0, -np.inf, -1
                    by_source[slot] = np.nan
                fused[slot] += gain
                by_source[slot, source] = scores[query, column]
                if evidence[query, column] != -1 and gain >= most[slot]:
                    most[slot], why[slot] = gain, evidence[query, column]
        for slot in range(count):
            keys[slot] = _key(np.float32(fused[slot]), found[slot])
        kept = keys[:count]
        kept.sort()
        for place in range(count):
            order[place] = _slot_of(table, found, _row(kept[count - 1 - place]), count)
        # Keys hold single precision: what is equal in it may have to change places.
        for place in range(1, count):
            slot = order[place]
            before = place - 1
            while before >= 0 and (
                fused[order[before]] < fused[slot]
                or (fused[order[before]] == fused[slot] and found[order[before]] > found[slot])
            ):
                order[before + 1] = order[before]
                before -= 1
            order[before + 1] = slot
        for place in range(min(count, budget)):
            slot = order[place]
            out_items[query, place] = found[slot]
            out_scores[query, place] = fused[slot]
            out_by_source[query, place] = by_source[slot]
            out_evidence[query, place] = why[slot]
        longest = max(longest, min(count, budget))
    return longest
