"""Text vectors in the training loop: fixed ones, or those of a text encoder that is trained as well."""

from __future__ import annotations

import numpy as np
import torch
from recserve_torch import TextTower

from recserve import FloatArray, Int64Array


class Texts:
    """Text vectors of the catalogue, of which some have gradients in each step if a tower is trained.

    They are drawn at random among those that a step reads, as many as the tower affords: a next item is as
    likely to be drawn as the items that it is set against, so that vectors do not drift towards the users.
    The others are as they were last encoded, at the latest after the last epoch.

    Args:
        vectors: float, shape (n_items, d); of the encoder as it was before.
        tower: The encoder in training; None for fixed vectors.
        device: Where to compute.

    Attributes:
        table: float, shape (n_items, d); the vectors as last encoded.
    """

    def __init__(self, vectors: FloatArray, tower: TextTower | None, device: torch.device) -> None:
        self._tower = tower
        self._device = device
        self.table = vectors if tower is None else np.array(vectors, dtype=np.float32)

    @property
    def tower(self) -> TextTower | None:
        """The encoder in training."""
        return self._tower

    def read(self, rows: Int64Array, random: np.random.Generator) -> torch.Tensor:
        """Vectors of rows, float32, shape (M, d).

        Args:
            rows: int64, shape (M,); distinct and ascending.
            random: Draws those that have gradients.
        """
        known = torch.from_numpy(np.asarray(self.table[rows], dtype=np.float32)).to(self._device)
        if self._tower is None:
            return known
        fresh = self._tower.affordable(random.permutation(rows).astype(np.int32))
        encoded = self._tower.forward(fresh)
        self.table[fresh] = encoded.detach().float().cpu().numpy()
        places = torch.from_numpy(np.searchsorted(rows, fresh)).to(self._device)
        return known.index_copy(0, places, encoded.float())

    def encode_all(self) -> None:
        """Bring all vectors up to date."""
        if self._tower is not None:
            self.table = np.array(self._tower.vectors(np.arange(len(self.table), dtype=np.int32)))
