"""Search for the largest inner products or cosines over the rows of a matrix, and the exact way to do it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from recserve.data.arrays import BoolArray, FloatArray, Int32Array
from recserve.data.batches import Queries, Ragged
from recserve.data.dataset import Dataset
from recserve.plugin.toolkit.topk import mask_rows, top_k

# Scores (float32) held at a time: 64 MB.
_SCORES_AT_A_TIME = 16_000_000
_ROWS_AT_A_TIME = 250_000
_SAMPLE = 400
# Events of a user that are read, like when serving.
_RECENT = 200


class VectorIndex(Protocol):
    """Index of the rows of a float32 matrix that its owner keeps; zero rows are never found.

    Implementations: :class:`ExactIndex`, and :class:`recserve.InvertedFileIndex` for many rows.
    """

    def search(
        self,
        queries: FloatArray,
        k: int,
        allowed: Sequence[BoolArray | None] = (),
        excluded: Ragged | None = None,
    ) -> tuple[Int32Array, FloatArray]:
        """The ``k`` best rows for each query, and as many of them as may be found.

        What is found for a query does not depend on the others. May be called from any number of threads.

        Args:
            queries: float32, shape (B, d); zero queries find nothing.
            k: At least 1; cut to the number of rows.
            allowed: For each query a bool array over all rows, or None for "everything"; () for no masks.
            excluded: For each query rows that must not be found; others than those of the matrix are ignored.

        Returns:
            Rows int32 and exact scores float32, both of shape (B, min(k, n)), best first; -1 and -inf pad.
        """
        ...

    def save(self, directory: Path) -> None:
        """Write the index, without the matrix, into an existing folder; equal indexes give equal bytes."""
        ...

    def facts(self) -> dict[str, Any]:
        """JSON-like facts for the bundle: how large it is and how well it searches."""
        ...


class ExactIndex:
    """Index that scores every row: one matrix product and a top-k.

    Args:
        vectors: float32, shape (n, d).
        cosine: Divide inner products by the lengths of the rows.
    """

    def __init__(self, vectors: FloatArray, *, cosine: bool = False) -> None:
        self._vectors = vectors
        norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
        self._void = norms == 0
        self._inverse_norms = 1 / np.maximum(norms, np.float32(1e-12)) if cosine else None

    def search(
        self,
        queries: FloatArray,
        k: int,
        allowed: Sequence[BoolArray | None] = (),
        excluded: Ragged | None = None,
    ) -> tuple[Int32Array, FloatArray]:
        """See :class:`VectorIndex`; of equal scores the lower row comes first."""
        excluded = Ragged.of([[]] * len(queries)) if excluded is None else excluded
        size = max(1, _SCORES_AT_A_TIME // max(min(len(self._vectors), _ROWS_AT_A_TIME), 1))
        found = [
            self._search(
                queries[start : start + size],
                k,
                allowed[start : start + size],
                excluded.part(start, start + size),
            )
            for start in range(0, max(len(queries), 1), size)
        ]
        return np.concatenate([rows for rows, _ in found]), np.concatenate([best for _, best in found])

    def _search(
        self, queries: FloatArray, k: int, allowed: Sequence[BoolArray | None], excluded: Ragged
    ) -> tuple[Int32Array, FloatArray]:
        """Block by block of the rows: scores of many queries and rows never exist at the same time."""
        blocks = [
            self._block(queries, k, allowed, excluded, start)
            for start in range(0, max(len(self._vectors), 1), _ROWS_AT_A_TIME)
        ]
        if len(blocks) == 1:
            return blocks[0]
        rows = np.concatenate([rows for rows, _ in blocks], axis=1)
        places, best = top_k(np.concatenate([best for _, best in blocks], axis=1), k)
        return np.where(places < 0, np.int32(-1), np.take_along_axis(rows, places, axis=1)), best

    def _block(
        self,
        queries: FloatArray,
        k: int,
        allowed: Sequence[BoolArray | None],
        excluded: Ragged,
        start: int,
    ) -> tuple[Int32Array, FloatArray]:
        block = slice(start, start + _ROWS_AT_A_TIME)
        scores = queries @ self._vectors[block].T
        if self._inverse_norms is not None:
            scores *= self._inverse_norms[block]
        void = self._void[block]
        if void.any():  # with none, NumPy would still walk over all the scores
            scores[:, void] = -np.inf
        scores[~queries.any(axis=1)] = -np.inf
        views = {id(mask): None if mask is None else mask[block] for mask in allowed}
        masks = [views[id(mask)] for mask in allowed]
        rows, best = top_k(mask_rows(scores, masks, Ragged(excluded.offsets, excluded.values - start)), k)
        return np.where(rows < 0, rows, rows + np.int32(start)), best

    def save(self, directory: Path) -> None:
        """Nothing but the matrix is needed."""

    def facts(self) -> dict[str, Any]:
        """Rows that can be found."""
        return {"vectors": int((~self._void).sum())}


def sample_queries(data: Dataset, seed: int, count: int = _SAMPLE) -> Queries:
    """Queries of some users of the training data, with what they had left out: what an index is tuned for.

    Args:
        data: Events; users without a positive one are not asked.
        seed: Chooses the users.
        count: How many, at most.
    """
    histories = data.positive().histories
    active = np.flatnonzero(histories.lengths > 0)
    users = np.random.default_rng(seed).choice(active, min(count, len(active)), replace=False)
    asked = histories.select(np.sort(users)).last(_RECENT)
    now = int(data.timestamps[-1]) if len(data) else 0
    return Queries.of(
        asked, np.full(len(asked), now, dtype=np.int64), excluded=Ragged(asked.offsets, asked.items)
    )
