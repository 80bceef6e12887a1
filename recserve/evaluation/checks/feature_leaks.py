"""Leaks in a ranker's features: none may know what is to be predicted.

Three things are looked at: how recent the events are that features were counted on; whether features still
tell an answer apart where there is nothing to learn; and, by :func:`recserve.evaluation.check_attributes`,
whether attributes of items count the events to predict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from recserve.data.arrays import Float64Array, FloatArray, Int32Array, Int64Array
from recserve.data.batches import Candidates, Queries, Ragged
from recserve.data.dataset import Dataset
from recserve.data.events.event_order import EventOrder
from recserve.errors import DataError
from recserve.evaluation.checks.leaks import LeakCheck, LeakError
from recserve.evaluation.splits import Split, temporal
from recserve.plugin.protocols import ShowsFeatures

NAME = "ranker features"

_USERS = 2000
_QUERIES = 4000
# As many events are asked about as are counted on: then a count that is off by the answer shows most.
_WINDOW = 0.5
_BATCH = 500
_DRAWS = 16
_DEVIATIONS = 6.0


def check_counted(model: object, split: Split) -> None:
    """Refuse a pipeline whose ranker's features were counted on events as late as those to predict.

    Args:
        model: A recommender; one without a ranker that shows its features passes.
        split: What it is to be measured on; where times do not order its events, there is nothing to say.

    Raises:
        LeakError: The features know of events that are not older than the oldest test event.
    """
    ranker = getattr(model, "ranker", None)
    if not split.temporal or not isinstance(ranker, ShowsFeatures):
        return
    oldest = int(split.times.min())
    if ranker.counted_until >= oldest:
        raise LeakError(
            "leak: features of the ranker were counted on events up to "
            f"{np.datetime64(ranker.counted_until, 'ms')}, which is not before the oldest test event "
            f"({np.datetime64(oldest, 'ms')})"
        )


def check_feature_leaks(
    data: Dataset, fit: Callable[[Dataset], ShowsFeatures], *, name: str, seed: int = 0
) -> LeakCheck:
    """Deal out items at random, and refuse features that tell what was dealt from what was not.

    Each event gets an item of the catalogue, any as likely as any other. A ranker is fitted on the events
    before a moment and asked, for each event after it, about that event's item and another one that its user
    had not had either. If a feature knows nothing of the event itself, either of the two is as likely to have
    the higher value (a sign test). Looks at up to 2,000 users and 4,000 queries.

    Args:
        data: Events and items; only who acted when is taken from the events.
        fit: Fits the ranker on a training part.
        name: The ranker's name, for messages.
        seed: Of all that is drawn.

    Raises:
        LeakError: Some feature is higher, or lower, for the answers by more than six standard deviations.
    """
    generator = np.random.default_rng(seed)
    dealt = _dealt(data, generator)
    try:
        split = _one_a_moment(temporal(dealt, _WINDOW), generator)
    except DataError as error:
        return LeakCheck(NAME, True, f"not run, the data are too few for items to be dealt out: {error}")
    ranker = fit(split.training)
    check_counted(_Model(ranker), split)
    signs = np.zeros(len(ranker.feature_names))
    differing = np.zeros(len(ranker.feature_names))
    for _, queries, relevant in split.batches(_BATCH):
        values, answers = _values(ranker, queries, relevant, split.n_items, generator)
        # What is missing may give an answer away as well.
        values = np.where(np.isnan(values), -np.inf, values.astype(np.float64))
        rows = np.arange(len(values))
        own, other = values[rows, answers], values[rows, 1 - answers]
        signs += (own > other).sum(axis=0) - (own < other).sum(axis=0).astype(np.float64)
        differing += (own != other).sum(axis=0)
    deviations = np.abs(signs) / np.sqrt(np.maximum(differing, 1.0))
    leaks = [
        f"{ranker.feature_names[place]} (of {differing[place]:.0f} pairs it is higher for "
        f"{(differing[place] + signs[place]) / 2:.0f} answers)"
        for place in np.flatnonzero(deviations > _DEVIATIONS)
    ]
    if leaks:
        raise LeakError(
            f"leak: features of {name} know the event to predict, although items were dealt out at random: "
            f"{', '.join(leaks)}; count them on the training events only"
        )
    return LeakCheck(
        NAME,
        True,
        f"with items dealt out at random none of the {len(signs)} features of {name} tells answers apart",
    )


class _Model:
    """What :func:`check_counted` looks at of a pipeline."""

    def __init__(self, ranker: ShowsFeatures) -> None:
        self.ranker = ranker


def _dealt(data: Dataset, generator: np.random.Generator) -> Dataset:
    """Some users' events with other items, as if times ordered all of them."""
    present = np.unique(data.users)
    if len(present) > _USERS:
        data = data.where(np.isin(data.users, generator.choice(present, _USERS, replace=False)))
    dealt = Dataset(
        data.catalogue,
        data.user_ids,
        data.users,
        generator.integers(0, data.n_items, len(data)).astype(np.int32),
        data.events,
        data.weights,
        data.timestamps,
        data.event_types,
    )
    dealt.event_order = EventOrder.TIME
    dealt.contexts = data.contexts
    return dealt


def _one_a_moment(split: Split, generator: np.random.Generator) -> Split:
    """Of queries of one user and moment the first: the others' answers could not be its answer."""
    _, first = np.unique(np.stack([split.rows, split.times]), axis=1, return_index=True)
    if len(first) > _QUERIES:
        first = generator.choice(first, _QUERIES, replace=False)
    return split.take(np.sort(first))


def _values(
    ranker: ShowsFeatures, queries: Queries, relevant: Ragged, n_items: int, generator: np.random.Generator
) -> tuple[FloatArray, Int64Array]:
    """Features of each query's answer and of another item, side by side in random order.

    Returns:
        float32, shape (B, 2, F), and the column of the answer, int64, shape (B,).
    """
    answers = relevant.values[relevant.offsets[:-1]]
    others = _others(queries.excluded, answers, n_items, generator)
    columns = generator.integers(0, 2, len(answers))
    pairs = np.where(columns[:, None] == np.arange(2), answers[:, None], others[:, None]).astype(np.int32)
    return ranker.features(replace(queries, allowed=(None,) * len(answers)), _candidates(pairs)), columns


def _others(
    excluded: Ragged, answers: Int32Array, n_items: int, generator: np.random.Generator
) -> Int32Array:
    """For each query an item that its user has not had, any as likely; the answer where none was drawn."""
    owners = np.repeat(np.arange(len(excluded), dtype=np.int64), np.diff(excluded.offsets))
    barred = np.unique(owners * n_items + excluded.values)
    drawn = generator.integers(0, n_items, (len(answers), _DRAWS))
    keys = np.arange(len(answers))[:, None] * n_items + drawn
    free = ~np.isin(keys, barred) & (drawn != answers[:, None])
    picked = drawn[np.arange(len(answers)), free.argmax(axis=1)]
    return np.where(free.any(axis=1), picked, answers).astype(np.int32)


def _candidates(items: Int32Array) -> Candidates:
    """Candidates that no retriever says anything of."""
    scores: Float64Array = np.zeros(items.shape)
    return Candidates(
        items,
        scores.astype(np.float32),
        (),
        np.empty((*items.shape, 0), dtype=np.float32),
        np.full(items.shape, -1, dtype=np.int32),
    )
