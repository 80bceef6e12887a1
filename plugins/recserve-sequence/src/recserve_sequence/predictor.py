"""Inference with a fitted network: user states, scores of items, evidence items. Thread-safe."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from recserve import Catalogue, FloatArray, Histories, Int64Array, Queries
from recserve_sequence.network import SequenceNetwork
from recserve_sequence.windows import Padded, last_events

PROFILE_EVENTS = 10
"""Liked events whose mean text vector is the recent profile."""

COMPARED_ITEMS = 2048
"""Items of the catalogue that stand for all others where users are compared."""


class Server:
    """A network and the item vectors it produced.

    Nothing here changes after construction, so that any number of threads may ask at once.

    Args:
        network: Fitted; its id vectors are already part of ``matrix``.
        matrix: float32, shape (n_items, width); vectors of the catalogue's items, possibly mapped
            copy-on-write from a file.
        catalogue: The items.
        window: Newest events that are read.
        anchor_event: Event type that an anchor is read as.
    """

    def __init__(
        self,
        network: SequenceNetwork,
        matrix: FloatArray,
        catalogue: Catalogue,
        window: int,
        anchor_event: int,
    ) -> None:
        self._network = network.eval()
        self._device = next(network.parameters()).device
        self._matrix = torch.from_numpy(matrix).to(self._device)
        self._catalogue = catalogue
        self._window = window
        self._anchor_event = anchor_event
        self._text = network.items.projection is not None
        self._items = matrix
        self._reader = network.plain_reader()

    @torch.inference_mode()
    def states(self, queries: Queries) -> tuple[torch.Tensor, NDArray[np.bool_]]:
        """User states: one pass of the network over the batch.

        Returns:
            float32, shape (B, width), and bool, shape (B,): whether there was anything to read.
        """
        sequences = last_events(self._readable(queries), self._window)
        reader = self._reader
        if reader is not None and reader.suits(len(sequences.items)) and self._holds(sequences):
            return torch.from_numpy(reader(self._items, sequences)), sequences.lengths > 0
        vectors = self._gather(sequences.items, queries)
        return self._network.last_states(vectors, sequences), sequences.lengths > 0

    def _holds(self, sequences: Padded) -> bool:
        """Whether the matrix holds every item of some sequences."""
        return bool(sequences.items.max(initial=-1) < len(self._items))

    @torch.inference_mode()
    def score(self, states: torch.Tensor, items: Int64Array, queries: Queries) -> FloatArray:
        """Logits of B x K items, float32, shape (B, K); pads score 0."""
        n_items = len(self._catalogue)
        if items.size >= n_items and items.max(initial=-1) < n_items:
            # One product with every item reads less than so many candidates, and in their order.
            found = np.take_along_axis(self.score_all(states), np.maximum(items, 0), axis=1)
            return np.where(items >= 0, found, np.float32(0))
        vectors = self._gather(items, queries)
        scores: FloatArray = torch.einsum("bkd,bd->bk", vectors, states).cpu().numpy()
        return scores

    @torch.inference_mode()
    def score_all(self, states: torch.Tensor) -> FloatArray:
        """Logits of the whole catalogue, float32, shape (B, n_items)."""
        scores: FloatArray = (states @ self._matrix.T).cpu().numpy()
        return scores

    @torch.inference_mode()
    def affinity(self, queries: Queries, item: int) -> tuple[FloatArray, NDArray[np.bool_]]:
        """How much likelier one item is to each user than an average one, as a logarithm.

        Logits are comparable within one user only; beside those of other items they are between users too.

        Returns:
            float32, shape (B,), and bool, shape (B,): whether there was anything to read.
        """
        states, known = self.states(queries)
        step = max(len(self._matrix) // COMPARED_ITEMS, 1)
        others = torch.logsumexp(states @ self._matrix[::step].T, dim=1)
        wanted = states @ self._gather(np.array([item]), queries)[0]
        lift = wanted - others + np.log(len(range(0, len(self._matrix), step)))
        return lift.cpu().numpy(), known

    @torch.inference_mode()
    def evidence(self, items: NDArray[np.int32], queries: Queries) -> NDArray[np.int32]:
        """The liked history item most similar to each item, by cosine of item vectors.

        Args:
            items: int32, shape (B, K); -1 pads.
            queries: The batch.

        Returns:
            int32, shape (B, K); catalogue rows, -1 where there is none.
        """
        readable = self._readable(queries).positive().known(len(self._catalogue))
        liked = last_events(readable, self._window).items
        found = np.full(items.shape, -1, dtype=np.int32)
        for row, history in enumerate(liked):
            history = history[history >= 0]
            asked = np.flatnonzero(items[row] >= 0)
            if len(history) and len(asked):
                near = self._unit(items[row, asked]) @ self._unit(history).T
                found[row, asked] = history[near.argmax(dim=1).cpu().numpy()]
        return found

    def similarity(self, items: Int64Array, queries: Queries) -> FloatArray:
        """Cosine of text vectors to the recent profile (an anchor alone is one), shape (B, K)."""
        if not self._text:
            return np.zeros(items.shape, dtype=np.float32)
        liked = self._readable(queries).positive()
        recent = last_events(liked, PROFILE_EVENTS).items
        profile = self._catalogue.gather(recent.astype(np.int32), queries.extra_vectors).sum(axis=1)
        anchored = queries.anchors >= 0
        if anchored.any():
            profile[anchored] = self._catalogue.gather(queries.anchors[anchored], queries.extra_vectors)
        return self.cosine(items, profile, queries)

    def cosine(self, items: Int64Array, directions: FloatArray, queries: Queries) -> FloatArray:
        """Cosine of text vectors to one direction a query.

        Args:
            items: int, shape (B, K).
            directions: float32, shape (B, d); zero rows give zeros.
            queries: The batch, for its live-encoded vectors.
        """
        if not self._text:
            return np.zeros(items.shape, dtype=np.float32)
        norm = np.linalg.norm(directions, axis=1, keepdims=True)
        unit = (directions / np.where(norm > 0, norm, 1)).astype(np.float32)
        return self._catalogue.products(items.astype(np.int32), unit, queries.extra_vectors)

    def _readable(self, queries: Queries) -> Histories:
        """Histories with the anchor as the newest event, without what has no vector."""
        histories = _with_anchors(queries, self._anchor_event)
        extra = queries.extra_vectors
        live = len(extra) if self._text and extra is not None else 0
        return histories.known(len(self._catalogue) + live)

    def _gather(self, rows: Int64Array, queries: Queries) -> torch.Tensor:
        """Item vectors of rows, live-encoded ones by text alone; zeros at pads."""
        n_items = len(self._catalogue)
        index = torch.from_numpy(rows.astype(np.int64)).to(self._device)
        vectors = (
            torch.nn.functional.embedding(index.clamp(0, max(n_items - 1, 0)), self._matrix)
            * ((index >= 0) & (index < n_items))[..., None]
        )
        extra = queries.extra_vectors
        if self._text and extra is not None and len(extra):
            live = (index >= n_items) & (index < n_items + len(extra))
            if live.any():
                # There may be thousands of new items; only those that occur are worked out.
                used, place = torch.unique(index[live] - n_items, return_inverse=True)
                text = torch.from_numpy(extra[used.cpu().numpy()].astype(np.float32)).to(self._device)
                slots = torch.full((len(text),), -1, device=self._device)
                vectors[live] = self._network.items(text, slots)[place]
        return vectors

    def _unit(self, rows: NDArray[np.integer]) -> torch.Tensor:
        vectors = self._matrix[torch.from_numpy(rows.astype(np.int64)).to(self._device)]
        return torch.nn.functional.normalize(vectors, dim=1)


def _with_anchors(queries: Queries, event: int) -> Histories:
    """Histories with each query's anchor appended as an event at the query's time."""
    old = queries.histories
    anchored = (queries.anchors >= 0).astype(np.int64)
    if not anchored.any():
        return old
    ends = old.offsets[1:][anchored > 0]
    offsets = old.offsets + np.concatenate([[0], np.cumsum(anchored)])
    return Histories(
        offsets,
        np.insert(old.items, ends, queries.anchors[anchored > 0]),
        np.insert(old.events, ends, np.int16(event)),
        np.insert(old.weights, ends, np.float32(1)),
        np.insert(old.timestamps, ends, queries.times[anchored > 0]),
    )
