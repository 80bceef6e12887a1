"""Chooses the regularisation on events that are held out of the training data.

The best lambda depends on how many people there are and how much they did, by more than a factor of ten
between data sets, and little on how many rare items take part. So it is chosen on the most popular items,
where an inverse takes a moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy.sparse import csr_array

from recserve import Dataset, climb, hold_out, ndcg_of
from recserve_ease.closed_form import ease_weights

REGULARIZATIONS = (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0)
DEFAULT = 3
MAX_ITEMS = 2000
_CUTOFF = 20
_SCORED_AT_A_TIME = 4_000_000


def choose_regularization(
    data: Dataset, power: float, seed: int, progress: Callable[[str, int, int], None]
) -> tuple[float, dict[str, float]]:
    """Climb from the middle of the grid to the best neighbour until neither side is better.

    Returns:
        The best regularisation, and nDCG@20 of each one tried (by its value as text); the middle one and
        nothing if there are too few users to tell.
    """
    parts = held_out(data, power, seed)
    if parts is None:
        return REGULARIZATIONS[DEFAULT], {}
    training, known, wanted = parts
    done = 0

    def score(regularization: float) -> float:
        nonlocal done
        weights = ease_weights(training, regularization, "float32")
        worth = float(np.concatenate(list(gains(weights, known, wanted))).mean())
        done += 1
        progress("choosing the regularization", done, len(REGULARIZATIONS))
        return worth

    best, tried = climb(REGULARIZATIONS, DEFAULT, score)
    return best, {f"{value:g}": worth for value, worth in tried.items()}


def held_out(data: Dataset, power: float, seed: int) -> tuple[csr_array, csr_array, csr_array] | None:
    """Hold out items of some users, see :func:`recserve.hold_out`.

    Returns:
        What all users keep, and what the tested users keep and are asked for; CSR over the most popular
        items. None when there are too few users.
    """
    positive = data.positive()
    popular = np.sort(np.argsort(-positive.item_counts, kind="stable")[:MAX_ITEMS])
    positive = positive.where(np.isin(positive.items, popular))
    parts = hold_out(positive, seed)
    if parts is None:
        return None
    training = positive.where(~parts.chosen).matrix()[:, popular]
    training.data **= np.float32(power)
    wanted = positive.where(parts.chosen).matrix()[parts.users][:, popular]
    return csr_array(training), csr_array(training[parts.users]), csr_array(wanted)


def gains(weights: np.ndarray, known: csr_array, wanted: csr_array) -> Iterator[np.ndarray]:
    """nDCG@20 of each tested user, full ranking without what is known."""
    block = max(1, _SCORED_AT_A_TIME // max(len(weights), 1))
    for start in range(0, known.shape[0], block):
        seen = known[start : start + block]
        scores = np.asarray(seen @ weights, dtype=np.float32)
        had = seen.toarray() > 0
        scores[had] = -np.inf
        relevant = (wanted[start : start + block].toarray() > 0) & ~had
        yield ndcg_of(scores, relevant, _CUTOFF)
