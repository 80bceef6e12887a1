"""How a fit goes: losses and scores by epoch, and the weights that are kept so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch

from recserve_sequence.training.learner import Learner

_PREFIX = "kept/"


@dataclass(slots=True)
class Course:
    """What each epoch brought.

    Attributes:
        losses: Mean loss.
        scores: nDCG@10 of the validation, where there is one.
    """

    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def state(self) -> dict[str, Any]:
        """Arrays by name."""
        return {"losses": np.array(self.losses), "scores": np.array(self.scores)}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Self:
        """Of a :meth:`state`."""
        return cls(np.asarray(state["losses"]).tolist(), np.asarray(state["scores"]).tolist())


@dataclass(frozen=True, slots=True)
class Kept:
    """Averaged weights of the best epoch so far.

    Attributes:
        epoch: Its number, 0 before the first.
        network: State of the averaged network.
        ids: float, shape (n_ids, width); averaged id vectors.
    """

    epoch: int
    network: dict[str, torch.Tensor]
    ids: torch.Tensor

    @classmethod
    def of(cls, learner: Learner, epoch: int) -> Self:
        """The present ones, copied."""
        network = {name: tensor.clone() for name, tensor in learner.average.state_dict().items()}
        return cls(epoch, network, learner.table.average().clone())

    def state(self) -> dict[str, Any]:
        """Arrays and numbers by name."""
        weights = {_PREFIX + name: tensor.cpu().numpy() for name, tensor in self.network.items()}
        return {"kept_epoch": self.epoch, "kept_ids": self.ids.cpu().numpy(), **weights}

    @classmethod
    def restored(cls, learner: Learner, state: Mapping[str, Any]) -> Self:
        """Of a :meth:`state`, on the learner's device."""
        device = learner.table.average().device
        network = {
            name: torch.from_numpy(np.array(state[_PREFIX + name])).to(device)
            for name in learner.average.state_dict()
        }
        return cls(
            int(state["kept_epoch"]), network, torch.from_numpy(np.array(state["kept_ids"])).to(device)
        )
