"""The retriever ``content``: multi-interest profiles in text space plus a learnt affinity.

An item's score for a user is

    affinity(profile, item) + blend * max over interests c of  weight_c * cos(medoid_c, item)

The second term finds what reads like one of the user's interests (medoids of clustered recent
items, PinnerSage: Pal et al. 2020). The first is a bilinear map from the recency-weighted mean of
the history to the item's text and prior popularity, learnt in closed form from what users went on
to (:func:`recserve_content.space.learn_affinity`). Both read nothing of an item but its vectors and a
popularity prior that is itself predicted from them while an item has few events.

Vectors are those of texts, and those of named spaces, such as pictures, as far as they helped on held-out
events: :class:`recserve_content.spaces.ItemSpace` puts them side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recserve import (
    Catalogue,
    Dataset,
    FitContext,
    InvertedFileIndex,
    Queries,
    Ragged,
    Retrieved,
    in_parts,
    mask_columns,
    mask_scores,
    sample_queries,
    top_k,
)
from recserve_content.model import Model
from recserve_content.parameters import ContentParams
from recserve_content.scoring import Profile, ProfileScorer
from recserve_content.training import fit_model


class ContentRetriever(ProfileScorer):
    """Content-based candidate generation.

    Works without being fitted, from text similarity alone; :meth:`fit` adds what the data teach.

    Args:
        params: See :class:`recserve_content.parameters.ContentParams`.
        catalogue: Items with vectors.

    Raises:
        ValueError: The catalogue has no vectors.
    """

    def __init__(self, params: ContentParams, catalogue: Catalogue) -> None:
        super().__init__(params, catalogue)
        self._facts: dict[str, Any] = {}
        self._model: Model | None = None

    @property
    def model(self) -> Model:
        """The learnt state; plain text similarity before :meth:`fit` or :meth:`load`."""
        if self._model is None:
            self._model = Model.plain(self._catalogue)
        return self._model

    def fit(self, data: Dataset, context: FitContext) -> Mapping[str, Any]:
        """Learn text space, prior, affinity and blend; see :mod:`recserve_content.training`."""
        model, self._facts = fit_model(self, self._params, data, context)
        if len(self._catalogue) > self._params.approximate_above and len(data):
            model = self._indexed(model, data, context.seed)
            assert model.index is not None
            self._facts["index"] = model.index.facts()
        self._model = model
        return self._facts

    def _indexed(self, model: Model, data: Dataset, seed: int) -> Model:
        """The model with an index that is tuned for users of the data and for items that they liked."""
        queries = sample_queries(data, seed)
        towards = self._towards(model, self.profile(model, queries))
        users = np.arange(len(queries))
        asked = towards[users, users % towards.shape[1]]
        anchors = queries.histories.items[queries.histories.offsets[1:] - 1]
        similar = users % 4 >= 2
        asked[similar] = _direction(model.items[anchors[similar], :-1])
        return replace(model, index=InvertedFileIndex.build(model.items, asked, queries.excluded, seed=seed))

    def save(self, directory: Path) -> None:
        """Write ``state.safetensors``, ``items.npy`` and ``content.json``."""
        self.model.save(directory, self._facts)

    def load(self, directory: Path) -> None:
        """Restore what :meth:`save` wrote.

        Raises:
            BundleError: A file is missing, damaged or does not fit the catalogue.
        """
        self._model, self._facts = Model.load(directory, self._catalogue)

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        """The best ``k`` items; where there are many, those that an index finds.

        A query with an anchor gets the items most similar to it. Otherwise its text and its history
        count, each where there is one; a query with neither gets an all-pad row. A query with a text has
        every item scored.
        """
        if self.model.index is None:
            return self._retrieve(queries, k)
        if not _with_text(queries):
            return self._search(self.model.index, queries, k)
        if len(queries) > 1:
            return in_parts(queries, 1, lambda part: self.retrieve(part, k))
        return self._retrieve(queries, k)

    def _retrieve(self, queries: Queries, k: int) -> Retrieved:
        """Score all items."""
        model = self.model
        profile = self.profile(model, queries)
        scores = self._profile_scores(model, profile)
        spoken = profile.recent.spoken
        scores[~spoken] = 0
        spoken = spoken | self._add_text(scores, queries)
        anchored = self._similar(model, scores, queries)
        scores[~(spoken | anchored)] = -np.inf
        items, best = top_k(mask_scores(scores, queries), k)
        return self._explained(queries, profile, anchored, items, best)

    def _search(self, index: InvertedFileIndex, queries: Queries, k: int) -> Retrieved:
        """The same without scoring all items: the best for each interest are merged. Reads no text."""
        model = self.model
        profile = self.profile(model, queries)
        towards = self._towards(model, profile)
        vectors = self._vectors(model, queries.anchors, queries)
        anchored = (queries.anchors >= 0) & vectors.any(axis=1)
        k = min(k, len(model.items))
        items = np.full((len(queries), k), -1, dtype=np.int32)
        best = np.full((len(queries), k), -np.inf, dtype=np.float32)
        barred = queries.barred
        for query in np.flatnonzero(anchored | profile.recent.spoken).tolist():
            asked = np.unique(towards[query], axis=0)
            if anchored[query]:
                asked = _direction(vectors[query : query + 1])
            count = len(asked)
            excluded = Ragged.of([barred[query]] * count)
            found, scores = index.search(asked, k, (queries.allowed[query],) * count, excluded)
            merged, values = _merged(found.ravel(), scores.ravel(), k)
            items[query, : len(merged)], best[query, : len(merged)] = merged, values
        best[~anchored] -= profile.offset[~anchored]
        return self._explained(queries, profile, anchored, items, best)

    def _explained(
        self,
        queries: Queries,
        profile: Profile,
        anchored: NDArray[np.bool_],
        items: NDArray[np.int32],
        best: NDArray[np.float32],
    ) -> Retrieved:
        """What was found, with the evidence that is wanted."""
        if not queries.wants_evidence:
            return Retrieved.of(items, best)
        evidence = self._evidence(self.model, profile, items)
        evidence[anchored] = -1
        evidence = queries.text_evidence(evidence, len(self.model.items))
        return Retrieved(items, best, evidence)

    def retrieve_among(
        self, queries: Queries, rows: NDArray[np.int32], vectors: NDArray[np.float32], k: int
    ) -> Retrieved:
        """Judge items by their vectors alone, and by the popularity that these let expect."""
        model = self.model
        profile = self.profile(model, queries)
        features = model.features_of(vectors, self._named(model, rows, queries))
        scores = self._profile_scores(model, profile, features)
        spoken = profile.recent.spoken
        scores[~spoken] = 0
        spoken = spoken | self._add_text(scores, queries, vectors)
        anchored = self._similar(model, scores, queries, features)
        scores[~(spoken | anchored)] = -np.inf
        places, best = top_k(mask_columns(scores, rows, queries), k)
        items = np.where(places < 0, np.int32(-1), rows[places])
        if not queries.wants_evidence:
            return Retrieved.of(items, best)
        seeds = self._evidence(model, profile, places, features)
        seeds[anchored] = -1
        return Retrieved(items, best, queries.text_evidence(seeds, len(model.items)))

    def _add_text(
        self,
        scores: NDArray[np.float32],
        queries: Queries,
        among: NDArray[np.float32] | None = None,
    ) -> NDArray[np.bool_]:
        """Add the cosine with the query text, standardised over the catalogue.

        Returns:
            Who has a text, bool, shape (B,).
        """
        texts, vectors = queries.text_vectors, self._catalogue.vectors
        if texts is None or vectors is None:
            return np.zeros(len(queries), dtype=bool)
        given: NDArray[np.bool_] = np.abs(texts).max(axis=1, initial=0) > 0
        if given.any():
            catalogue = texts[given] @ vectors.T
            deviation = catalogue.std(axis=1, keepdims=True)
            cosine = catalogue if among is None else texts[given] @ among.T
            cosine = cosine - catalogue.mean(axis=1, keepdims=True)
            cosine /= np.where(deviation > 1e-6, deviation, 1)
            scores[given] += np.float32(self._params.text_weight) * cosine
        return given

    def _similar(
        self,
        model: Model,
        scores: NDArray[np.float32],
        queries: Queries,
        features: NDArray[np.float32] | None = None,
    ) -> NDArray[np.bool_]:
        """Overwrite rows that have an anchor with its cosines; returns which, bool, (B,)."""
        vectors = self._vectors(model, queries.anchors, queries)
        anchored: NDArray[np.bool_] = queries.anchors >= 0
        anchored &= np.abs(vectors).max(axis=1, initial=0) > 0
        if anchored.any():
            items = model.items if features is None else features
            scores[anchored] = vectors[anchored] @ items[:, :-1].T
        return anchored

    @staticmethod
    def _evidence(
        model: Model,
        profile: Profile,
        items: NDArray[np.int32],
        features: NDArray[np.float32] | None = None,
    ) -> NDArray[np.int32]:
        """The recent item nearest to each candidate within the interest that speaks for it most."""
        known = model.items if features is None else features
        seeds = np.full(items.shape, -1, dtype=np.int32)
        interests = profile.interests
        for user in np.flatnonzero(profile.recent.spoken):
            found = items[user] >= 0
            candidates = known[items[user][found], :-1]
            cosine = profile.vectors[user] @ candidates.T  # (L, K)
            claims = cosine[interests.medoids[user]] * interests.weights[user][:, None]
            winner = claims.argmax(axis=0)
            inside = interests.members[user][:, None] == winner[None, :]
            nearest = np.where(inside, cosine, -np.inf).argmax(axis=0)
            seeds[user, found] = profile.recent.rows[user][nearest]
        return seeds


def _with_text(queries: Queries) -> bool:
    return queries.text_vectors is not None and bool(queries.text_vectors.any())


def _direction(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights of item features that score by cosine alone: the prior has none."""
    return np.concatenate([vectors, np.zeros((len(vectors), 1), dtype=np.float32)], axis=1)


def _merged(
    rows: NDArray[np.int32], scores: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The best ``k`` of several lists in a row, each item once with its best score, without pads."""
    order = np.lexsort((rows, -scores))
    order = order[rows[order] >= 0]
    _, first = np.unique(rows[order], return_index=True)
    chosen = order[np.sort(first)][:k]
    return rows[chosen], scores[chosen]
