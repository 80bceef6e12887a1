"""Base models of a process: one copy of a checkpoint's tensors for all encoders that were trained on it.

A replica serves several bundles at a time: the one before the newest, and those of an experiment's arms. If
training changed their encoders by adapters (or in the last layers), what it left alone is the same for all.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

import torch

from recserve import ConfigError
from recserve_bert.engines.torch_engine import TorchEngine, load
from recserve_bert.sources import Source
from recserve_bert.tuning.weights import beside


class Base:
    """A checkpoint in memory that nobody changes; it is gone with the last engine that holds it.

    Args:
        source: A model that was not trained.
        device: Where torch keeps it.

    Attributes:
        tokenizer: Its tokenizer.
        model: Its tensors, in float32.
        lock: For the tokenizer.

    Raises:
        ConfigError: It cannot be loaded.
    """

    def __init__(self, source: Source, device: torch.device) -> None:
        self.tokenizer, model = load(source)
        self.model = model.to(device).eval()
        self.lock = threading.Lock()


_BASES: WeakValueDictionary[tuple[str, torch.device], Base] = WeakValueDictionary()
_LOADING = threading.Lock()


def base_of(source: Source, device: torch.device) -> Base:
    """The base of a model, trained or not; loaded where no engine of this process holds it.

    Raises:
        ConfigError: It cannot be loaded.
    """
    fingerprint = source.fingerprint if source.learnt is None else source.learnt.base
    with _LOADING:
        found = _BASES.get((fingerprint, device))
        if found is None:
            found = Base(replace(source, learnt=None, fingerprint=fingerprint), device)
            _BASES[fingerprint, device] = found
        return found


class SharedTorchEngine(TorchEngine):
    """Engine over torch that shares the tensors of its base with others of this process."""

    def _opened(self, source: Source) -> tuple[Any, Any, threading.Lock]:
        if source.learnt is not None and source.learnt.kind == "full":
            return super()._opened(source)  # All its tensors are its own.
        # Held, so that it is there for others as long as this engine is.
        self._base = base_of(source, self.device)
        if source.learnt is None:
            return self._base.tokenizer, self._base.model, self._base.lock
        try:
            model = beside(self._base.model, source.learnt.weights)
        except ValueError as error:
            raise ConfigError(
                f"encoder.model = {source.name!r}: its learnt weights do not fit: {error}",
                field="encoder.model",
            ) from None
        return self._base.tokenizer, model, self._base.lock
