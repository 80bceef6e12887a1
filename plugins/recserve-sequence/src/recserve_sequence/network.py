"""What networks of sequence models share: item vectors from text and id, taste, how an event is read.

Item vectors are tied: what a user did and what a user is offered live in one space.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from recserve_torch import NO_DROPOUT, Dropout
from torch import nn
from torch.nn import functional

from recserve import FloatArray
from recserve_sequence.windows import GAP_BUCKETS, Padded

DECAYS = (0.5, 0.9, 1.0)
"""What a liked event still weighs after one more event, in each of the means of :class:`Taste`."""


class TasteState(NamedTuple):
    """What :class:`Taste` goes on from after a user's events.

    Attributes:
        sums: float, shape (len(DECAYS), B, width); decayed sums of liked item vectors.
        counts: float, shape (len(DECAYS), B, 1); decayed numbers of liked events.
    """

    sums: torch.Tensor
    counts: torch.Tensor


@dataclass(frozen=True, slots=True)
class Shape:
    """What the data decides of a network.

    Attributes:
        text_dimension: Length of the text vectors; 0 for items by id alone.
        n_event_types: Configured event types; one more row serves types configured later.
        width: Length of item vectors and user states.
    """

    text_dimension: int
    n_event_types: int
    width: int


class PlainReader(Protocol):
    """Computes user states on a CPU without torch; of a network that no longer changes."""

    def suits(self, sequences: int) -> bool:
        """Whether it reads a batch of so many sequences sooner than torch does."""
        ...

    def __call__(self, matrix: FloatArray, sequences: Padded) -> FloatArray:
        """User states after the last event of each sequence.

        Args:
            matrix: float32, shape (n_items, width); item vectors.
            sequences: Of rows of the matrix.

        Returns:
            float32, shape (B, width); zeros, or what means nothing, where a sequence is empty.
        """
        ...


class ItemTower(nn.Module):
    """Item vectors: projected text plus a learnt id vector; items without one share a vector in its place.

    Id vectors are no part of it: they are learnt in a table (:mod:`recserve_sequence.training.id_table`)
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
    long ago it was. What reads the sequence learns what order adds to that.

    Args:
        width: Length of item vectors.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(len(DECAYS), width))

    def forward(
        self, vectors: torch.Tensor, liked: torch.Tensor, dropout: Dropout, before: TasteState | None = None
    ) -> tuple[torch.Tensor, TasteState]:
        """The part of the user state after each event.

        Args:
            vectors: float, shape (B, L, width).
            liked: float, shape (B, L, 1); 1 at liked events, else 0.
            dropout: Applied to the means.
            before: What to go on from.

        Returns:
            float, shape (B, L, width), and what to go on from after the last event.
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
        return taste, TasteState(sums[:, -1], counts[:, -1])

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


class SequenceNetwork(nn.Module, ABC):
    """Base class of networks that read a user's events, oldest first, and say a user state after each.

    A state looks back only. It is compared with the item vectors of :attr:`items` by inner product.

    Args:
        shape: What the data decides.

    Attributes:
        items: Item vectors.
        event_types: Vector of each event type.
        gaps: Vector of each class of time since the event before.
        confidence: What a unit of confidence adds.
        norm: Of item vectors as they are read.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.width = shape.width
        self.items = ItemTower(shape.text_dimension, shape.width)
        self.event_types = nn.Embedding(shape.n_event_types + 1, shape.width)
        self.gaps = nn.Embedding(GAP_BUCKETS, shape.width)
        self.confidence = nn.Linear(1, shape.width, bias=False)
        self.norm = nn.LayerNorm(shape.width)

    @property
    def shape(self) -> Shape:
        """As it was made."""
        projection = self.items.projection
        dimension = 0 if projection is None else projection.in_features
        return Shape(dimension, self.event_types.num_embeddings - 1, self.width)

    def initialise(self, vectors: NDArray[np.float32] | None, generator: torch.Generator) -> None:
        """Random start from ``generator`` alone; see :meth:`ItemTower.initialise`.

        Subclasses add what they have themselves.
        """
        nn.init.ones_(self.norm.weight)
        nn.init.zeros_(self.norm.bias)
        for table in (self.event_types, self.gaps, self.confidence):
            nn.init.normal_(table.weight, std=0.02, generator=generator)
        self.items.initialise(vectors)

    def read(
        self, vectors: torch.Tensor, events: torch.Tensor, weights: torch.Tensor, gaps: torch.Tensor
    ) -> torch.Tensor:
        """Events as vectors: what was done, in which way, and after how long.

        Args:
            vectors: float, shape (B, L, width); item vectors of the events.
            events: int64, shape (B, L); event type codes.
            weights: float, shape (B, L); signed confidences.
            gaps: int64, shape (B, L); see ``gap_buckets``.

        Returns:
            float, shape (B, L, width).
        """
        codes = torch.clamp(events, 0, self.event_types.num_embeddings - 1)
        happened = (
            self.event_types(codes) + self.gaps(gaps) + self.confidence(weights.clamp(-5.0, 5.0)[..., None])
        )
        read: torch.Tensor = self.norm(vectors) + happened
        return read

    @abstractmethod
    def encode_padded(
        self, vectors: torch.Tensor, sequences: Padded, dropout: Dropout = NO_DROPOUT
    ) -> torch.Tensor:
        """User states after each event.

        Args:
            vectors: float, shape (B, L, width); item vectors of the events, on the device to compute on.
            sequences: The events.
            dropout: Applied to what goes in and what comes out.

        Returns:
            float, shape (B, L, width); anything at pads.
        """

    @abstractmethod
    def last_states(self, vectors: torch.Tensor, sequences: Padded) -> torch.Tensor:
        """The last of :meth:`encode_padded` of each sequence, float, shape (B, width).

        A sequence without events gets a state that means nothing.
        """

    def plain_reader(self) -> PlainReader | None:
        """What serves without torch where the network is on a CPU, None where there is no such thing."""
        return None


MakeNetwork = Callable[[Shape], SequenceNetwork]
"""A network with unset weights; what makes it travels to the processes of a fit by pickle."""


def blank(make: MakeNetwork, shape: Shape) -> SequenceNetwork:
    """A network with unset weights; unlike constructors of modules it draws no global random numbers."""
    with torch.device("meta"):
        network = make(shape)
    return network.to_empty(device="cpu")


def plain(tensor: torch.Tensor) -> FloatArray:
    """A weight as code without torch reads it, float32 and contiguous."""
    return np.ascontiguousarray(tensor.detach().cpu().numpy(), dtype=np.float32)


def liked(weights: torch.Tensor) -> torch.Tensor:
    """1 at liked events, else 0: float, shape (B, L, 1), of signed confidences of shape (B, L)."""
    return (weights > 0).to(weights.dtype)[..., None]


def tensors(sequences: Padded, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Event type codes, signed confidences and gaps of sequences, shape (B, L) each."""
    events = torch.from_numpy(sequences.events).to(device)
    weights = torch.from_numpy(sequences.weights).to(device)
    return events, weights, torch.from_numpy(sequences.gaps).to(device)
