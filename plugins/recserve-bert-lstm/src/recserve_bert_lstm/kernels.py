"""Compiled user states: a query at a time, without many small steps of torch.

Imported by :func:`recserve.compiled` alone, as it needs numba.
"""

# numba compiles functions from their signatures, which stand above them.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, untyped-decorator, assignment"

from __future__ import annotations

import numba
import numpy as np
from numba import types
from recserve_sequence.kernels import read_only

# What an event weighs less than this moves nothing in single precision.
_FADED = 1e-12


_f4, _i8 = types.float32, types.int64


@numba.njit(types.void(types.float32[::1], read_only(_f4, 2), types.float32[::1]), nogil=True, cache=True)
def _add_product(found, matrix, vector):
    """Add ``vector @ matrix`` to ``found``."""
    for row in range(len(vector)):
        line, factor = matrix[row], vector[row]
        for column in range(len(found)):
            found[column] += factor * line[column]


@numba.njit(_f4(_f4), nogil=True, cache=True)
def _sigmoid(value):
    return np.float32(1.0) / (np.float32(1.0) + np.exp(-value))


@numba.njit(
    types.void(
        read_only(_f4, 2),
        read_only(_i8, 2),
        read_only(_i8, 2),
        read_only(_f4, 2),
        read_only(_i8, 2),
        read_only(_i8, 1),
        _i8,
        *(read_only(_f4, 2),) * 3,
        *(read_only(_f4, 1),) * 2,
        types.float64,
        *(read_only(_f4, 2),) * 2,
        read_only(_f4, 1),
        read_only(_f4, 2),
        read_only(_f4, 1),
        read_only(types.float64, 1),
        read_only(_f4, 2),
        types.float32[:, ::1],
    ),
    nogil=True,
    cache=True,
)
def last_states(
    matrix,
    items,
    events,
    weights,
    gaps,
    lengths,
    recent,
    event_types,
    gap_table,
    confidence,
    norm_weight,
    norm_bias,
    epsilon,
    from_input,
    from_hidden,
    bias,
    output,
    output_bias,
    decays,
    taste_scale,
    found,
):
    """See :meth:`recserve_bert_lstm.network.LstmNetwork.last_states`, for few sequences; fills ``found``.

    Args:
        matrix: Item vectors, shape (n_items, width).
        items: Rows of the matrix, shape (B, L), as are events, weights and gaps.
        events: See :class:`recserve_sequence.windows.Padded`, as for all up to the lengths.
        weights: Likewise.
        gaps: Likewise.
        lengths: Likewise.
        recent: Newest events that the LSTM reads.
        event_types: Shape (types, width).
        gap_table: Shape (GAP_BUCKETS, width).
        confidence: Shape (1, width).
        norm_weight: Of the layer normalisation, as is the bias, shape (width,).
        norm_bias: Likewise.
        epsilon: Of the layer normalisation.
        from_input: Weights of the LSTM, transposed, shape (width, 4 * width), gates i, f, g, o.
        from_hidden: Likewise.
        bias: The sum of both biases, shape (4 * width,).
        output: Transposed, shape (width, width).
        output_bias: Shape (width,).
        decays: Of the means of what was liked.
        taste_scale: Shape (decays, width).
        found: Zeros, shape (B, width).
    """
    width = matrix.shape[1]
    read = np.empty(width, dtype=np.float32)
    hidden = np.empty(width, dtype=np.float32)
    cell = np.empty(width, dtype=np.float32)
    gates = np.empty(4 * width, dtype=np.float32)
    sums = np.empty((len(decays), width), dtype=np.float32)
    for query in range(len(lengths)):
        length = lengths[query]
        if not length:
            continue
        hidden[:] = 0
        cell[:] = 0
        for step in range(max(length - recent, 0), length):
            vector = matrix[items[query, step]]
            mean, spread = 0.0, 0.0
            for axis in range(width):
                mean += vector[axis]
            mean /= width
            for axis in range(width):
                spread += (vector[axis] - mean) ** 2
            scale = 1.0 / np.sqrt(spread / width + epsilon)
            kind = event_types[min(max(events[query, step], 0), len(event_types) - 1)]
            gap = gap_table[gaps[query, step]]
            strength = min(max(weights[query, step], np.float32(-5.0)), np.float32(5.0))
            for axis in range(width):
                normed = np.float32((vector[axis] - mean) * scale) * norm_weight[axis] + norm_bias[axis]
                read[axis] = normed + kind[axis] + gap[axis] + strength * confidence[0, axis]
            gates[:] = bias
            _add_product(gates, from_input, read)
            _add_product(gates, from_hidden, hidden)
            for axis in range(width):
                enters, stays = _sigmoid(gates[axis]), _sigmoid(gates[width + axis])
                leaves = _sigmoid(gates[3 * width + axis])
                cell[axis] = stays * cell[axis] + enters * np.tanh(gates[2 * width + axis])
                hidden[axis] = leaves * np.tanh(cell[axis])
        state = found[query]
        state[:] = output_bias
        _add_product(state, output, hidden)
        sums[:] = 0
        for number in range(len(decays)):
            mean_of, count, faded = sums[number], 0.0, 1.0
            for step in range(length - 1, -1, -1):
                if weights[query, step] > 0:
                    vector = matrix[items[query, step]]
                    share = np.float32(faded)
                    count += share
                    for axis in range(width):
                        mean_of[axis] += share * vector[axis]
                faded *= decays[number]
                if faded < _FADED:
                    break
            if count > 0:
                for axis in range(width):
                    state[axis] += mean_of[axis] / np.float32(count) * taste_scale[number, axis]
