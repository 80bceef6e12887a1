"""What is learnt, its optimiser and the network's running average, one step at a time."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from recserve_torch import Exchange, named_arrays, restore_moments, tensors_below

from recserve_bert_sequence.network import Network
from recserve_bert_sequence.parameters import BertSequenceParams
from recserve_bert_sequence.training.state import Weights
from recserve_bert_sequence.training.texts import Texts

AVERAGING = 0.98
"""What the running average of the weights keeps of itself in a step: it is steadier than they are."""
CLIP_NORM = 5.0
LEAST_RATE = 0.02
"""Share of the learning rate that is left at the end of the schedule."""
TOWER_WARM_UP = 0.1
"""Share of the schedule in which the encoder's learning rate rises: at first the network knows nothing."""
_TOWER_CLIP_NORM = 1.0
_TOWER_WEIGHT_DECAY = 0.01


class Learner:
    """Network, and text tower if the encoder is trained, moved by one gradient after the other.

    Args:
        network: Moved in place.
        texts: Likewise.
        params: Learning rate and weight decay of the network.
        exchange: Sums gradients over processes.

    Attributes:
        network: As it was moved.
        average: Exponential moving average of the network.
    """

    def __init__(
        self, network: Network, texts: Texts, params: BertSequenceParams, exchange: Exchange
    ) -> None:
        self.network = network
        self.average = copy.deepcopy(network)
        self._rate = params.learning_rate
        self._exchange = exchange
        self._steps = 0
        self._parameters = list(network.parameters())
        self._tower = texts.tower
        self._trained = [] if self._tower is None else self._tower.parameters()
        groups: list[dict[str, Any]] = [{"params": self._parameters}]
        if self._trained:
            groups.append({"params": self._trained, "weight_decay": _TOWER_WEIGHT_DECAY})
        self._optimiser = torch.optim.AdamW(
            groups, lr=params.learning_rate, weight_decay=params.weight_decay, fused=True
        )

    def step(self, loss: torch.Tensor, gone: float) -> float:
        """Follow the gradient of a loss.

        Args:
            loss: This process's share of the loss.
            gone: Share of the schedule that is over.

        Returns:
            The loss, over all processes.
        """
        self._optimiser.zero_grad(set_to_none=True)
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        moved = [*self._parameters, *self._trained]
        for parameter in moved:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        total = loss.detach()
        self._exchange.sum([*(parameter.grad for parameter in moved if parameter.grad is not None), total])
        torch.nn.utils.clip_grad_norm_(self._parameters, CLIP_NORM)
        if self._tower is not None:
            torch.nn.utils.clip_grad_norm_(self._trained, _TOWER_CLIP_NORM)
        self._set_rates(gone)
        self._optimiser.step()
        self._steps += 1
        keep = min(AVERAGING, self._steps / (9 + self._steps))
        with torch.no_grad():
            for mean, parameter in zip(self.average.parameters(), self._parameters, strict=True):
                mean.lerp_(parameter, 1.0 - keep)
        return float(total)

    def _set_rates(self, gone: float) -> None:
        left = 1.0 - (1.0 - LEAST_RATE) * min(gone, 1.0)
        network, *tower = self._optimiser.param_groups
        network["lr"] = self._rate * left
        for group in tower:
            assert self._tower is not None
            group["lr"] = self._tower.learning_rate * left * min(gone / TOWER_WARM_UP, 1.0)

    def weights(self) -> Weights:
        """What would be served now, copied."""
        found = {name: tensor.clone() for name, tensor in self.average.state_dict().items()}
        return found | {name: tensor.clone() for name, tensor in self._tower_state().items()}

    def use(self, weights: Weights) -> None:
        """Put network, average and tower where they were at a :meth:`weights`."""
        own = {name: tensor for name, tensor in weights.items() if "/" not in name}
        self.network.load_state_dict(own)
        self.average.load_state_dict(own)
        self._restore_tower(weights)

    def state(self, best: Weights) -> dict[str, Any]:
        """Arrays and numbers by name, copied, from which :meth:`restore` goes on."""
        arrays = named_arrays(
            network=self.network.state_dict() | self._tower_state(),
            average=self.average.state_dict(),
            best=best,
            optimiser=self._optimiser,
        )
        return {"steps": self._steps, **arrays}

    def restore(self, state: Mapping[str, Any]) -> Weights:
        """Go on from a :meth:`state`.

        Returns:
            The best weights until then.
        """
        device = self.network.mean.device
        self._steps = int(state["steps"])
        present = tensors_below("network", state, device)
        self.network.load_state_dict({name: value for name, value in present.items() if "/" not in name})
        self.average.load_state_dict(tensors_below("average", state, device))
        self._restore_tower(present)
        restore_moments("optimiser", state, self._optimiser)
        return tensors_below("best", state, device)

    def _tower_state(self) -> Weights:
        return {f"tower/{number}": parameter.detach() for number, parameter in enumerate(self._trained)}

    def _restore_tower(self, weights: Weights) -> None:
        with torch.no_grad():
            for number, parameter in enumerate(self._trained):
                parameter.copy_(weights[f"tower/{number}"])
