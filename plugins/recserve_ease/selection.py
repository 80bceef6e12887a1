"""Chooses the regularisation on events that are held out of the training data.

The best lambda depends on how many people there are and how much they did, by more than a factor of ten
between data sets, and little on how many rare items take part. So it is chosen on the most popular items,
where an inverse takes a moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy.sparse import csr_array

from recserve import Dataset, top_k
from recserve_ease.closed_form import ease_weights

REGULARIZATIONS = (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0)
DEFAULT = 3
CUTOFF = 20
HELD_OUT_SHARE = 0.15
MAX_USERS = 8000
MAX_ITEMS = 2000
# With fewer users than this a comparison would be noise.
MIN_USERS = 30
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
    scores: dict[int, float] = {}

    def score(index: int) -> float:
        if not 0 <= index < len(REGULARIZATIONS):
            return -1.0
        if index not in scores:
            weights = ease_weights(training, REGULARIZATIONS[index], "float32")
            scores[index] = float(np.concatenate(list(_ndcg(weights, known, wanted))).mean())
            progress("choosing the regularization", len(scores), len(REGULARIZATIONS))
        return scores[index]

    best = DEFAULT
    step = 1 if score(best + 1) > score(best) else -1
    while score(best + step) > score(best):
        best += step
    tried = {f"{REGULARIZATIONS[index]:g}": scores[index] for index in sorted(scores)}
    return REGULARIZATIONS[best], tried


def held_out(data: Dataset, power: float, seed: int) -> tuple[csr_array, csr_array, csr_array] | None:
    """Hold out the newest items of some users.

    Returns:
        What all users keep, and what the tested users keep and are asked for; CSR over the most popular
        items. None when there are too few users.
    """
    positive = data.positive()
    popular = np.sort(np.argsort(-positive.item_counts, kind="stable")[:MAX_ITEMS])
    positive = positive.where(np.isin(positive.items, popular))
    counts = np.bincount(positive.users, minlength=data.n_users)
    users = np.flatnonzero(counts >= 3)
    if len(users) < MIN_USERS:
        return None
    if len(users) > MAX_USERS:
        users = np.sort(np.random.default_rng(seed).choice(users, MAX_USERS, replace=False))
    kept = counts.copy()
    kept[users] -= np.maximum(1, (HELD_OUT_SHARE * counts[users]).astype(np.int64))
    order = np.argsort(positive.users, kind="stable")
    starts = np.cumsum(counts) - counts
    place = np.empty(len(positive), dtype=np.int64)
    place[order] = np.arange(len(positive)) - starts[positive.users[order]]
    late = place >= kept[positive.users]
    training = positive.where(~late).matrix()[:, popular]
    training.data **= np.float32(power)
    wanted = positive.where(late).matrix()[users][:, popular]
    return csr_array(training), csr_array(training[users]), csr_array(wanted)


def _ndcg(weights: np.ndarray, known: csr_array, wanted: csr_array) -> Iterator[np.ndarray]:
    """nDCG@20 of each tested user, full ranking without what is known."""
    block = max(1, _SCORED_AT_A_TIME // max(len(weights), 1))
    for start in range(0, known.shape[0], block):
        seen = known[start : start + block]
        scores = np.asarray(seen @ weights, dtype=np.float32)
        had = seen.toarray() > 0
        scores[had] = -np.inf
        relevant = (wanted[start : start + block].toarray() > 0) & ~had
        best, values = top_k(scores, CUTOFF)
        hits = np.take_along_axis(relevant, np.maximum(best, 0), axis=1) & np.isfinite(values)
        discount = 1.0 / np.log2(np.arange(2, CUTOFF + 2))
        ideal = np.cumsum(discount)[np.clip(relevant.sum(axis=1), 1, CUTOFF) - 1]
        yield (hits * discount[: hits.shape[1]]).sum(axis=1) / ideal
