"""Inference: preferred directions of users among text vectors, and what they say of items. Thread-safe."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from recserve import BoolArray, Catalogue, FloatArray, Histories, Int32Array, Queries
from recserve_bert_sequence.sequences import newest
from recserve_bert_sequence.storage import Stored

_SAMPLE = 2048
"""Items of the catalogue that stand for all others where users are compared."""


@dataclass(frozen=True, slots=True)
class Preferences:
    """What B users prefer: an item's logit is direction . vector - offset + prior.

    Attributes:
        directions: float32, shape (B, d).
        offsets: float32, shape (B,).
        known: bool, shape (B,); whether there was anything to read.
    """

    directions: FloatArray
    offsets: FloatArray
    known: BoolArray


class PreferenceReader:
    """Reads histories and compares what they prefer with text vectors of items.

    Args:
        stored: The fitted model.
        catalogue: Items with vectors.
    """

    def __init__(self, stored: Stored, catalogue: Catalogue) -> None:
        self._stored = stored
        self._network = stored.network.eval()
        self._device = stored.network.mean.device
        self._catalogue = catalogue
        self._scale = np.float32(stored.network.popularity.item())

    @torch.inference_mode()
    def read(self, queries: Queries, text_weight: float = 0.0) -> Preferences:
        """Preferences of users as of their histories, their anchors, and what they ask for in words.

        Args:
            queries: The batch.
            text_weight: What is added of the vector of a query's text.
        """
        extra = queries.extra_vectors
        live = 0 if extra is None else len(extra)
        histories = _with_anchors(queries, self._stored.anchor_event).known(len(self._catalogue) + live)
        sequences = newest(histories, self._stored.window)
        texts = self._catalogue.gather(sequences.items.astype(np.int32), extra)
        states = self._network.last_states(
            self._network.project(torch.from_numpy(texts).to(self._device)), sequences
        )
        found = [tensor.cpu().numpy() for tensor in self._network.directions(states)]
        known = (sequences.lengths > 0) & self._stored.ready
        directions, offsets = (
            np.where(known[:, None], found[0], np.float32(0)),
            np.where(known, found[1], np.float32(0)),
        )
        if queries.text_vectors is not None:
            directions = directions + np.float32(text_weight) * queries.text_vectors
            known = known | queries.text_vectors.any(axis=1)
        return Preferences(directions, offsets, known)

    def prior(self, rows: Int32Array, extra: FloatArray | None = None) -> FloatArray:
        """What popularity adds to the logits of rows; see :meth:`Popularity.of_rows`."""
        return self._scale * self._stored.popularity.of_rows(rows, extra)

    def prior_of_texts(self, vectors: FloatArray) -> FloatArray:
        """What guessed popularity adds to the logits of items with these vectors."""
        return self._scale * self._stored.popularity.guess(vectors)

    def affinity(self, queries: Queries, item: int) -> FloatArray:
        """How much each user wants one item, comparable between users.

        The logit itself where the model was learnt by binary cross-entropy. Otherwise logits mean something
        within one user only: then it is the log of how much likelier the item is than an average one.

        Returns:
            float32, shape (B,); -inf where nothing is known of a user.
        """
        read = self.read(replace(queries, text_vectors=None))
        vector = self._catalogue.gather(np.array([item], dtype=np.int32), queries.extra_vectors)[0]
        logits = read.directions @ vector + self.prior(np.array([item], np.int32), queries.extra_vectors)
        if self._stored.bce:
            logits = logits - read.offsets
        else:
            step = max(len(self._catalogue) // _SAMPLE, 1)
            sample = np.arange(0, len(self._catalogue), step, dtype=np.int32)
            others = read.directions @ self._catalogue.gather(sample).T + self.prior(sample)
            most = others.max(axis=1, keepdims=True, initial=-np.inf)
            logits = logits - most[:, 0] - np.log(np.exp(others - most).mean(axis=1))
        return np.where(read.known, logits, -np.inf).astype(np.float32)

    def evidence(self, items: Int32Array, queries: Queries) -> Int32Array:
        """The liked item of the history whose text is nearest to each item's.

        Args:
            items: int32, shape (B, K); -1 pads.
            queries: The batch.

        Returns:
            int32, shape (B, K); catalogue rows, -1 where there is none.
        """
        anchored = _with_anchors(queries, self._stored.anchor_event)
        liked = newest(anchored.positive().known(len(self._catalogue)), self._stored.window).items
        found = np.full(items.shape, -1, dtype=np.int32)
        for row, history in enumerate(liked):
            history = history[history >= 0].astype(np.int32)
            asked = np.flatnonzero(items[row] >= 0)
            if len(history) and len(asked):
                near = self._catalogue.gather(items[row, asked]) @ self._catalogue.gather(history).T
                found[row, asked] = history[near.argmax(axis=1)]
        return found


def _with_anchors(queries: Queries, event: int) -> Histories:
    """Histories with each query's anchor as the newest event."""
    old, anchored = queries.histories, queries.anchors >= 0
    if not anchored.any():
        return old
    ends = old.offsets[1:][anchored]
    return Histories(
        old.offsets + np.concatenate([[0], np.cumsum(anchored)]),
        np.insert(old.items, ends, queries.anchors[anchored]),
        np.insert(old.events, ends, np.int16(event)),
        np.insert(old.weights, ends, np.float32(1)),
        np.insert(old.timestamps, ends, queries.times[anchored]),
    )
