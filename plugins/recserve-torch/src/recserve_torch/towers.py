"""Text towers: a text encoder inside the training loop of another component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch

from recserve import FloatArray, Int32Array


class TextTower(Protocol):
    """Text encoder in a training loop: texts of the catalogue in, vectors with gradients out.

    Attributes:
        learning_rate: Highest rate that suits its parameters.
    """

    learning_rate: float

    def parameters(self) -> list[torch.nn.Parameter]:
        """What is optimised, in a fixed order."""
        ...

    def affordable(self, rows: Int32Array) -> Int32Array:
        """The first distinct rows, at least two, whose gradients a step can afford."""
        ...

    def forward(self, rows: Int32Array) -> torch.Tensor:
        """Unit vectors of the texts of rows with gradients, float32, shape (n, d), in training mode."""
        ...

    def vectors(self, rows: Int32Array) -> FloatArray:
        """Unit vectors of the texts of rows as they would be served now, float32, shape (n, d)."""
        ...

    def weights(self) -> dict[str, FloatArray]:
        """What training made of the parameters, for :meth:`OffersTower.learn`."""
        ...


@runtime_checkable
class OffersTower(Protocol):
    """A trainable text encoder that lends itself to the training loop of another component.

    It travels to the processes of the loop by pickle; each of them asks it for a tower.
    """

    def tower(self, texts: Sequence[str], vectors: FloatArray, device: torch.device) -> TextTower:
        """A tower over a catalogue, as the encoder is before it is trained.

        What it draws comes from torch's own generators (see :func:`recserve_torch.seeded`).

        Args:
            texts: Texts of the items.
            vectors: float32, shape (n, d); the encoder's vectors of them.
            device: Where it computes.
        """
        ...

    def learn(self, weights: Mapping[str, FloatArray], facts: Mapping[str, Any]) -> None:
        """Take on what training made of a tower: from now on the encoder has these weights.

        Args:
            weights: :meth:`TextTower.weights`.
            facts: JSON-like; kept with them.
        """
        ...
