"""What is learnt: a decorrelated text space, a popularity prior and an affinity, in closed form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recserve import Dataset, flat_ranges

_DAY_MS = 86_400_000.0
_CHUNK = 8192
# With fewer items than this the mean and the components of the catalogue say little.
_FEW_ITEMS = 100


@dataclass(frozen=True, slots=True)
class TextSpace:
    """Text vectors without their common mean, on their first principal components.

    Sentence vectors share a large common part that makes everything look alike; removing it is the
    first half of all-but-the-top (Mu & Viswanath 2018). What was left out of the components costs
    nothing measurable and halves the work of every query.

    Attributes:
        mean: float32, shape (d,).
        basis: float32, shape (d, r); orthonormal columns.
    """

    mean: NDArray[np.float32]
    basis: NDArray[np.float32]

    @classmethod
    def plain(cls, dimension: int) -> TextSpace:
        """The space as the encoder made it."""
        return cls(np.zeros(dimension, dtype=np.float32), np.eye(dimension, dtype=np.float32))

    @classmethod
    def learn(cls, vectors: NDArray[np.float32], dimensions: int) -> TextSpace:
        """Principal components of the catalogue's vectors, float32, shape (n_items, d)."""
        n_items, dimension = vectors.shape
        if n_items < _FEW_ITEMS:
            return cls.plain(dimension)
        gram = np.zeros((dimension, dimension), dtype=np.float64)
        total = np.zeros(dimension, dtype=np.float64)
        for start in range(0, n_items, _CHUNK):
            part = vectors[start : start + _CHUNK].astype(np.float64)
            gram += part.T @ part
            total += part.sum(axis=0)
        mean = total / n_items
        values, components = np.linalg.eigh(gram / n_items - np.outer(mean, mean))
        kept = components[:, ::-1][:, : min(dimensions, dimension)]
        if values[-1] <= 1e-9:  # all items have the same text
            return cls.plain(dimension)
        # The sign of an eigenvector is arbitrary: fix it.
        strongest = np.abs(kept).argmax(axis=0)
        kept = kept * np.sign(kept[strongest, np.arange(kept.shape[1])])
        return cls(mean.astype(np.float32), np.ascontiguousarray(kept, dtype=np.float32))

    @property
    def rank(self) -> int:
        """Components r."""
        return int(self.basis.shape[1])

    def project(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unit vectors in this space; zero rows stay zero.

        Args:
            vectors: float32, shape (..., d).

        Returns:
            float32, shape (..., r).
        """
        said = np.abs(vectors).max(axis=-1, keepdims=True) > 0
        projected = np.where(said, (vectors - self.mean) @ self.basis, np.float32(0))
        length = np.linalg.norm(projected, axis=-1, keepdims=True)
        unit: NDArray[np.float32] = (projected / np.where(length > 1e-9, length, 1)).astype(
            np.float32, copy=False
        )
        return unit

    def project_all(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """:meth:`project` for a (memory-mapped) matrix, a block of rows at a time."""
        out = np.empty((len(vectors), self.rank), dtype=np.float32)
        for start in range(0, len(vectors), _CHUNK):
            out[start : start + _CHUNK] = self.project(np.asarray(vectors[start : start + _CHUNK]))
        return out


def popularity_prior(
    data: Dataset, projected: NDArray[np.float32], half_life_days: float, text_events: float
) -> NDArray[np.float32]:
    """How popular each item is, or can be expected to be from its text.

    The log of the time-decayed count of positive events is regressed on the text (ridge); the
    prediction counts like ``text_events`` observed events, so that an item nobody has met yet starts
    where items that read like it stand.

    Args:
        data: The events.
        projected: float32, shape (n_items, r); see :meth:`TextSpace.project_all`.
        half_life_days: Days after which an event counts half.
        text_events: Weight of the prediction; 0 uses counts alone.

    Returns:
        float32, shape (n_items,), mean 0 and standard deviation 0.5.
    """
    liked = data.weights > 0
    times = data.timestamps[liked]
    newest = times[-1] if len(times) else 0
    age = (newest - times) / (_DAY_MS * half_life_days)
    n_items = len(projected)
    count = np.bincount(data.items[liked], np.exp2(-age), minlength=n_items)
    level = np.log1p(count)
    if text_events > 0:
        features = np.concatenate([projected, np.ones((n_items, 1), np.float32)], axis=1)
        seen = count > 0
        known = features[seen].astype(np.float64)
        gram = known.T @ known + np.diag(np.r_[np.full(projected.shape[1], 1.0), 1e-3])
        expected = features @ np.linalg.solve(gram, known.T @ level[seen])
        level = (count * level + text_events * np.maximum(expected, 0)) / (count + text_events)
    spread = level.std()
    prior: NDArray[np.float32] = np.zeros(n_items, dtype=np.float32)
    if spread > 1e-9:
        prior[:] = (level - level.mean()) * (0.5 / spread)
    return prior


@dataclass(frozen=True, slots=True)
class Examples:
    """Training examples: what a user had done strictly before each positive event.

    Attributes:
        starts: int64, shape (E,); where the history of an example begins in ``items``.
        ends: int64, shape (E,); where it ends.
        targets: int32, shape (E,); the item that followed.
        items: int32, shape (N,); positive events of all users, by user and time.
        weights: float32, shape (N,).
        timestamps: int64, shape (N,).
        times: int64, shape (E,); when the target followed, milliseconds.
        users: int64, shape (E,).
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    targets: NDArray[np.int32]
    items: NDArray[np.int32]
    weights: NDArray[np.float32]
    timestamps: NDArray[np.int64]
    times: NDArray[np.int64]
    users: NDArray[np.int64]

    @classmethod
    def of(cls, data: Dataset, since: int, limit: int) -> Examples:
        """Positive events that have a history.

        Args:
            data: The events.
            since: Only targets from this moment on, milliseconds.
            limit: Keep the newest targets, at most this many.
        """
        histories = data.positive().histories
        owners = histories.owners()
        begin = histories.offsets[owners]
        # Events of one user at one moment do not precede each other.
        fresh = np.ones(len(owners), dtype=bool)
        fresh[1:] = (owners[1:] != owners[:-1]) | (histories.timestamps[1:] != histories.timestamps[:-1])
        ends = np.maximum.accumulate(np.where(fresh, np.arange(len(owners)), 0))
        usable = np.flatnonzero((ends > begin) & (histories.timestamps >= since))
        if len(usable) > limit:
            newest = np.argsort(-histories.timestamps[usable], kind="stable")[:limit]
            usable = usable[np.sort(newest)]
        return cls(
            begin[usable],
            ends[usable],
            histories.items[usable],
            histories.items,
            histories.weights,
            histories.timestamps,
            histories.timestamps[usable],
            owners[usable],
        )

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, index: NDArray[np.int64]) -> Examples:
        """Only these examples."""
        return Examples(
            self.starts[index],
            self.ends[index],
            self.targets[index],
            self.items,
            self.weights,
            self.timestamps,
            self.times[index],
            self.users[index],
        )

    def averages(
        self,
        features: NDArray[np.float32],
        half_life: float,
        *,
        recent: int,
        weight_power: float,
        half_life_days: float | None,
    ) -> NDArray[np.float32]:
        """The recency-weighted mean of ``features`` over each history.

        The same profile as :meth:`recserve_content.profiles.Recent.averages` makes when serving, as
        one sparse product.

        Returns:
            float32, shape (E, features.shape[1]).
        """
        starts = np.maximum(self.starts, self.ends - recent)
        lengths = self.ends - starts
        offsets, event = flat_ranges(starts, lengths)
        place = np.repeat(self.ends, lengths) - event - 1
        weight = self.weights[event] ** np.float32(weight_power)
        fade = place / half_life
        if half_life_days is not None:
            age = np.repeat(self.times, lengths) - self.timestamps[event]
            fade = fade + np.minimum(age / (_DAY_MS * half_life_days), 60.0)
        weight = (weight * np.exp2(-fade)).astype(np.float32)
        total = np.add.reduceat(weight, offsets[:-1]) if len(self) else weight
        weight /= np.repeat(np.where(total > 0, total, 1), lengths)
        matrix = csr_array((weight, self.items[event], offsets), shape=(len(self), len(features)))
        means: NDArray[np.float32] = matrix @ features
        return means


def learn_affinity(
    examples: Iterable[tuple[NDArray[np.float32], NDArray[np.int32]]],
    items: NDArray[np.float32],
    ridge: float,
    item_ridge: float,
) -> NDArray[np.float32]:
    """Learn from which profiles people go on to which text, in closed form.

    The bilinear score ``p M f`` of a profile p and the features f of an item is fitted by least
    squares to 1 for what followed and 0 for the whole catalogue, the implicit-feedback objective of
    Hu et al. (2008) with the factors held fixed: ``M = (P'P + a I)^-1 P'F+ (F'F + b I)^-1``, up to
    scale. Because M maps text to text it applies to items without a single event.

    Args:
        examples: Batches of profiles, float32 (E, p), without a constant column, which is added,
            and of what followed, int32 (E,); at least one batch.
        items: float32, shape (n_items, f); without a constant column, which is added.
        ridge: Regularisation of the profile side, in examples.
        item_ridge: Added to the diagonal of the mean Gram matrix of the items.

    Returns:
        float32, shape (p + 1, f): from a profile with a trailing 1 to weights of item features.
    """
    profile_gram = cross = np.zeros((1, 1), dtype=np.float64)
    for profiles, targets in examples:
        left, right = _with_constant(profiles), _with_constant(items[targets])
        profile_gram = profile_gram + (left.T @ left).astype(np.float64)
        cross = cross + (left.T @ right).astype(np.float64)
    f = items.shape[1] + 1
    item_gram = np.zeros((f, f), dtype=np.float64)
    for start in range(0, len(items), _CHUNK):
        block = _with_constant(items[start : start + _CHUNK])
        item_gram += block.T @ block
    item_gram /= len(items)
    left_solved = np.linalg.solve(profile_gram + ridge * np.eye(len(cross)), cross)
    affinity = np.linalg.solve(item_gram + item_ridge * np.eye(f), left_solved.T).T
    # The weight of the constant item feature is the same for all items: it ranks nothing.
    return np.ascontiguousarray(affinity[:, :-1], dtype=np.float32)


def _with_constant(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([rows, np.ones((len(rows), 1), dtype=np.float32)], axis=1)
