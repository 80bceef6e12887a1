"""Ranker and retriever over one sequence model: what components share that differ by their network."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch

from recserve import (
    BundleError,
    Candidates,
    Catalogue,
    ConfigError,
    Dataset,
    FitContext,
    FloatArray,
    InvertedFileIndex,
    Queries,
    RankingExamples,
    RecserveError,
    Retrieved,
    compiled,
    mask_scores,
    sample_queries,
    top_k,
)
from recserve_sequence import storage
from recserve_sequence.blend import Blend, Signals, compare, standardise
from recserve_sequence.network import MakeNetwork
from recserve_sequence.parameters import SequenceParams
from recserve_sequence.predictor import Server
from recserve_sequence.training.loop import train

Params = TypeVar("Params", bound=SequenceParams)

_CHUNK = 256  # examples scored at once while the blend is fitted
_LONG = 50  # events that make a history long, for the blend


class SequenceModel(ABC, Generic[Params]):
    """Network over a user's events, tied to the item vectors it ranks; subclasses say which network.

    As a retriever it ranks the whole catalogue; as a ranker it blends its score with those of the
    retrievers, weights learnt from what users did next (:meth:`fit_candidates`). After ``fit`` or
    ``load`` it is read-only and may be asked from any number of threads.

    Args:
        params: Validated parameters.
        catalogue: The items, with text vectors unless ``params.text`` is off.

    Raises:
        ConfigError: ``params.text`` is on and the catalogue has no vectors.

    Attributes:
        name: Of the component.
    """

    name: ClassVar[str]

    def __init__(self, params: Params, catalogue: Catalogue) -> None:
        if params.text and catalogue.vectors is None and len(catalogue):
            raise ConfigError(
                f"{self.name} reads text vectors, but the catalogue has none; configure an encoder or set "
                "text: false"
            )
        self._params = params
        self._catalogue = catalogue
        self._stored: storage.Stored | None = None
        self._server: Server | None = None
        self._blend = Blend.untrained()

    @abstractmethod
    def network(self) -> MakeNetwork:
        """Makes the network; it travels by pickle."""

    def fit(self, data: Dataset, context: FitContext) -> Mapping[str, Any]:
        """Train on all positive events; see :class:`recserve.Trainable`.

        Returns:
            Epochs, losses, validation nDCG@10 by epoch, and what was decided by the data's size.
        """
        fitted = train(self.name, self.network(), data, self._params, context)
        blend = None if context.previous is None else context.previous.get("blend")
        liked = data.events[data.weights > 0]
        common = int(np.bincount(liked).argmax()) if len(liked) else 0
        self._use(
            storage.Stored(
                network=fitted.network,
                matrix=fitted.matrix,
                popularity=np.log1p(data.item_counts).astype(np.float32),
                window=fitted.facts["window"],
                ready=fitted.facts["epochs"] > 0,
                anchor_event=common,
                blend=blend,
            )
        )
        facts = fitted.facts if blend is None else {**fitted.facts, "blend": blend}
        if data.n_items > self._params.approximate_above and fitted.facts["epochs"] > 0:
            facts = {**facts, "index": self._add_index(data, context.seed)}
        return facts

    def _add_index(self, data: Dataset, seed: int) -> Mapping[str, Any]:
        """Index the item vectors, tuned for states of users of the data; returns its facts."""
        stored, server = self._fitted()
        queries = sample_queries(data, seed)
        states, _ = server.states(queries)
        index = InvertedFileIndex.build(stored.matrix, states.cpu().numpy(), queries.excluded, seed=seed)
        self._use(dataclasses.replace(stored, index=index))
        return index.facts()

    def fit_candidates(self, examples: RankingExamples, context: FitContext) -> Mapping[str, Any]:
        """Learn to blend; see :class:`recserve.LearnsFromCandidates` and :class:`Blend`.

        Returns:
            ``blend``: sources and weights by feature name; ``blend_ndcg@10``: how the blend does on
            users it was not learnt on, beside the sequence score alone and retrieval's order.
        """
        stored, _ = self._fitted()
        queries = examples.queries.with_texts(len(self._catalogue))
        signals = self._signals_in_chunks(queries, examples.candidates)
        offered, labels, l2 = examples.candidates, examples.labels, self._params.blend_l2
        checked = compare(signals, offered, labels, examples.users, l2)
        blend = Blend.learn(signals, offered, labels, examples.users, l2).to_json()
        self._use(dataclasses.replace(stored, blend=blend))
        return {"blend": blend, "blend_ndcg@10": checked}

    def save(self, directory: Path) -> None:
        """Write safetensors, npy and json into an existing empty directory."""
        storage.write(self._fitted()[0], directory)

    def load(self, directory: Path) -> None:
        """Restore what :meth:`save` wrote.

        Raises:
            BundleError: A file is missing, damaged or does not fit the catalogue.
        """
        dimension = self._catalogue.dimension if self._params.text else 0
        stored = storage.read(self.name, self.network(), directory, len(self._catalogue), dimension)
        if torch.cuda.is_available():
            stored.network.cuda()
        compiled("recserve_sequence.kernels")  # now, not while somebody waits
        self._use(stored)

    def score(self, queries: Queries, candidates: Candidates) -> FloatArray:
        """Score candidates: the blend, plus closeness to the request's free text.

        What users wrote is a step of their sequence like any other, with the text's vector as its input.
        Users without any event (and no anchor) keep the order that retrieval gave.

        Returns:
            float32, shape (B, K); -inf at pads.
        """
        _, server = self._fitted()
        queries = queries.with_texts(len(self._catalogue))
        valid = candidates.items >= 0
        if valid.size == 0:
            return np.full(candidates.items.shape, -np.inf, dtype=np.float32)
        scores = self._blend.score(self._signals(queries, candidates), candidates)
        texts = queries.text_vectors
        if texts is not None and texts.any():
            near = server.cosine(candidates.items.astype(np.int64), texts, queries)
            scores = scores + np.float32(self._params.text_weight) * standardise(near, valid)
        return np.where(valid, scores, np.float32(-np.inf))

    def affinity(self, queries: Queries, item: int) -> FloatArray:
        """How much each user wants an item; see :class:`recserve.ScoresUsers`."""
        stored, server = self._fitted()
        lift, known = server.affinity(queries.with_texts(len(self._catalogue)), item)
        return np.where(known & stored.ready, lift, np.float32(-np.inf))

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        """The k best items of the whole catalogue for each user state.

        A query without history but with an anchor is a session of one item; one with neither gets
        pads. Seeds are the liked history items most similar to what was found.

        Returns:
            Shape (B, min(k, n_items)).
        """
        stored, server = self._fitted()
        queries = queries.with_texts(len(self._catalogue))
        states, known = server.states(queries)
        known &= stored.ready
        if stored.index is None:
            scores = mask_scores(server.score_all(states), queries)
            scores[~known] = -np.inf
            items, best = top_k(scores, k)
        else:
            asked = np.where(known[:, None], states.cpu().numpy(), np.float32(0))
            items, best = stored.index.search(asked, k, queries.allowed, queries.barred)
        return Retrieved.of(items, best, server.evidence(items, queries) if queries.wants_evidence else None)

    def _signals(self, queries: Queries, candidates: Candidates) -> Signals:
        stored, server = self._fitted()
        items = candidates.items.astype(np.int64)
        states, known = server.states(queries)
        inside = (items >= 0) & (items < len(stored.popularity))
        popularity = np.where(inside, stored.popularity[np.where(inside, items, 0)], 0)
        length = np.minimum(queries.histories.lengths, _LONG).astype(np.float32)
        return Signals(
            sequence=server.score(states, items, queries),
            popularity=popularity.astype(np.float32),
            similarity=server.similarity(items, queries),
            known=known & stored.ready,
            length=np.log1p(length) / np.log1p(np.float32(_LONG)) - np.float32(0.5),
        )

    def _signals_in_chunks(self, queries: Queries, candidates: Candidates) -> Signals:
        parts = []
        for begin in range(0, max(len(queries), 1), _CHUNK):
            end = min(begin + _CHUNK, len(queries))
            rows = np.arange(begin, end)
            parts.append(self._signals(queries.part(begin, end), candidates.of_queries(rows)))
        return Signals.concatenate(parts)

    def _fitted(self) -> tuple[storage.Stored, Server]:
        if self._stored is None or self._server is None:
            raise RecserveError(f"{self.name} was asked before it was fitted or loaded")
        return self._stored, self._server

    def _use(self, stored: storage.Stored) -> None:
        try:
            blend = Blend.untrained() if stored.blend is None else Blend.from_json(stored.blend)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{self.name}: the blend is damaged ({error}); train again") from None
        self._blend = blend
        self._stored = stored
        self._server = Server(
            stored.network, stored.matrix, self._catalogue, stored.window, stored.anchor_event
        )
