"""Shuffled labels: where nothing can be learnt, nothing may be predicted.

The items of all events are dealt out anew, so that every item keeps its popularity and nobody has any taste.
The split is made again, a model is fitted on its training part, and its lists may then hit no more than
popularity explains. What they hit beyond that has come from the answers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array

from recserve.data.arrays import Float64Array, FloatArray, Int32Array, Int64Array
from recserve.data.batches import Histories, Queries
from recserve.data.dataset import Dataset
from recserve.errors import DataError
from recserve.evaluation.checks.leaks import LeakCheck, LeakError
from recserve.evaluation.runner import Recommender
from recserve.evaluation.splits import Split
from recserve.plugin.toolkit.topk import mask_scores, top_k

_USERS = 2000
_QUERIES = 1000
_BATCH = 100
_DEVIATIONS = 6.0


class Probe:
    """A cheap model that finds any trace of the answers: what users with a like history chose.

    The third power of the cosine lets whoever shares nearly everything decide, so that one leaked event of
    the user himself is enough.

    Args:
        training: What it learns from.
    """

    def __init__(self, training: Dataset) -> None:
        matrix = training.matrix()
        self._chosen = csr_array(
            (np.ones(matrix.nnz, dtype=np.float32), matrix.indices, matrix.indptr), shape=matrix.shape
        )
        self._lengths = np.sqrt(np.maximum(np.diff(matrix.indptr), 1)).astype(np.float32)

    def recommend(self, queries: Queries, k: int) -> Int32Array:
        """See :meth:`recserve.evaluation.Recommender.recommend`."""
        histories = queries.histories.known(self._chosen.shape[1]).positive()
        profile = _membership(histories, self._chosen.shape[1])
        norms = np.sqrt(np.maximum(np.diff(profile.indptr), 1)).astype(np.float32)
        cosine = np.asarray((profile @ self._chosen.T).todense()) / (norms[:, None] * self._lengths)
        scores: FloatArray = np.ascontiguousarray((self._chosen.T @ (cosine**3).T).T, dtype=np.float32)
        return top_k(mask_scores(scores, queries), k)[0]


def shuffled(data: Dataset, seed: int = 0) -> Dataset:
    """The same users, moments and items, with the items dealt out to the events at random."""
    items = np.random.default_rng(seed).permutation(data.items)
    dealt = Dataset(
        data.catalogue,
        data.user_ids,
        data.users,
        items,
        data.events,
        data.weights,
        data.timestamps,
        data.event_types,
    )
    dealt.contexts = data.contexts
    return dealt


def check_shuffled(
    data: Dataset,
    make_split: Callable[[Dataset], Split],
    fit: Callable[[Dataset], Recommender] = Probe,
    *,
    name: str = "a neighbourhood model",
    answered: Int64Array | None = None,
    seed: int = 0,
) -> LeakCheck:
    """Shuffle labels, split, fit, and refuse anything that still predicts.

    With c the events of each item, a list of a query hits by chance with the share of c that its items have
    among all items that the query may get. Looks at up to 2,000 users and 1,000 queries.

    Args:
        data: All events, of training and test.
        make_split: Splits them as the evaluation does.
        fit: Fits what is tested on a training part; the default is a model that is cheap and quick to find
            traces of the answers.
        name: What was fitted, for messages.
        answered: int64, shape (n_items,); c of the events that answers come from, where those are not part
            of ``data`` (a given split).
        seed: Of shuffle and sample.

    Raises:
        LeakError: The lists hit more than popularity explains, by more than six standard deviations.
    """
    generator = np.random.default_rng(seed)
    mixed = shuffled(_some_users(data, generator), seed)
    try:
        split = _some_queries(make_split(mixed), generator)
    except DataError as error:
        return LeakCheck("shuffled labels", True, f"not run, the data are too few to be shuffled: {error}")
    counted = np.bincount(mixed.items, minlength=split.n_items) if answered is None else answered
    counts = counted.astype(np.float64)
    depth = max(1, min(100, int(np.count_nonzero(counts)) // 10))
    model = fit(split.training)
    hits = expected = variance = 0.0
    for _, queries, relevant in split.batches(_BATCH):
        ranked = model.recommend(queries, depth)
        # Answers are listed by item: any one of them, not the first, stands for them.
        picked = relevant.offsets[:-1] + generator.integers(0, np.diff(relevant.offsets))
        hits += float((ranked == relevant.values[picked][:, None]).any(axis=1).sum())
        listed = np.where(ranked >= 0, counts[np.maximum(ranked, 0)], 0.0).sum(axis=1)
        chance = np.clip(listed / np.maximum(counts.sum() - _excluded(queries, counts), 1.0), 0.0, 1.0)
        expected += float(chance.sum())
        variance += float((chance * (1.0 - chance)).sum())
    detail = (
        f"with shuffled labels {name} hits {hits:.0f} of {len(split):,} answers at {depth}; popularity alone "
        f"explains {expected:.0f}"
    )
    if hits > expected + _DEVIATIONS * np.sqrt(max(variance, 1.0)):
        raise LeakError(f"leak: {detail}: the answers reach the model or its input")
    return LeakCheck("shuffled labels", True, detail)


def _some_users(data: Dataset, generator: np.random.Generator) -> Dataset:
    present = np.unique(data.users)
    if len(present) <= _USERS:
        return data
    return data.where(np.isin(data.users, generator.choice(present, _USERS, replace=False)))


def _some_queries(split: Split, generator: np.random.Generator) -> Split:
    """Up to a number of queries, in order."""
    if len(split) <= _QUERIES:
        return split
    return split.take(np.sort(generator.choice(len(split), _QUERIES, replace=False)))


def _excluded(queries: Queries, counts: Float64Array) -> Float64Array:
    """Events of the items that each query must not get."""
    excluded = queries.excluded
    rows = np.repeat(np.arange(len(excluded)), np.diff(excluded.offsets))
    barred = np.unique(rows * len(counts) + excluded.values)
    owners, rows = barred // len(counts), barred % len(counts)
    return np.bincount(owners, weights=counts[rows], minlength=len(excluded)).astype(np.float64)


def _membership(histories: Histories, n_items: int) -> csr_array:
    """Which items each history holds, (B, n_items), ones."""
    owners = histories.owners()
    matrix = csr_array(
        (np.ones(len(owners), dtype=np.float32), (owners, histories.items)), shape=(len(histories), n_items)
    )
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix
