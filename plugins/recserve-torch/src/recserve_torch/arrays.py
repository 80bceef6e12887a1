"""States of modules and optimisers as arrays by name: what a checkpoint of a training loop holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

_CPU = torch.device("cpu")


def named_arrays(**states: Mapping[str, torch.Tensor] | torch.optim.Optimizer) -> dict[str, Any]:
    """Arrays by ``state/name``, copied; the moments of an optimiser by ``state/parameter/name``."""
    found: dict[str, Any] = {}
    for prefix, state in states.items():
        tensors = _moments(state) if isinstance(state, torch.optim.Optimizer) else state
        found.update({f"{prefix}/{name}": np.array(tensor.cpu().numpy()) for name, tensor in tensors.items()})
    return found


def tensors_below(
    prefix: str, arrays: Mapping[str, Any], device: torch.device = _CPU
) -> dict[str, torch.Tensor]:
    """Tensors of one state of :func:`named_arrays` by name."""
    start = f"{prefix}/"
    return {
        name.removeprefix(start): torch.from_numpy(np.array(value)).to(device)
        for name, value in arrays.items()
        if name.startswith(start)
    }


def restore_moments(prefix: str, arrays: Mapping[str, Any], optimiser: torch.optim.Optimizer) -> None:
    """Give an optimiser the moments that :func:`named_arrays` read off it."""
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors_below(prefix, arrays).items():
        index, _, own = name.partition("/")
        moments.setdefault(int(index), {})[own] = tensor
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": moments, "param_groups": groups})


def _moments(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {
        f"{index}/{name}": tensor
        for index, own in optimiser.state_dict()["state"].items()
        for name, tensor in own.items()
    }
