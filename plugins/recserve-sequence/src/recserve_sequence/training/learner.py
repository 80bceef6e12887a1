"""What is learnt, its optimisers and its running averages, one step at a time."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from recserve_torch import Exchange, named_arrays, restore_moments, tensors_below

from recserve_sequence.network import SequenceNetwork
from recserve_sequence.parameters import SequenceParams
from recserve_sequence.training.dense_table import DenseIdTable
from recserve_sequence.training.id_table import IdTable

CLIP_NORM = 5.0
AVERAGING = 0.98
LEAST_RATE = 0.02
"""Share of the learning rate that is left at the end of the schedule."""


class Learner:
    """Network and table of id vectors, moved by one gradient after the other.

    Args:
        network: Moved in place.
        table: Likewise.
        params: Learning rate and weight decay.
        steps: Steps over which the learning rate falls.
        exchange: Sums gradients over processes.

    Attributes:
        network: As it was moved.
        table: Likewise.
        average: Exponential moving average of the network: steadier validation, better generalisation.
    """

    def __init__(
        self,
        network: SequenceNetwork,
        table: IdTable | DenseIdTable,
        params: SequenceParams,
        steps: int,
        exchange: Exchange,
    ) -> None:
        self.network = network
        self.table = table
        self.average = copy.deepcopy(network)
        self._rate = params.learning_rate
        self._steps = steps
        self._exchange = exchange
        self._step = 0
        self._parameters = list(network.parameters())
        self._optimiser = torch.optim.AdamW(
            self._parameters, lr=params.learning_rate, weight_decay=params.weight_decay, fused=True
        )

    def step(self, loss: torch.Tensor, slots: torch.Tensor, rows: torch.Tensor) -> float:
        """Follow the gradient of a loss.

        Args:
            loss: This process's share of the loss.
            slots: int64, shape (U,); rows of the table that it depends on.
            rows: Those rows, as they were read.

        Returns:
            The loss, over all processes.
        """
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        for parameter in self._parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        total = loss.detach()
        self._exchange.sum([*gradients, total])
        gradient = torch.zeros_like(rows) if rows.grad is None else rows.grad
        slots, gradient = self._exchange.sum_rows(slots, gradient)
        norm = torch.nn.utils.get_total_norm([*gradients, gradient])
        scale = (CLIP_NORM / (norm + 1e-6)).clamp(max=1.0)
        for each in (*gradients, gradient):
            each.mul_(scale)
        rate = self._rate * (1.0 - (1.0 - LEAST_RATE) * min(self._step / self._steps, 1.0))
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()
        self._step += 1
        keep = min(AVERAGING, self._step / (9 + self._step))
        self.table.step(slots, gradient, rate, keep)
        with torch.no_grad():
            for mean, parameter in zip(self.average.parameters(), self._parameters, strict=True):
                mean.lerp_(parameter, 1.0 - keep)
        return float(total)

    def state(self) -> dict[str, Any]:
        """Arrays and numbers by name, copied, from which :meth:`restore` goes on."""
        arrays = named_arrays(
            network=self.network.state_dict(),
            average=self.average.state_dict(),
            table=self.table.state(),
            optimiser=self._optimiser,
        )
        return {"step": self._step, **arrays}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state`."""
        self._step = int(state["step"])
        self.network.load_state_dict(tensors_below("network", state))
        self.average.load_state_dict(tensors_below("average", state))
        self.table.restore(tensors_below("table", state))
        restore_moments("optimiser", state, self._optimiser)
