"""Profiles of histories and how all items score against them; serving and fitting share this code."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recserve import (
    Catalogue,
    Histories,
    Queries,
)
from recserve_content.model import Model
from recserve_content.parameters import ContentParams
from recserve_content.profiles import Interests, Recent, find_interests

# Items scored at a time: the scores of all interests of a batch stay in the processor's cache.
_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Profile:
    """Profiles of B users, from their histories.

    Attributes:
        recent: The positive events.
        vectors: float32, shape (B, L, r); unit vectors of their items.
        interests: Their clusters.
        affinity: float32, shape (B, r + 1); weights of item features.
        offset: float32, shape (B, 1); subtracted from the affinity's scores.
    """

    recent: Recent
    vectors: NDArray[np.float32]
    interests: Interests
    affinity: NDArray[np.float32]
    offset: NDArray[np.float32]

    def interest_rows(self) -> NDArray[np.float32]:
        """Weighted medoid vectors, float32, shape (B, C, r)."""
        if self.vectors.shape[1] == 0:
            shape = (*self.interests.weights.shape, self.vectors.shape[2])
            return np.zeros(shape, dtype=np.float32)
        medoids = np.take_along_axis(self.vectors, self.interests.medoids[:, :, None], axis=1)
        return medoids * self.interests.weights[:, :, None]


class ProfileScorer:
    """Scores items against what users' histories say.

    Args:
        params: See :class:`recserve_content.parameters.ContentParams`.
        catalogue: Items with vectors.

    Raises:
        ValueError: The catalogue has no vectors.
    """

    def __init__(self, params: ContentParams, catalogue: Catalogue) -> None:
        self._params = params
        self._catalogue = catalogue
        self._last = threading.local()
        if catalogue.vectors is None:
            raise ValueError("the retriever 'content' needs a catalogue with vectors")

    def __getstate__(self) -> dict[str, Any]:
        """Travel between processes without the last profiles."""
        return {name: value for name, value in self.__dict__.items() if name != "_last"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _last=threading.local())

    def profile(self, model: Model, queries: Queries) -> Profile:
        """Turn what users did and wrote into interests and an affinity.

        The last profile of each thread is kept: the catalogue and new items are searched one after the other.
        """
        asked = (
            *(model, queries.histories, queries.times),
            *(queries.extra_vectors, queries.later_vectors, queries.recent_texts),
        )
        known = getattr(self._last, "asked", ())
        if len(known) != len(asked) or any(a is not b for a, b in zip(known, asked, strict=True)):
            self._last.made = self._profile(model, queries.with_texts(len(model.items)))
            self._last.asked = asked
        made: Profile = self._last.made
        return made

    def _profile(self, model: Model, queries: Queries) -> Profile:
        params = self._params
        usable = self._resolvable(queries)
        liked = usable.weights > 0
        recent = self._recent(queries, usable.where(liked))
        vectors = self._vectors(model, recent.rows, queries)
        interests = find_interests(
            vectors,
            recent.decayed(params.interest_half_life),
            count=params.interests,
            similarity=params.cluster_similarity,
            power=params.interest_power,
        )
        features = np.concatenate([vectors, self._priors(model, recent.rows)], axis=2)
        averages = recent.averages(features, params.half_lives)
        affinity, offset = model.affinity_rows(averages)
        if params.dislike > 0 and not liked.all():
            disliked = self._recent(queries, usable.where(~liked))
            away = disliked.averages(
                self._vectors(model, disliked.rows, queries), (params.interest_half_life,)
            )
            affinity[:, :-1] -= np.float32(params.dislike) * away
        return Profile(recent, vectors, interests, affinity, offset)

    def _resolvable(self, queries: Queries) -> Histories:
        """Histories without events whose item has no vector."""
        extra = 0 if queries.extra_vectors is None else len(queries.extra_vectors)
        items = queries.histories.items
        inside = (items >= 0) & (items < len(self._catalogue) + extra)
        return queries.histories if inside.all() else queries.histories.where(inside)

    def _recent(self, queries: Queries, histories: Histories) -> Recent:
        return Recent.of(
            histories,
            queries.times,
            self._params.recent,
            weight_power=self._params.weight_power,
            half_life_days=self._params.half_life_days,
        )

    def _vectors(self, model: Model, rows: NDArray[np.int32], queries: Queries) -> NDArray[np.float32]:
        """Projected unit vectors of rows, live-encoded ones included, zeros at pads."""
        n_items = len(model.items)
        known = (rows >= 0) & (rows < n_items)
        out = np.zeros((*rows.shape, model.space.rank), dtype=np.float32)
        out[known] = model.items[rows[known], :-1]
        live = rows >= n_items
        if live.any():
            raw = self._catalogue.gather(rows[live], queries.extra_vectors)
            out[live] = model.space.project(raw, self._named(model, rows[live], queries))
        return out

    def _named(
        self, model: Model, rows: NDArray[np.int32], queries: Queries
    ) -> dict[str, NDArray[np.float32]]:
        """Vectors of rows in the named spaces that count, as they are now."""
        return {
            other.name: self._catalogue.gather_space(other.name, rows, queries.later_vectors)
            for other in model.space.others
        }

    @staticmethod
    def _priors(model: Model, rows: NDArray[np.int32]) -> NDArray[np.float32]:
        known = (rows >= 0) & (rows < len(model.items))
        out = np.zeros((*rows.shape, 1), dtype=np.float32)
        out[known, 0] = model.items[rows[known], -1]
        return out

    @staticmethod
    def _towards(model: Model, profile: Profile) -> NDArray[np.float32]:
        """float32, shape (B, C, r + 1); an item's score is its largest product with a user's C rows."""
        interests = profile.interest_rows() * np.float32(model.blend)
        # The best interest plus the affinity is the best of interests that have the affinity added.
        towards = np.repeat(profile.affinity[:, None, :], interests.shape[1], axis=1)
        towards[:, :, :-1] += interests
        return towards

    @staticmethod
    def _profile_scores(
        model: Model, profile: Profile, features: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """float32, shape (B, n_items): one matrix product for all interests of the batch."""
        items = model.items if features is None else features
        towards = ProfileScorer._towards(model, profile)
        batch, count, _ = towards.shape
        flat = towards.reshape(batch * count, -1)
        scores = np.empty((batch, len(items)), dtype=np.float32)
        for start in range(0, len(items), _BLOCK):
            block = items[start : start + _BLOCK]
            part = (flat @ block.T).reshape(batch, count, len(block))
            np.max(part, axis=1, out=scores[:, start : start + len(block)])
        scores -= profile.offset
        return scores

    def parts(
        self, model: Model, queries: Queries
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], tuple[NDArray[Any], NDArray[Any]]]:
        """The two terms of the score apart, for validation.

        Returns:
            affinity float32 (B, n_items), best interest float32 (B, n_items), and the index arrays
            (query, item) of what the histories hold.
        """
        profile = self.profile(model, queries)
        affinity = profile.affinity @ model.items.T - profile.offset
        cosines = profile.interest_rows() @ model.items[:, :-1].T
        histories = queries.histories
        return affinity, cosines.max(axis=1), (histories.owners(), histories.items)
