"""Leak checks: what must hold between training data, inputs, answers and models.

They look at the arrays of a split rather than at how it was made. What no evaluation may go on with is an
error (:func:`check_leaks`, before every evaluation, and
:mod:`recserve.evaluation.checks.shuffled_labels`); what needs a person's judgement is a :class:`LeakCheck`
that did not pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from recserve.data.arrays import Int32Array
from recserve.errors import DataError

if TYPE_CHECKING:
    from recserve.data.catalogue import Catalogue
    from recserve.data.dataset import Dataset
    from recserve.evaluation.splits import Split

_FEWEST_ITEMS = 20
_ALIKE = 0.9


class LeakError(DataError):
    """The model or its input would see what it is asked to predict."""

    code = "leak"


@dataclass(frozen=True)
class LeakCheck:
    """Result of one leak check.

    Attributes:
        name: What was looked at.
        passed: False where somebody should look.
        detail: What was found, one sentence.
    """

    name: str
    passed: bool
    detail: str


def check_leaks(split: Split) -> list[LeakCheck]:
    """Refuse a split whose figures could not be trusted.

    Returns:
        What was checked.

    Raises:
        LeakError: In a temporal split an event of the training data or of a query's input is not
            older than what is to be predicted; or, in any split, a query's answer is in its own
            input or among its user's training events, or a feature of the training data was counted
            on more than its events.
    """
    checks = []
    if split.temporal:
        checks.append(_check_times(split))
    return [*checks, _check_answers(split), _check_features(split.training)]


def check_attributes(split: Split) -> LeakCheck:
    """Look for item attributes that were counted on the events to predict, such as a number of ratings.

    An attribute does not pass if its ranks agree with the number of all events of an item (correlation
    above 0.9), and agree better with those than with the training events alone.
    """
    training = np.bincount(split.training.items, minlength=split.n_items)
    answers = split.relevant.values[split.relevant.values < split.n_items]
    everything = training + np.bincount(answers, minlength=split.n_items)
    suspects, looked = [], 0
    for name, values in sorted(_numeric_attributes(split.training.catalogue).items()):
        held = ~np.isnan(values)
        if held.sum() < max(_FEWEST_ITEMS, len(values) / 2):
            continue
        looked += 1
        now = _correlation(values[held], training[held])
        later = _correlation(values[held], everything[held])
        if later > _ALIKE and later > now:
            suspects.append(f"{name!r} ({later:.3f} with all events, {now:.3f} with the training events)")
    if suspects:
        text = (
            f"item attributes follow the events to predict: {', '.join(suspects)}; leave them out of models"
        )
        return LeakCheck("attributes", False, text)
    return LeakCheck(
        "attributes", True, f"none of {looked} numeric item attributes counts the events to predict"
    )


def check_vocabulary(split: Split, ranked: Int32Array, name: str) -> LeakCheck:
    """Look for knowledge of items that training never saw, in a model that reads no item's content.

    Such a model can hit an item without a training event by chance only. It does not pass if it hits more
    of them than chance allows by five standard deviations and five.

    Args:
        split: The split.
        ranked: int32, shape (Q, K); all lists of the model.
        name: The model's name.
    """
    owners = np.repeat(np.arange(len(split)), np.diff(split.relevant.offsets))
    answers = split.relevant.values
    known = np.bincount(split.training.items, minlength=split.n_items) > 0
    inside = answers < split.n_items
    new = inside & ~np.pad(known, (0, max(int(answers.max(initial=0)) + 1 - len(known), 0)))[answers]
    hits = int((ranked[owners[new]] == answers[new][:, None]).any(axis=1).sum())
    rankable = np.maximum(split.n_items - (split.ends - split.starts)[owners[new]], 1)
    chance = float(np.minimum(ranked.shape[1] / rankable, 1.0).sum())
    asked = int(new.sum())
    detail = f"{name} hits {hits} of the {asked} answers without a training event; chance hits {chance:.1f}"
    if hits > chance + 5.0 * np.sqrt(chance) + 5.0:
        return LeakCheck(
            "vocabulary",
            False,
            f"{detail}: unless {name} reads what items are about, it has seen more than the training data",
        )
    return LeakCheck("vocabulary", True, detail)


def _check_times(split: Split) -> LeakCheck:
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
    return LeakCheck(
        "time",
        True,
        f"the newest training event ({_date(newest)}) is older than the oldest test event ({_date(oldest)}), "
        "and every input than its answer",
    )


def _check_answers(split: Split) -> LeakCheck:
    """No relevant item is in its query's input or in its user's training events, unless the split repeats."""
    if split.repeats:
        return LeakCheck("answers", True, "answers may be items that their user has had, as asked for")
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
    return LeakCheck("answers", True, "no answer is in its own input or among its user's training events")


def _check_features(training: Dataset) -> LeakCheck:
    """What models derive their features from is counted on the training events and on nothing else."""
    liked = training.items[training.weights > 0]
    counts = np.bincount(liked, minlength=training.n_items)
    if not np.array_equal(training.item_counts, counts):
        wrong = int(np.count_nonzero(training.item_counts != counts))
        raise LeakError(
            f"leak: the popularity of {wrong} items was counted on more than the training events; build the "
            "training data from its own events only"
        )
    histories = training.histories
    lengths = np.bincount(training.users, minlength=training.n_users)
    same_times = len(histories.timestamps) == len(training) and (
        histories.timestamps.max() == training.timestamps.max()
    )
    if not np.array_equal(histories.lengths, lengths) or not same_times:
        raise LeakError(
            "leak: the histories of the training data hold events that are not among the training events"
        )
    return LeakCheck(
        "features", True, "popularity and histories that models learn from are those of the training events"
    )


def _correlation(first: NDArray[np.float64], second: NDArray[np.int64]) -> float:
    """Spearman's rank correlation, 0 where one of the two does not vary."""
    ranks = [rankdata(values) for values in (first, second)]
    if any(rank.std() == 0 for rank in ranks):
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _numeric_attributes(catalogue: Catalogue) -> dict[str, NDArray[np.float64]]:
    """Every attribute that is a number on some item, NaN where it is none."""
    found: dict[str, NDArray[np.float64]] = {}
    for row, item in enumerate(catalogue.items()):
        for name, value in item.attributes.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                if name not in found:
                    found[name] = np.full(len(catalogue), np.nan)
                found[name][row] = value
    return found


def _date(milliseconds: int) -> str:
    return str(np.datetime64(milliseconds, "ms"))
