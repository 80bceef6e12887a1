"""How a fit goes: losses and scores by epoch, and the best weights so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch

Weights = dict[str, torch.Tensor]
"""The averaged network by name, and the parameters of a text tower as ``tower/<number>``."""


@dataclass(slots=True)
class Progress:
    """How a fit goes.

    Attributes:
        best: Weights of the best epoch so far.
        epoch: Its number, 0 before the first.
        losses: Mean loss of each epoch.
        scores: Validation nDCG@10 of each epoch, where there is a validation.
    """

    best: Weights
    epoch: int = 0
    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def state(self) -> dict[str, Any]:
        """Arrays and numbers by name, but for the weights."""
        return {"epoch": self.epoch, "losses": np.array(self.losses), "scores": np.array(self.scores)}

    @classmethod
    def restored(cls, best: Weights, state: Mapping[str, Any]) -> Self:
        """Of a :meth:`state`."""
        losses, scores = np.asarray(state["losses"]).tolist(), np.asarray(state["scores"]).tolist()
        return cls(best, int(state["epoch"]), losses, scores)
