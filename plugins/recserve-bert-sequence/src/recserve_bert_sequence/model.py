"""The component ``bert_sequence``: ranker and retriever over one model of texts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recserve_torch import OffersTower

from recserve import (
    Candidates,
    Catalogue,
    ConfigError,
    Dataset,
    FitContext,
    FloatArray,
    Int32Array,
    Queries,
    RecserveError,
    Retrieved,
    mask_columns,
    mask_scores,
    top_k,
)
from recserve_bert_sequence import storage
from recserve_bert_sequence.parameters import BertSequenceParams
from recserve_bert_sequence.preference import PreferenceReader
from recserve_bert_sequence.training.loop import train


class BertSequence:
    """BERT, an LSTM and a fully connected layer: one user's recent texts in, a preference for any text out.

    After ``fit`` or ``load`` it is read-only and may be asked from any number of threads.

    Args:
        params: Validated parameters.
        catalogue: The items, with text vectors.

    Raises:
        ConfigError: The catalogue has no vectors.
    """

    def __init__(self, params: BertSequenceParams, catalogue: Catalogue) -> None:
        if catalogue.vectors is None and len(catalogue):
            raise ConfigError(
                "bert_sequence reads text vectors, but the catalogue has none; configure an encoder"
            )
        self._params = params
        self._catalogue = catalogue
        self._stored: storage.Stored | None = None
        self._reader: PreferenceReader | None = None

    def fit(self, data: Dataset, context: FitContext) -> Mapping[str, Any]:
        """Train on all positive events; see :class:`recserve.Trainable`.

        Returns:
            Epochs, losses, and validation nDCG@10 by epoch.
        """
        vectors, encoder = data.catalogue.vectors, self._trained_encoder(context)
        if vectors is None:
            vectors = np.zeros((0, 1), np.float32)
        fitted = train(data, vectors, self._params, context, encoder)
        if encoder is not None and fitted.encoder is not None:
            encoder.learn(fitted.encoder, {"epochs": fitted.facts["epochs"], "trained_by": "bert_sequence"})
        liked = data.events[data.weights > 0]
        self._use(
            storage.Stored(
                fitted.network,
                fitted.popularity,
                window=self._params.window,
                bce=self._params.loss == "bce",
                anchor_event=int(np.bincount(liked).argmax()) if len(liked) else 0,
                ready=fitted.facts["epochs"] > 0,
            )
        )
        return fitted.facts

    def _trained_encoder(self, context: FitContext) -> OffersTower | None:
        """The text encoder, if it is trained with the network.

        Raises:
            ConfigError: It cannot be.
        """
        if not self._params.end_to_end:
            return None
        encoder: object = context.encoder
        if isinstance(encoder, OffersTower):
            return encoder
        raise ConfigError(
            "bert_sequence: end_to_end needs a text encoder that other components can train, such as bert "
            "with encoder.params.tune head, last_n or lora"
        )

    def save(self, directory: Path) -> None:
        """Write safetensors and JSON into an existing empty directory."""
        storage.write(self._fitted()[0], directory)

    def load(self, directory: Path) -> None:
        """Restore what :meth:`save` wrote.

        Raises:
            BundleError: A file is missing, damaged or does not fit the catalogue.
        """
        stored = storage.read(directory, len(self._catalogue), self._catalogue.dimension)
        if torch.cuda.is_available():
            stored.network.cuda()
        self._use(stored)

    def score(self, queries: Queries, candidates: Candidates) -> FloatArray:
        """Logits of candidates. Users of whom nothing is known keep the order that retrieval gave.

        What users wrote is a step of their sequence like any other, with the text's vector as its input.

        Returns:
            float32, shape (B, K); -inf at pads.
        """
        reader, queries = self._fitted()[1], queries.with_texts(len(self._catalogue))
        read = reader.read(queries, self._params.text_weight)
        logits = self._catalogue.products(candidates.items, read.directions, queries.extra_vectors)
        logits = logits + reader.prior(candidates.items, queries.extra_vectors)
        given = np.where(np.isfinite(candidates.scores), candidates.scores, np.float32(0))
        scores = np.where(read.known[:, None], logits - read.offsets[:, None], given)
        return np.where(candidates.items >= 0, scores, np.float32(-np.inf)).astype(np.float32)

    def affinity(self, queries: Queries, item: int) -> FloatArray:
        """See :class:`recserve.ScoresUsers`."""
        return self._fitted()[1].affinity(queries.with_texts(len(self._catalogue)), item)

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        """The k best items of the whole catalogue; all pads for users of whom nothing is known."""
        vectors = self._catalogue.vectors
        return self._best(queries, np.zeros((0, 1), np.float32) if vectors is None else vectors, k, None)

    def retrieve_among(self, queries: Queries, rows: Int32Array, vectors: FloatArray, k: int) -> Retrieved:
        """See :class:`recserve.RetrievesNewItems`."""
        return self._best(queries, vectors, k, rows)

    def _best(self, queries: Queries, vectors: FloatArray, k: int, rows: Int32Array | None) -> Retrieved:
        """The k best of some items (rows), or of the catalogue, by their vectors."""
        reader, queries = self._fitted()[1], queries.with_texts(len(self._catalogue))
        read = reader.read(queries, self._params.text_weight)
        prior = self._prior(reader, vectors, rows)
        scores = (read.directions @ vectors.T - read.offsets[:, None] + prior).astype(np.float32)
        scores = mask_scores(scores, queries) if rows is None else mask_columns(scores, rows, queries)
        scores[~read.known] = -np.inf
        items, best = top_k(scores, k)
        if rows is not None:
            items = np.where(items >= 0, rows[np.maximum(items, 0)], np.int32(-1))
        evidence = reader.evidence(items, queries) if queries.wants_evidence and rows is None else None
        return Retrieved.of(items, best, evidence)

    def _prior(self, reader: PreferenceReader, vectors: FloatArray, rows: Int32Array | None) -> FloatArray:
        """What popularity adds; of new items, and of changed ones too, it is guessed by their texts."""
        if rows is None:
            return reader.prior(np.arange(len(vectors), dtype=np.int32))
        return reader.prior_of_texts(vectors)

    def _fitted(self) -> tuple[storage.Stored, PreferenceReader]:
        if self._stored is None or self._reader is None:
            raise RecserveError("bert_sequence was asked before it was fitted or loaded")
        return self._stored, self._reader

    def _use(self, stored: storage.Stored) -> None:
        self._stored, self._reader = stored, PreferenceReader(stored, self._catalogue)
