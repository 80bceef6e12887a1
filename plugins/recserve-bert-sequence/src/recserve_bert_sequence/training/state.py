"""State of a fit as arrays by name: what a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from recserve_bert_sequence.network import Network

Weights = dict[str, torch.Tensor]


def weights_of(network: Network) -> Weights:
    """The weights, copied."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


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


def packed(
    network: Network, average: Network, optimiser: torch.optim.Optimizer, progress: Progress
) -> dict[str, Any]:
    """Everything that :func:`unpack` needs."""
    moments = optimiser.state_dict()["state"]
    tensors = {
        **{f"network/{name}": tensor for name, tensor in network.state_dict().items()},
        **{f"average/{name}": tensor for name, tensor in average.state_dict().items()},
        **{f"best/{name}": tensor for name, tensor in progress.best.items()},
        **{
            f"optimiser/{index}/{name}": tensor
            for index, own in moments.items()
            for name, tensor in own.items()
        },
    }
    return {
        **{name: np.array(tensor.cpu().numpy()) for name, tensor in tensors.items()},
        "epoch": progress.epoch,
        "losses": np.array(progress.losses),
        "scores": np.array(progress.scores),
    }


def unpack(
    state: Mapping[str, Any], network: Network, average: Network, optimiser: torch.optim.Optimizer
) -> Progress:
    """Put networks and optimiser where they were, and say how the fit went until then."""
    device = network.mean.device
    network.load_state_dict(_under("network/", state, device))
    average.load_state_dict(_under("average/", state, device))
    moments: dict[int, Weights] = {}
    for name, tensor in _under("optimiser/", state, torch.device("cpu")).items():
        index, _, own = name.partition("/")
        moments.setdefault(int(index), {})[own] = tensor
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": moments, "param_groups": groups})
    return Progress(
        _under("best/", state, device),
        int(state["epoch"]),
        np.asarray(state["losses"]).tolist(),
        np.asarray(state["scores"]).tolist(),
    )


def _under(prefix: str, state: Mapping[str, Any], device: torch.device) -> Weights:
    return {
        name.removeprefix(prefix): torch.from_numpy(np.array(value)).to(device)
        for name, value in state.items()
        if name.startswith(prefix)
    }
