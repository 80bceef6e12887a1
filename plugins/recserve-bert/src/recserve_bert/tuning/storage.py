"""Learnt state of an encoder and how it is kept in a bundle: safetensors and JSON, never a pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recserve import BundleError

_WEIGHTS, _FACTS = "weights.safetensors", "encoder.json"


@dataclass(frozen=True)
class LearntState:
    """What training changed of an encoder.

    Attributes:
        base: Fingerprint of the encoder as it was before training.
        kind: What was trained; see :attr:`recserve_bert.tuning.parameters.TuningParams.tune`.
        weights: Learnt tensors by name.
        facts: What the fit reported.
        engine: What runs the trained model.
    """

    base: str
    kind: str
    weights: Mapping[str, NDArray[np.float32]]
    facts: Mapping[str, Any] = field(default_factory=dict)
    engine: str = "torch"

    @cached_property
    def digest(self) -> str:
        """sha256 over names, shapes and values of the weights, hexadecimal."""
        found = hashlib.sha256()
        for name in sorted(self.weights):
            value = np.ascontiguousarray(self.weights[name], dtype="<f4")
            found.update(f"{name} {value.shape}\n".encode())
            found.update(value.tobytes())
        return found.hexdigest()

    def fingerprint(self, base: str) -> str:
        """Fingerprint of an encoder with these weights, hexadecimal.

        Args:
            base: Fingerprint of the same encoder without them.
        """
        facts = {"format": 1, "base": base, "tuned": self.kind, "weights": self.digest}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def save(self, directory: Path) -> None:
        """Write the state; equal states give equal bytes."""
        from safetensors.numpy import save_file

        save_file(
            {name: np.ascontiguousarray(value) for name, value in self.weights.items()}, directory / _WEIGHTS
        )
        known = {"base": self.base, "engine": self.engine, "facts": dict(self.facts), "kind": self.kind}
        (directory / _FACTS).write_text(json.dumps(known, sort_keys=True, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: Path, base: str) -> LearntState:
        """Read what :meth:`save` wrote.

        Args:
            directory: Where it is.
            base: Fingerprint of the encoder that it is to change.

        Raises:
            BundleError: A file is missing or damaged, or the weights were learnt on another encoder.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            known = json.loads((directory / _FACTS).read_text(encoding="utf-8"))
            weights = load_file(directory / _WEIGHTS)
            state = cls(known["base"], known["kind"], weights, known["facts"], known["engine"])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise BundleError(
                f"the trained text encoder in {directory} cannot be read: {' '.join(str(error).split())}"
            ) from None
        if state.base != base:
            raise BundleError(
                f"the text encoder in {directory} was trained on another model than the one here; "
                "restore the model that 'encoder' named, or train again"
            )
        return state
