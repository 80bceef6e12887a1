"""User profiles: recency weights and several interests, for a whole batch at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recserve import Histories

_DAY_MS = 86_400_000.0


@dataclass(frozen=True, slots=True)
class Recent:
    """The recent events of B users, newest first, padded to a common length L.

    Attributes:
        rows: int32, shape (B, L); catalogue rows, -1 pads.
        confidence: float32, shape (B, L); unsigned weight of each event, 0 at pads.
        present: bool, shape (B, L); False at pads.
    """

    rows: NDArray[np.int32]
    confidence: NDArray[np.float32]
    present: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        histories: Histories,
        times: NDArray[np.int64],
        length: int,
        *,
        weight_power: float,
        half_life_days: float | None,
    ) -> Recent:
        """Lay out at most the last ``length`` events of each user.

        Args:
            histories: B histories.
            times: int64, shape (B,); when each query is asked, milliseconds.
            length: Longest history kept.
            weight_power: Exponent on the absolute confidence.
            half_life_days: Age after which an event counts half, None for no fading by age.
        """
        kept = histories.last(length)
        lengths = kept.lengths
        width = int(lengths.max()) if len(lengths) else 0
        owners = kept.owners()
        place = np.repeat(kept.offsets[1:], lengths) - np.arange(len(kept.items)) - 1
        confidence = np.abs(kept.weights).astype(np.float32) ** np.float32(weight_power)
        if half_life_days is not None:
            age = np.maximum(times[owners] - kept.timestamps, 0) / (_DAY_MS * half_life_days)
            # Beyond 60 half-lives float32 underflows; a very old history must still say something.
            confidence *= np.exp2(-np.minimum(age, 60.0)).astype(np.float32)
        shape = (len(kept), width)
        rows = np.full(shape, -1, dtype=np.int32)
        padded = np.zeros(shape, dtype=np.float32)
        rows[owners, place] = kept.items
        padded[owners, place] = confidence
        return cls(rows, padded, rows >= 0)

    @property
    def spoken(self) -> NDArray[np.bool_]:
        """Users of whom anything is known, bool, shape (B,)."""
        spoken: NDArray[np.bool_] = np.logical_or.reduce(self.present, axis=1)
        return spoken

    def decayed(self, half_life: float) -> NDArray[np.float32]:
        """Confidence halved every ``half_life`` events, float32, shape (B, L)."""
        steps = np.exp2(-np.arange(self.rows.shape[1]) / half_life).astype(np.float32)
        return self.confidence * steps

    def averages(self, vectors: NDArray[np.float32], half_lives: Sequence[float]) -> NDArray[np.float32]:
        """Recency-weighted mean vectors, one a half-life, side by side.

        Args:
            vectors: float32, shape (B, L, r).
            half_lives: H half-lives in events.

        Returns:
            float32, shape (B, H * r); zeros where nothing is known.
        """
        weights = np.stack([self.decayed(half_life) for half_life in half_lives], axis=1)
        total = weights.sum(axis=2, keepdims=True)
        weights /= np.where(total > 0, total, 1)
        means: NDArray[np.float32] = weights @ vectors
        return means.reshape(len(vectors), -1)


@dataclass(frozen=True, slots=True)
class Interests:
    """Up to C interests of B users, strongest first; short rows repeat their strongest interest.

    Attributes:
        medoids: int64, shape (B, C); position in the recent events of the item that stands for the
            interest.
        weights: float32, shape (B, C); relative to the user's strongest interest, which has 1; 0
            throughout for a user without history.
        members: int64, shape (B, L); the interest of each recent event, -1 for none.
    """

    medoids: NDArray[np.int64]
    weights: NDArray[np.float32]
    members: NDArray[np.int64]


def find_interests(
    vectors: NDArray[np.float32],
    mass: NDArray[np.float32],
    *,
    count: int,
    similarity: float,
    power: float,
) -> Interests:
    """Cluster the recent items of each user around medoids, greedily.

    An interest is represented by one of its items, as in PinnerSage (Pal et al. 2020), so that it
    is never a mean between two topics. In each of ``count`` rounds the item with the greatest
    similarity-weighted mass of still unclustered items around it becomes a medoid and takes its
    neighbours along. All users of the batch take the same round together; ties go to the newest
    event, so the result is deterministic.

    Args:
        vectors: float32, shape (B, L, r); unit rows, zeros at pads.
        mass: float32, shape (B, L); weight of each event, 0 at pads.
        count: Interests kept at most.
        similarity: Cosine from which an item belongs to a medoid.
        power: Exponent on the mass of an interest.
    """
    batch, length, _ = vectors.shape
    medoids = np.zeros((batch, count), dtype=np.int64)
    weights = np.zeros((batch, count), dtype=np.float32)
    members = np.full((batch, length), -1, dtype=np.int64)
    if length == 0:
        return Interests(medoids, weights, members)
    cosine = vectors @ vectors.transpose(0, 2, 1)
    # An item is always its own neighbour, whatever rounding makes of its cosine with itself.
    near = (cosine >= similarity) | np.eye(length, dtype=bool)
    affinity = np.where(near, np.maximum(cosine, 1e-6), 0).astype(np.float32)
    left = mass.copy()
    users = np.arange(batch)
    for round_ in range(min(count, length)):
        density = np.where(left > 0, (affinity @ left[:, :, None])[:, :, 0], -1)
        medoid = density.argmax(axis=1)
        taken = near[users, medoid] & (left > 0)
        medoids[:, round_] = medoid
        weights[:, round_] = np.where(taken, left, 0).sum(axis=1)
        members[taken] = round_
        left[taken] = 0
    return _strongest_first(Interests(medoids, weights, members), power)


def _strongest_first(found: Interests, power: float) -> Interests:
    order = np.argsort(-found.weights, axis=1, kind="stable")
    weights = np.take_along_axis(found.weights, order, axis=1)
    medoids = np.take_along_axis(found.medoids, order, axis=1)
    strongest = weights[:, :1]
    relative = np.where(weights > 0, weights / np.where(strongest > 0, strongest, 1), 0)
    relative = np.where(weights > 0, relative ** np.float32(power), 0).astype(np.float32)
    # Repeating the strongest interest leaves the maximum over interests as it is; a zero vector
    # would put a floor under it.
    void = weights <= 0
    medoids = np.where(void, medoids[:, :1], medoids)
    relative = np.where(void, relative[:, :1], relative)
    rank = np.argsort(order, axis=1, kind="stable")
    known = np.maximum(found.members, 0)
    members = np.where(found.members >= 0, np.take_along_axis(rank, known, axis=1), -1)
    return Interests(medoids, relative, members)
