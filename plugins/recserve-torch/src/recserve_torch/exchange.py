"""Sums of gradients over the processes of a training loop; nothing to do where there is one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import distributed


class Exchange:
    """Sums over processes, the same in each.

    Args:
        world: Number of processes; ``torch.distributed`` is initialised where there are several.
    """

    def __init__(self, world: int) -> None:
        self._world = world

    def sum(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its sum, in place."""
        if self._world == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def sum_rows(self, slots: torch.Tensor, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows of a table that any process has a gradient for, and the sum of their gradients.

        Args:
            slots: int64, shape (U,); distinct rows.
            gradient: float, shape (U, width).
        """
        if self._world == 1:
            return slots, gradient
        lengths = [torch.zeros(1, dtype=torch.int64, device=slots.device) for _ in range(self._world)]
        distributed.all_gather(lengths, torch.tensor([len(slots)], device=slots.device))
        longest = max(int(length) for length in lengths)
        padded = slots.new_full((longest,), -1)
        padded[: len(slots)] = slots
        rows = gradient.new_zeros((longest, gradient.shape[1]))
        rows[: len(slots)] = gradient
        all_slots = [torch.empty_like(padded) for _ in range(self._world)]
        all_rows = [torch.empty_like(rows) for _ in range(self._world)]
        distributed.all_gather(all_slots, padded)
        distributed.all_gather(all_rows, rows)
        gathered = torch.cat(all_slots)
        distinct, places = torch.unique(gathered[gathered >= 0], return_inverse=True)
        summed = gradient.new_zeros((len(distinct), gradient.shape[1]))
        return distinct, summed.index_add_(0, places, torch.cat(all_rows)[gathered >= 0])

    def agreed(self, value: float, device: torch.device) -> float:
        """The value of the first process."""
        if self._world == 1:
            return value
        found = torch.tensor([value], dtype=torch.float64, device=device)
        distributed.broadcast(found, 0)
        return float(found)
