"""Dropout with a generator of its own, so that a fit neither reads nor disturbs global state."""

from __future__ import annotations

import torch


class Dropout:
    """Dropout whose masks come from one generator.

    Args:
        rate: Probability of a zero; 0 switches it off.
        generator: Source of the masks, on the device of the activations.
    """

    def __init__(self, rate: float, generator: torch.Generator | None = None) -> None:
        self._rate = rate
        self._generator = generator

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Zero a share of the values and scale the rest up."""
        if self._rate == 0 or self._generator is None:
            return values
        kept = torch.rand(values.shape, generator=self._generator, device=values.device)
        return values * (kept >= self._rate).to(values.dtype) / (1.0 - self._rate)


NO_DROPOUT = Dropout(0.0)
"""The values themselves."""
