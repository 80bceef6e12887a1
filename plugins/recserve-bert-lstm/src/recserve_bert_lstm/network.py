"""The network: item vectors from text and id, an LSTM over events, a user state.

Item vectors are tied: what a user did and what a user is offered live in one space.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from recserve_torch import NO_DROPOUT, Dropout
from torch import nn
from torch.nn import functional

from recserve_bert_lstm.windows import GAP_BUCKETS, Padded

DECAYS = (0.5, 0.9, 1.0)
"""What a liked event still weighs after one more event, in each of the means of :class:`Taste`."""

RECENT = 50
"""Events that the LSTM reads to answer a query: more of them cost time and change nothing in accuracy."""


class State(NamedTuple):
    """Recurrent state after a user's events, to go on from.

    Attributes:
        hidden: float, shape (1, B, width); of the LSTM.
        cell: float, shape (1, B, width); of the LSTM.
        sums: float, shape (len(DECAYS), B, width); decayed sums of liked item vectors.
        counts: float, shape (len(DECAYS), B, 1); decayed numbers of liked events.
    """

    hidden: torch.Tensor
    cell: torch.Tensor
    sums: torch.Tensor
    counts: torch.Tensor


class ItemTower(nn.Module):
    """Item vectors: projected text plus a learnt id vector; items without one share a vector in its place.

    Id vectors are no part of it: they are learnt in a table (:mod:`recserve_bert_lstm.training.id_table`)
    and then part of the stored item vectors.

    Args:
        text_dimension: Length of the text vectors; 0 for items by id alone.
        width: Length of item vectors.
    """

    def __init__(self, text_dimension: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.unknown = nn.Parameter(torch.zeros(width))
        self.projection = nn.Linear(text_dimension, width, bias=False) if text_dimension else None
        self.register_buffer("text_mean", torch.zeros(text_dimension))
        self.text_mean: torch.Tensor

    def initialise(self, vectors: NDArray[np.float32] | None) -> None:
        """Start the projection at the whitened principal axes of the text.

        Args:
            vectors: float32, shape (n, text_dimension); text vectors of (a sample of) the catalogue.
        """
        nn.init.zeros_(self.unknown)
        nn.init.zeros_(self.text_mean)
        if self.projection is None or vectors is None:
            return
        mean = vectors.mean(axis=0, dtype=np.float64)
        centred = vectors - mean
        values, axes = np.linalg.eigh(centred.T @ centred / max(len(vectors), 1))
        size = min(self.width, len(values))
        top = np.argsort(-values, kind="stable")[:size]
        spread = np.sqrt(np.maximum(values[top], 1e-4))
        start = np.zeros((self.width, len(values)))
        start[:size] = 0.1 * (axes[:, top] / spread).T
        with torch.no_grad():
            self.text_mean.copy_(torch.from_numpy(mean.astype(np.float32)))
            self.projection.weight.copy_(torch.from_numpy(start.astype(np.float32)))

    def forward(
        self, text: torch.Tensor | None, slots: torch.Tensor, ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Item vectors.

        Args:
            text: float, shape (M, text_dimension); None for a tower without text.
            slots: int64, shape (M,); row of the id vector in ``ids``, -1 for none.
            ids: float, shape (N, width); id vectors; None where no item has one.

        Returns:
            float, shape (M, width).
        """
        vectors = self.unknown.expand(len(slots), -1)
        if ids is not None and len(ids):
            own = functional.embedding(slots.clamp(min=0), ids)
            vectors = torch.where((slots >= 0)[:, None], own, vectors)
        if self.projection is not None and text is not None:
            vectors = vectors + self.projection(text - self.text_mean)
        return vectors


class Taste(nn.Module):
    """Decayed means of the item vectors a user liked, scaled by dimension: of late, and ever.

    Items near the mean of what was liked are good guesses from the first step of training on, and however
    long ago it was. The LSTM, which forgets, learns what order adds to that.

    Args:
        width: Length of item vectors.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(len(DECAYS), width))

    def forward(
        self, vectors: torch.Tensor, liked: torch.Tensor, dropout: Dropout, before: State | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The part of the user state after each event.

        Args:
            vectors: float, shape (B, L, width).
            liked: float, shape (B, L, 1); 1 at liked events, else 0.
            dropout: Applied to the means.
            before: What to go on from.

        Returns:
            float, shape (B, L, width), and ``sums`` and ``counts`` of :class:`State`.
        """
        batch, length, width = vectors.shape
        steps = torch.arange(length, device=vectors.device)
        ago = steps[:, None] - steps[None, :]
        decays = torch.tensor(DECAYS, dtype=vectors.dtype, device=vectors.device)[:, None, None]
        kernels = torch.where(ago >= 0, decays ** ago.clamp(min=0), 0.0).reshape(-1, length)
        # One product of all decays, with time first: by batches it takes several times as long.
        by_time = (vectors * liked).transpose(0, 1).reshape(length, -1)
        sums = (kernels @ by_time).view(-1, length, batch, width)
        counts = (kernels @ liked[..., 0].T).view(-1, length, batch, 1)
        if before is not None:
            faded = (decays ** (steps + 1)[:, None])[..., None]
            sums = sums + faded * before.sums[:, None]
            counts = counts + faded * before.counts[:, None]
        taste = torch.zeros_like(vectors)
        for scale, mean in zip(self.scale, _mean(sums, counts), strict=True):
            taste = taste + dropout(mean.transpose(0, 1)) * scale
        return taste, sums[:, -1], counts[:, -1]

    def last(self, vectors: torch.Tensor, liked: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """The part of the user state after the last event, in one pass without the states before.

        Args:
            vectors: float, shape (B, L, width); padded at the end.
            liked: float, shape (B, L, 1); 0 at pads.
            lengths: int64, shape (B,).

        Returns:
            float, shape (B, width).
        """
        ago = lengths[:, None] - 1 - torch.arange(vectors.shape[1], device=vectors.device)
        taste = torch.zeros_like(vectors[:, 0])
        for number, decay in enumerate(DECAYS):
            weights = liked * (decay ** ago.clamp(min=0).to(vectors.dtype))[..., None]
            sums = torch.einsum("blw,blo->bw", vectors, weights)
            taste = taste + _mean(sums, weights.sum(dim=1)) * self.scale[number]
        return taste


def _mean(sums: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Quotient; zeros where nothing was counted."""
    return sums / torch.where(counts > 0, counts, 1.0)


class Network(nn.Module):
    """Sequence of events in, user state after each event out: what the LSTM says plus :class:`Taste`.

    The recurrence only looks back, so a state can be kept and advanced by one event
    (:meth:`encode` takes and returns it).

    Args:
        text_dimension: See :class:`ItemTower`.
        n_event_types: Configured event types; one more row serves types configured later.
        width: Length of item vectors and user states, and units of the LSTM.
    """

    def __init__(self, text_dimension: int, n_event_types: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.items = ItemTower(text_dimension, width)
        self.event_types = nn.Embedding(n_event_types + 1, width)
        self.gaps = nn.Embedding(GAP_BUCKETS, width)
        self.confidence = nn.Linear(1, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.lstm = nn.LSTM(width, width)
        self.output = nn.Linear(width, width)
        self.taste = Taste(width)

    @classmethod
    def blank(cls, text_dimension: int, n_event_types: int, width: int) -> Network:
        """A network with unset weights; unlike the constructor it draws no global random numbers."""
        with torch.device("meta"):
            network = cls(text_dimension, n_event_types, width)
        return network.to_empty(device="cpu")

    def initialise(self, vectors: NDArray[np.float32] | None, generator: torch.Generator) -> None:
        """Random start from ``generator`` alone; see :meth:`ItemTower.initialise`."""
        nn.init.ones_(self.norm.weight)
        nn.init.zeros_(self.norm.bias)
        bound = 1.0 / math.sqrt(self.width)
        for parameter in self.lstm.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        for table in (self.event_types, self.gaps, self.confidence):
            nn.init.normal_(table.weight, std=0.02, generator=generator)
        nn.init.uniform_(self.output.weight, -bound, bound, generator=generator)
        nn.init.zeros_(self.output.bias)
        nn.init.constant_(self.taste.scale, 0.5 / len(DECAYS))
        with torch.no_grad():
            # An open forget gate at the start (Jozefowicz et al., 2015).
            self.lstm.get_parameter("bias_hh_l0")[self.width : 2 * self.width] += 1.0
        self.items.initialise(vectors)

    def plain_weights(self) -> tuple[Any, ...]:
        """What :func:`recserve_bert_lstm.kernels.last_states` reads between the sequences and its result."""

        def plain(tensor: torch.Tensor) -> NDArray[np.float32]:
            return np.ascontiguousarray(tensor.detach().cpu().numpy(), dtype=np.float32)

        lstm = self.lstm.get_parameter
        return (
            *(plain(self.event_types.weight), plain(self.gaps.weight), plain(self.confidence.weight.T)),
            *(plain(self.norm.weight), plain(self.norm.bias), float(self.norm.eps)),
            *(plain(lstm("weight_ih_l0").T), plain(lstm("weight_hh_l0").T)),
            plain(lstm("bias_ih_l0") + lstm("bias_hh_l0")),
            *(plain(self.output.weight.T), plain(self.output.bias)),
            *(np.array(DECAYS, dtype=np.float64), plain(self.taste.scale)),
        )

    def encode(
        self,
        vectors: torch.Tensor,
        events: torch.Tensor,
        weights: torch.Tensor,
        gaps: torch.Tensor,
        dropout: Dropout = NO_DROPOUT,
        state: State | None = None,
    ) -> tuple[torch.Tensor, State]:
        """User states after each event.

        Args:
            vectors: float, shape (B, L, width); item vectors of the events.
            events: int64, shape (B, L); event type codes.
            weights: float, shape (B, L); signed confidences.
            gaps: int64, shape (B, L); see ``gap_buckets``.
            dropout: Applied to what goes in and what comes out.
            state: What to go on from; None starts afresh.

        Returns:
            User states, float, shape (B, L, width), and what to go on from after the last position.
        """
        before = None if state is None else (state.hidden, state.cell)
        read = self._inputs(vectors, events, weights, gaps, dropout)
        # Never in mixed precision: a recurrence adds up its rounding errors.
        with torch.autocast(read.device.type, enabled=False):
            hidden, (last, cell) = self.lstm(read.float(), before)
        taste, sums, counts = self.taste(vectors, _liked(weights), dropout, state)
        states = self.output(dropout(hidden.transpose(0, 1))) + taste
        return states, State(last, cell, sums, counts)

    def _inputs(
        self,
        vectors: torch.Tensor,
        events: torch.Tensor,
        weights: torch.Tensor,
        gaps: torch.Tensor,
        dropout: Dropout,
    ) -> torch.Tensor:
        """What the LSTM reads, shape (L, B, width)."""
        codes = torch.clamp(events, 0, self.event_types.num_embeddings - 1)
        happened = (
            self.event_types(codes) + self.gaps(gaps) + self.confidence(weights.clamp(-5.0, 5.0)[..., None])
        )
        # Time first: oneDNN's LSTM is several times faster on a CPU that way.
        return dropout(self.norm(vectors) + happened).transpose(0, 1).contiguous()

    def encode_padded(
        self, vectors: torch.Tensor, sequences: Padded, dropout: Dropout = NO_DROPOUT
    ) -> torch.Tensor:
        """:meth:`encode` for NumPy sequences, moved to the device of ``vectors``."""
        states, _ = self.encode(vectors, *_tensors(sequences, vectors.device), dropout)
        return states

    def last_states(self, vectors: torch.Tensor, sequences: Padded) -> torch.Tensor:
        """User states after the last event of each sequence, float, shape (B, width).

        The same as the last of :meth:`encode_padded`, without working out those before, but for the LSTM's
        part in long sequences: it reads the :data:`RECENT` newest events. A sequence without events gets a
        state that means nothing.
        """
        events, weights, gaps = _tensors(sequences, vectors.device)
        lengths = torch.from_numpy(sequences.lengths).to(vectors.device)
        taste = self.taste.last(vectors, _liked(weights), lengths)
        rows = torch.arange(len(lengths), device=vectors.device)
        if vectors.shape[1] > RECENT:
            newest = (lengths - RECENT).clamp(min=0)[:, None] + torch.arange(RECENT, device=vectors.device)
            at = (rows[:, None], newest)
            vectors, events, weights, gaps = vectors[at], events[at], weights[at], gaps[at]
            lengths = lengths.clamp(max=RECENT)
        hidden, _ = self.lstm(self._inputs(vectors, events, weights, gaps, NO_DROPOUT))
        states: torch.Tensor = self.output(hidden[(lengths - 1).clamp(min=0), rows])
        return states + taste


def _liked(weights: torch.Tensor) -> torch.Tensor:
    return (weights > 0).to(weights.dtype)[..., None]


def _tensors(sequences: Padded, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    events = torch.from_numpy(sequences.events).to(device)
    weights = torch.from_numpy(sequences.weights).to(device)
    return events, weights, torch.from_numpy(sequences.gaps).to(device)
