"""Trainable weights of a BERT: the last layers, low-rank adapters (LoRA) or all of them.

Any plugin that fine-tunes a BERT can use it: :func:`make_trainable` chooses the weights of a model that
:func:`recserve_bert.engines.torch_engine.load` has loaded, :func:`learnt_weights` reads what training made of
them. :func:`apply_weights` puts that into a fresh copy of the same model, where adapters become part of the
matrices that they adapt; :func:`beside` puts it beside the tensors of a model that others use as well.
Neither needs peft.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from recserve import ConfigError

Weights = Mapping[str, NDArray[np.float32]]
"""Learnt tensors by name: a parameter of the model, or ``<matrix>.lora_A`` and ``<matrix>.lora_B``."""

_A, _B = ".lora_A", ".lora_B"
_ADAPTER = "default"  # what peft calls the only adapter of a model
UNUSED = "pooler."
"""How the parameters of BERT's own pooling begin, which sentence vectors do not pass."""


@dataclass(frozen=True, slots=True)
class TrainedPart:
    """Part of a model that training changes.

    Attributes:
        kind: The last layers as they are, low-rank adapters beside their matrices, or all weights.
        layers: How many of the last layers; None for all. ``full`` takes all, embeddings included.
        rank: Rank of the adapters.
        dropout: Of what the adapters read.
    """

    kind: Literal["last_n", "lora", "full"]
    layers: int | None = None
    rank: int = 8
    dropout: float = 0.0


def make_trainable(model: Any, part: TrainedPart, *, checkpointing: bool = False) -> list[torch.nn.Parameter]:
    """Freeze a model except for a part, which for ``lora`` is added to it in place.

    New adapters change nothing yet. Their first values are drawn from torch's generator.

    Args:
        model: A transformers encoder, in float32.
        part: What to train.
        checkpointing: Compute activations again in the backward pass instead of keeping them.

    Returns:
        The parameters to optimise.

    Raises:
        ConfigError: The model has no such layers, or peft is not installed.
    """
    model.requires_grad_(False)
    if part.kind == "full":
        model.requires_grad_(True)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not name.startswith(UNUSED))
    else:
        name, layers = layers_of(model)
        prefixes = tuple(f"{name}.{layer}." for layer in range(first_trained(model, part), len(layers)))
        if part.kind == "lora":
            _add_adapters(model, part, prefixes)
        else:
            for name, parameter in model.named_parameters():
                parameter.requires_grad_(name.startswith(prefixes))
    if checkpointing:
        # The reentrant form needs inputs with gradients, which frozen embeddings do not give.
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def in_output(name: str, model: Any) -> bool:
    """Whether a parameter is above the layers: of BERT's own pooling, or of a classifier's output."""
    base = f"{model.base_model_prefix}."
    if model.base_model is model:
        return name.removeprefix(base).startswith(UNUSED)
    return not name.startswith(base) or name.removeprefix(base).startswith(UNUSED)


def layers_of(model: Any) -> tuple[str, torch.nn.ModuleList]:
    """Name of a model's list of layers, and the list, first layer first.

    Raises:
        ConfigError: Its layers are none of its own, such as ALBERT's, which is one layer many times.
    """
    depth = int(getattr(model.config, "num_hidden_layers", 0))
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == depth > 1:
            return name, module
    raise ConfigError(
        f"tune: a model of type {model.config.model_type!r} has no layers of its own to train; use 'full'",
        field="encoder.params",
    )


def first_trained(model: Any, part: TrainedPart) -> int:
    """The lowest layer that a part changes.

    Raises:
        ConfigError: The model has fewer layers than the part.
    """
    if part.layers is None or part.kind == "full":
        return 0
    depth = len(layers_of(model)[1])
    if part.layers > depth:
        raise ConfigError(
            f"tune_layers = {part.layers}: the model has {depth} layers", field="encoder.params"
        )
    return depth - part.layers


def _add_adapters(model: Any, part: TrainedPart, prefixes: tuple[str, ...]) -> None:
    if find_spec("peft") is None:
        raise ConfigError(
            "tune = 'lora': peft is not installed; pip install 'recserve[lora]', or use 'last_n'",
            field="encoder.params",
        )
    from peft import LoraConfig, inject_adapter_in_model

    matrices = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name.startswith(prefixes)
    ]
    config = LoraConfig(
        r=part.rank, lora_alpha=2 * part.rank, lora_dropout=part.dropout, target_modules=matrices
    )
    inject_adapter_in_model(config, model)


def learnt_weights(model: Any) -> dict[str, NDArray[np.float32]]:
    """What training made of the part that :func:`make_trainable` chose, ready for :func:`apply_weights`."""
    found: dict[str, NDArray[np.float32]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        value = parameter.detach().float().cpu().numpy().copy()
        for kind in (_A, _B):
            base, matched, _ = name.partition(f"{kind}.{_ADAPTER}")
            if matched:
                name = base + kind
                if kind == _B:
                    value *= np.float32(model.get_submodule(base).scaling[_ADAPTER])
        found[name] = value
    return found


def apply_weights(model: Any, weights: Weights) -> None:
    """Put learnt weights into a model as it was before training.

    Raises:
        ValueError: They do not fit the model.
    """
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in weights.items():
            if name.endswith(_B):
                continue
            if name.endswith(_A):
                name = name.removesuffix(_A)
                change = torch.from_numpy(weights[name + _B] @ value)
                target = parameters.get(name + ".weight")
            else:
                change, target = torch.from_numpy(np.asarray(value)), parameters.get(name)
            if target is None or target.shape != change.shape:
                raise ValueError(f"the model has no {name} of shape {tuple(change.shape)}")
            if f"{name}{_A}" in weights:
                target += change
            else:
                target.copy_(change)


class AdaptedLinear(torch.nn.Module):
    """Linear layer with a low-rank adapter beside its matrix: ``linear(x) + B (A x)``.

    Args:
        linear: The layer, whose tensors may be others' as well.
        inner: A, float32, shape (rank, inputs).
        outer: B, scaled, float32, shape (outputs, rank).
    """

    def __init__(self, linear: torch.nn.Linear, inner: torch.Tensor, outer: torch.Tensor) -> None:
        super().__init__()
        self.linear = linear
        self.inner = torch.nn.Parameter(inner, requires_grad=False)
        self.outer = torch.nn.Parameter(outer, requires_grad=False)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Outputs, shape (..., outputs), of values of shape (..., inputs)."""
        low = torch.nn.functional.linear(values, self.inner)
        found: torch.Tensor = self.linear(values) + torch.nn.functional.linear(low, self.outer)
        return found


def beside(model: Any, weights: Weights) -> Any:
    """A trained model that shares the tensors of an untrained one, other than those that were learnt.

    Args:
        model: A transformers encoder as it was before training; it stays as it is.
        weights: What :func:`learnt_weights` gave.

    Raises:
        ValueError: They do not fit the model.
    """
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    trained = copy.deepcopy(model, shared)
    own = {name: torch.from_numpy(np.array(value)).to(model.device) for name, value in weights.items()}
    for name, value in own.items():
        if name.endswith(_B):
            continue
        path = name.removesuffix(_A)
        outer = own[path + _B] if path != name else None
        target = dict(trained.named_parameters()).get(name if outer is None else path + ".weight")
        shape = value.shape if outer is None else (len(outer), value.shape[1])
        if target is None or target.shape != shape:
            raise ValueError(f"the model has no {path} of shape {tuple(shape)}")
        parent, _, leaf = path.rpartition(".")
        changed = (
            torch.nn.Parameter(value, requires_grad=False)
            if outer is None
            else AdaptedLinear(trained.get_submodule(path), value, outer)
        )
        setattr(trained.get_submodule(parent), leaf, changed)
    return trained
