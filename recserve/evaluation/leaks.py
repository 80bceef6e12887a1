"""Leak checks: what must hold between training data, inputs and answers of any split.

They look at the arrays of the split itself rather than at how it was made, and run before every
evaluation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recserve.errors import DataError

if TYPE_CHECKING:
    from recserve.evaluation.splits import Split


class LeakError(DataError):
    """The model or its input would see what it is asked to predict."""

    code = "leak"


def check_leaks(split: Split) -> None:
    """Refuse a split whose figures could not be trusted.

    Raises:
        LeakError: In a temporal split an event of the training data or of a query's input is not
            older than what is to be predicted; or, in any split, a query's answer is in its own
            input or among its user's training events.
    """
    if split.temporal:
        _check_times(split)
    _check_answers(split)


def _check_times(split: Split) -> None:
    newest, oldest = int(split.training.timestamps.max()), int(split.times.min())
    if newest >= oldest:
        raise LeakError(
            f"leak: the newest training event ({_date(newest)}) is not older than the oldest test "
            f"event ({_date(oldest)})"
        )
    asked = np.flatnonzero(split.ends > split.starts)
    inputs = split.timeline.timestamps[split.ends[asked] - 1]
    late = asked[inputs >= split.times[asked]]
    if len(late):
        raise LeakError(
            f"leak: {len(late)} of {len(split)} queries get events in their input that are not "
            "older than the event to predict"
        )


def _check_answers(split: Split) -> None:
    """No relevant item is in its query's input or in its user's training events."""
    owners = np.repeat(np.arange(len(split)), np.diff(split.relevant.offsets))
    answers = split.relevant.values.astype(np.int64)
    stride = max(split.n_items, int(answers.max(initial=0)) + 1)
    timeline = split.timeline

    # Where each (user, item) pair first occurs in the timeline; an input that reaches beyond that
    # place holds the item.
    users = timeline.owners()
    pairs, first = np.unique(users * stride + timeline.items, return_index=True)
    if len(pairs):
        wanted = split.rows[owners] * stride + answers
        place = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
        inside = (pairs[place] == wanted) & (first[place] < split.ends[owners])
        if inside.any():
            raise LeakError(
                f"leak: the input of {len(np.unique(owners[inside]))} of {len(split)} queries holds "
                "the item to predict"
            )
    training = split.training
    trained = np.unique(training.users.astype(np.int64) * stride + training.items)
    leaked = np.isin(split.rows[owners] * stride + answers, trained)
    if leaked.any():
        raise LeakError(f"leak: the training data hold {int(leaked.sum())} of the {len(answers)} answers")


def _date(milliseconds: int) -> str:
    return str(np.datetime64(milliseconds, "ms"))
