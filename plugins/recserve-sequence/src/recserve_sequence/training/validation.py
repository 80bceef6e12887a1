"""Leave-last-out validation, carved out of the training data, by full ranking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from recserve import Float64Array, Histories, Int64Array, flat_ranges, ndcg
from recserve_sequence.network import SequenceNetwork
from recserve_sequence.windows import last_events

MIN_EVENTS = 3
"""Positive events a user needs to lend one for validation."""
_BLOCK = 16_000_000  # scores held at once


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Held-out events with the history before each.

    Attributes:
        queries: History before each event, B ragged histories.
        targets: int64, shape (B,); catalogue rows.
    """

    queries: Histories
    targets: Int64Array

    def __len__(self) -> int:
        return len(self.targets)


def hold_out(
    histories: Histories, wanted: int, random: np.random.Generator, n_items: int
) -> tuple[Histories, HeldOut]:
    """Take the last positive event of a sample of users (up to three each where users are few).

    Args:
        histories: All events.
        wanted: Events to hold out, about.
        random: Chooses the sample.
        n_items: Items of the catalogue; rows behind them are texts, which are not held out.

    Returns:
        Histories cut before each user's first held-out event, and the held-out events.
    """
    starts, ends, owners = histories.offsets[:-1], histories.offsets[1:], histories.owners()
    liked = (histories.weights > 0) & (histories.items < n_items)
    so_far = np.concatenate([[0], np.cumsum(liked)])
    totals = so_far[ends] - so_far[starts]
    able = np.flatnonzero(totals >= MIN_EVENTS)
    each = int(np.clip(wanted // max(len(able), 1), 1, 3))
    able = np.flatnonzero(totals >= MIN_EVENTS * each)
    if len(able) > wanted:
        able = np.sort(random.choice(able, wanted, replace=False))
    sampled = np.zeros(len(histories), dtype=np.bool_)
    sampled[able] = True
    from_end = so_far[ends][owners] - so_far[1:]
    held = np.flatnonzero(liked & (from_end < each) & sampled[owners])

    first = ends.copy()
    np.minimum.at(first, owners[held], held)
    kept = histories.where(np.arange(len(liked)) < first[owners])
    begins = starts[owners[held]]
    offsets, index = flat_ranges(begins, held - begins)
    queries = Histories(
        offsets,
        histories.items[index],
        histories.events[index],
        histories.weights[index],
        histories.timestamps[index],
    )
    return kept, HeldOut(queries, histories.items[held].astype(np.int64))


@torch.inference_mode()
def validate(
    network: SequenceNetwork, matrix: torch.Tensor, held_out: HeldOut, window: int, n_items: int, k: int = 10
) -> float:
    """Mean nDCG@k of the held-out events among all items but those of the user's past.

    Args:
        network: The network.
        matrix: float32, shape (n_items or more, width); its vectors of items, then of what users wrote.
        held_out: At least one event.
        window: Newest events that are read.
        n_items: Items of the catalogue.
        k: Cut-off.
    """
    gains: list[Float64Array] = []
    block = max(min(_BLOCK // max(n_items, 1), 512), 1)
    for begin in range(0, len(held_out), block):
        chosen = np.arange(begin, min(begin + block, len(held_out)))
        queries = held_out.queries.select(chosen)
        sequences = last_events(queries, window)
        rows = torch.from_numpy(np.maximum(sequences.items, 0)).to(matrix.device)
        states = network.last_states(torch.nn.functional.embedding(rows, matrix), sequences)
        scores = (states @ matrix[:n_items].T).cpu().numpy()
        targets = held_out.targets[chosen]
        reached = scores[np.arange(len(chosen)), targets]
        had = queries.known(n_items)
        scores[had.owners(), had.items] = -np.inf
        scores[np.arange(len(chosen)), targets] = -np.inf
        # Ties count against the target, so that a constant score earns nothing.
        rank = 1 + (scores >= reached[:, None]).sum(axis=1)
        gains.append(ndcg(rank[:, None] == np.arange(1, k + 1), np.ones_like(rank), k))
    return float(np.concatenate(gains).mean())
