"""How far two events are apart, in events and in time: classes that attention has a bias for."""

from __future__ import annotations

import numpy as np
from recserve_sequence.windows import GAP_BUCKETS, time_buckets

from recserve import BoolArray, Int64Array

TIME_CLASSES = GAP_BUCKETS
"""One for each doubling of seconds."""

RECENT = 100
"""Events that attention reads to answer a query; taste reads the whole window."""

_EXACT = 16
_PER_DOUBLING = 4
_FARTHEST = 1024
DISTANCE_CLASSES = _EXACT + 1 + _PER_DOUBLING * (_FARTHEST // _EXACT).bit_length()
"""One for each distance up to 16 events, then four for each doubling (after T5, Raffel et al. 2020)."""

_steps = np.arange(1, _FARTHEST + 1)
_BY_STEP = np.concatenate(
    [[0], np.where(_steps <= _EXACT, _steps, _EXACT + np.ceil(_PER_DOUBLING * np.log2(_steps / _EXACT)))]
).astype(np.int64)


def distance_classes(asked: Int64Array, length: int) -> Int64Array:
    """Class of the distance from each asked place back to each place, in events.

    Args:
        asked: int64, shape (B, Q); places.
        length: L, of the sequences.

    Returns:
        int64 in [0, DISTANCE_CLASSES), shape (B, Q, L); 0 at places after the asked one.
    """
    back = np.clip(asked[..., None] - np.arange(length), 0, _FARTHEST)
    classes: Int64Array = _BY_STEP[back]
    return classes


def time_classes(times: Int64Array, asked: Int64Array) -> Int64Array:
    """Class of the time from each event back to the asked one.

    Args:
        times: int64, shape (B, L); milliseconds.
        asked: int64, shape (B, Q), or (1, Q) where they are the same; places.

    Returns:
        int64 in [0, TIME_CLASSES), shape (B, Q, L); 1 at events after the asked one.
    """
    own = np.take_along_axis(times, np.broadcast_to(asked, (len(times), asked.shape[1])), axis=1)
    return time_buckets(own[..., None] - times[:, None, :])


def visible(asked: Int64Array, length: int) -> BoolArray:
    """Which places each asked one attends to: itself and those before it, bool, shape (B, Q, L)."""
    seen: BoolArray = np.arange(length) <= asked[..., None]
    return seen
