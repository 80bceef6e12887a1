"""Dropout with a generator of its own, so that a fit neither reads nor disturbs global state."""

from __future__ import annotations

import math

import torch


class Dropout:
    """Dropout whose masks come from one generator.

    A value is decided by one random byte: drawing more takes longer than all the rest.

    Args:
        rate: Probability of a zero, to the nearest 256th; 0 switches it off.
        generator: Source of the masks, on the device of the activations.
    """

    def __init__(self, rate: float, generator: torch.Generator | None = None) -> None:
        self._dropped = min(round(rate * 256), 255)
        self._generator = generator

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Zero a share of the values and scale the rest up."""
        if self._dropped == 0 or self._generator is None:
            return values
        drawn = torch.empty(math.ceil(values.numel() / 8), dtype=torch.int64, device=values.device)
        drawn.random_(-(2**63), None, generator=self._generator)
        kept = drawn.view(torch.uint8)[: values.numel()].view(values.shape) >= self._dropped
        return values * kept.to(values.dtype).mul_(256 / (256 - self._dropped))


NO_DROPOUT = Dropout(0.0)
"""The values themselves."""
