"""Batches of sequences of similar length."""

from __future__ import annotations

from recserve import Int64Array


def length_groups(order: Int64Array, lengths: Int64Array, budget: int) -> list[Int64Array]:
    """Divide sequences into batches in which little is spent on pads.

    Args:
        order: int64, shape (n,); sequences, shorter ones first.
        lengths: int64; length of each sequence, none of them 0.
        budget: Padded events of a batch, about; a longer sequence is a batch of its own.

    Returns:
        Parts of ``order``, those of the longest sequences first.
    """
    groups: list[Int64Array] = []
    end = len(order)
    while end > 0:
        size = max(budget // int(lengths[order[end - 1]]), 1)
        groups.append(order[max(end - size, 0) : end])
        end -= size
    return groups
