"""Leave-last-out validation, carved out of the training data, by full ranking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from recserve import FloatArray, Histories, Int64Array, ndcg
from recserve_bert_sequence.network import Network
from recserve_bert_sequence.sequences import newest

LEAST_EVENTS = 3
"""Positive events a user needs to lend the last one."""
_BATCH = 256


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The last positive events of some users, with the history before each.

    Attributes:
        histories: Of B users.
        targets: int64, shape (B,); catalogue rows.
    """

    histories: Histories
    targets: Int64Array

    def __len__(self) -> int:
        return len(self.targets)

    @torch.inference_mode()
    def score(
        self, network: Network, vectors: FloatArray, popularity: FloatArray, window: int, k: int = 10
    ) -> float:
        """Mean nDCG@k of the held-out events among all items but those of the user's past.

        Args:
            network: The network.
            vectors: float, shape (n_items or more, d); of the catalogue's texts, then of users' texts.
            popularity: float32, shape (n_items,); its popularity.
            window: Newest events that are read.
            k: Cut-off.
        """
        device = network.mean.device
        projected = network.project(torch.from_numpy(np.asarray(vectors, dtype=np.float32)).to(device))
        prior = network.popularity * torch.from_numpy(popularity).to(device)
        gains = []
        for begin in range(0, len(self), _BATCH):
            chosen = np.arange(begin, min(begin + _BATCH, len(self)))
            asked, each = self.histories.select(chosen), np.arange(len(chosen))
            sequences = newest(asked, window)
            rows = torch.from_numpy(np.maximum(sequences.items, 0)).to(device)
            states = network.last_states(projected[rows], sequences)
            scores = (states @ projected[: len(prior)].T + prior).cpu().numpy()
            reached = scores[each, self.targets[chosen]]
            had = asked.known(len(prior))
            scores[had.owners(), had.items] = -np.inf
            scores[each, self.targets[chosen]] = -np.inf
            # Ties count against the target, so that a constant score earns nothing.
            rank = 1 + (scores >= reached[:, None]).sum(axis=1)
            gains.append(ndcg(rank[:, None] == np.arange(1, k + 1), np.ones_like(rank), k))
        return float(np.concatenate(gains).mean())


def hold_out(
    histories: Histories, n_items: int, most: int, random: np.random.Generator
) -> tuple[Histories, HeldOut]:
    """Take the last positive event of some users, and what came after it, out of the histories.

    Args:
        histories: All events.
        n_items: Items of the catalogue; events of rows behind them are not held out.
        most: Users, at most.
        random: Chooses them.
    """
    owners, places = histories.owners(), np.arange(len(histories.items))
    liked = (histories.weights > 0) & (histories.items < n_items)
    last = np.full(len(histories), -1, dtype=np.int64)
    last[owners[liked]] = places[liked]
    able = np.flatnonzero(np.bincount(owners[liked], minlength=len(histories)) >= LEAST_EVENTS)
    if len(able) > most:
        able = np.sort(random.choice(able, most, replace=False))
    ends = histories.offsets[1:].copy()
    ends[able] = last[able]
    kept = histories.where(places < ends[owners])
    return kept, HeldOut(kept.select(able), histories.items[last[able]].astype(np.int64))
