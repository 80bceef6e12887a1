"""Hidden states below the trained layers, computed once for each text instead of in every step.

Layers that training leaves alone say the same of a text every time. Where only the last two of six are
trained, a step then takes about a third of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from recserve import Int64Array
from recserve_bert.engines.torch_engine import TorchEngine
from recserve_bert.texts import batches
from recserve_bert.tuning.weights import layers_of

MOST_BYTES = 2**30
"""Texts whose states would take more are read by all layers in every step."""

_Hook = tuple[tuple[Any, ...], dict[str, Any]]


class _Skipped(torch.nn.Module):
    """Stands in for a layer whose output is known: hands its input on, in the form of the layer's output."""

    def __init__(self, in_tuple: bool) -> None:
        super().__init__()
        self._in_tuple = in_tuple

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        return (hidden_states,) if self._in_tuple else hidden_states


class LowerStates:
    """Hidden states of texts below the first trained layer; from now on the model's lower layers are skipped.

    Args:
        engine: Holds the model, which is changed.
        below: The first trained layer.
        tokens: Token ids of each text.
        progress: Called with (texts done, texts in all).
    """

    def __init__(
        self,
        engine: TorchEngine,
        below: int,
        tokens: Sequence[list[int]],
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._device = engine.device
        self._lengths = np.array([len(ids) for ids in tokens], dtype=np.int64)
        self._offsets = np.concatenate([[0], np.cumsum(self._lengths)])
        size = int(engine.model.config.hidden_size)
        self._states = torch.empty(int(self._offsets[-1]), size, dtype=torch.float16)
        self._rows = np.empty(0, dtype=np.int64)
        _, layers = layers_of(engine.model)
        in_tuple = self._compute(engine, layers[below - 1], layers[below], tokens, progress)
        for layer in range(below):
            layers[layer] = _Skipped(in_tuple)
        layers[below].register_forward_pre_hook(self._fed, with_kwargs=True)

    @staticmethod
    def affordable(engine: TorchEngine, tokens: Sequence[list[int]]) -> bool:
        """Whether the states of these texts take no more than :data:`MOST_BYTES`."""
        return sum(map(len, tokens)) * int(engine.model.config.hidden_size) * 2 <= MOST_BYTES

    def feed(self, rows: Int64Array) -> None:
        """Say which texts the next forward pass is about."""
        self._rows = rows

    def _compute(
        self,
        engine: TorchEngine,
        last: torch.nn.Module,
        first: torch.nn.Module,
        tokens: Sequence[list[int]],
        progress: Callable[[int, int], None],
    ) -> bool:
        """Run all texts once; whether a layer's output is a tuple."""
        seen: list[Any] = []
        handles = [
            last.register_forward_hook(lambda module, args, output: seen.append(isinstance(output, tuple))),
            first.register_forward_pre_hook(
                lambda module, args, kwargs: seen.append(_hidden(args, kwargs)), with_kwargs=True
            ),
        ]
        engine.model.eval()
        done = 0
        for rows in batches(self._lengths.tolist(), engine.batch_tokens):
            seen.clear()
            engine.forward([tokens[row] for row in rows])
            for place, row in enumerate(rows):
                start, end = self._offsets[row], self._offsets[row + 1]
                self._states[start:end] = seen[1][place, : end - start].half().cpu()
            done += len(rows)
            progress(done, len(tokens))
        for handle in handles:
            handle.remove()
        return bool(seen and seen[0])

    def _fed(self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Hook:
        """Arguments of the first trained layer, with the known states in place."""
        shape = _hidden(args, kwargs).shape
        hidden = torch.zeros(shape, dtype=torch.float32)
        for place, row in enumerate(self._rows):
            start, end = self._offsets[row], self._offsets[row + 1]
            hidden[place, : end - start] = self._states[start:end]
        hidden = hidden.to(self._device)
        if args:
            return (hidden, *args[1:]), dict(kwargs)
        return (), {**kwargs, "hidden_states": hidden}


def _hidden(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> torch.Tensor:
    found: torch.Tensor = args[0] if args else kwargs["hidden_states"]
    return found
