"""The retriever ``era``: what people liked after something of the same decade. Its fit comes in parts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recserve import (
    Catalogue,
    Dataset,
    FitContext,
    Histories,
    NoParams,
    Queries,
    Retrieved,
    mask_scores,
    read_array,
    top_k,
)

USERS_A_PART = 10_000


def followers(bounds: tuple[int, int], histories: Histories, eras: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each item followed each era, among the users from one row to another; a worker calls this."""
    chosen = histories.select(np.arange(*bounds))
    counts = np.zeros((int(eras.max(initial=0)) + 1, len(eras)), dtype=np.int64)
    owners = chosen.owners()
    next_of_user = owners[1:] == owners[:-1]
    before, after = chosen.items[:-1][next_of_user], chosen.items[1:][next_of_user]
    np.add.at(counts, (eras[before], after), 1)
    return counts


class Era:
    """Proposes what followed the decade of the newest event."""

    def __init__(self, params: NoParams, catalogue: Catalogue) -> None:
        years = [year if isinstance(year, int) else -1 for year in catalogue.column("year")]
        # Era 0 is that of items without a year.
        _, eras = np.unique([-1, *(year // 10 for year in years)], return_inverse=True)
        self._eras: NDArray[np.int64] = eras[1:].astype(np.int64)
        self._counts = np.zeros((int(eras.max(initial=0)) + 1, len(catalogue)), dtype=np.int64)

    def fit(self, data: Dataset, context: FitContext) -> Mapping[str, Any]:
        """Count, users part by part: here, or on the workers of a cluster."""
        histories = data.positive().histories
        shared = [context.executor.share(value) for value in (histories, self._eras)]
        starts = range(0, len(histories), USERS_A_PART)
        parts = [(start, min(start + USERS_A_PART, len(histories))) for start in starts]
        self._counts[:] = 0
        for done, counts in enumerate(context.executor.map(followers, parts, *shared), start=1):
            self._counts[: len(counts)] += counts
            context.progress("counting", done, len(parts))
        for handle in shared:
            handle.release()
        return {"pairs": int(self._counts.sum())}

    def save(self, directory: Path) -> None:
        """Write the counts."""
        np.save(directory / "counts.npy", self._counts)

    def load(self, directory: Path) -> None:
        """Read the counts back."""
        self._counts = read_array(directory / "counts.npy", np.int64, self._counts.shape)

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        """The k items that followed the newest event's era most often; nothing without an event."""
        histories = queries.histories.known(len(self._eras)).positive()
        scores = np.full((len(queries), len(self._eras)), -np.inf, dtype=np.float32)
        asked = np.flatnonzero(histories.lengths)
        newest = histories.items[histories.offsets[1:][asked] - 1]
        scores[asked] = self._counts[self._eras[newest]]
        return Retrieved.of(*top_k(mask_scores(scores, queries), k))
