"""Head ``tune: head``: a small network on the vectors of a frozen encoder of any kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recserve import ConfigError, Dataset, Distills, Encoder, FitContext, FloatArray, KnowsItsWords
from recserve_bert.texts import unit_rows
from recserve_bert.tuning.parameters import TuningParams
from recserve_bert.tuning.storage import LearntState

if TYPE_CHECKING:
    import torch
    from recserve_torch import TextTower

_BLOCK = 4096


class HeadEncoder:
    """Text encoder whose vectors pass a learnt head: ``x + B max(A x + a, 0)``, scaled to unit length.

    Before it is trained it is the encoder below, with its vectors and its fingerprint.

    Args:
        base: The frozen encoder.
        params: How to train.
    """

    def __init__(self, base: Encoder, params: TuningParams) -> None:
        self._base = base
        self._params = params
        self._learnt: LearntState | None = None

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._base.dimension

    @property
    def fingerprint(self) -> str:
        """The frozen encoder's; with a head, sha256 over it and the head."""
        base = self._base.fingerprint
        return base if self._learnt is None else self._learnt.fingerprint(base)

    def encode(
        self, texts: Sequence[str], progress: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """Encode texts; see :meth:`recserve.Encoder.encode`."""
        return self.transform(self._base.encode(texts, progress))

    def unknown_share(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Share of the tokens of each text that the frozen encoder does not know, float32, shape (n,)."""
        if isinstance(self._base, KnowsItsWords):
            return self._base.unknown_share(texts)
        return np.zeros(len(texts), dtype=np.float32)

    def transform(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors of the frozen encoder through the head, float32, shape (n, d)."""
        if self._learnt is None:
            return vectors
        inner, shift, outer = (self._learnt.weights[name] for name in ("inner", "shift", "outer"))
        out = np.empty((len(vectors), self.dimension), dtype=np.float32)
        for start in range(0, len(vectors), _BLOCK):
            block = np.asarray(vectors[start : start + _BLOCK])
            out[start : start + _BLOCK] = unit_rows(block + np.maximum(block @ inner + shift, 0) @ outer)
        return out

    def fit(self, data: Dataset, context: FitContext) -> Mapping[str, Any]:
        """Train the head on behaviour.

        Args:
            data: Events over a catalogue with the frozen encoder's vectors.
            context: Seed, progress and previous facts.
        """
        from recserve_bert.tuning.towers import train_head

        weights, facts = train_head(data, self._params, context)
        self.learn(weights, facts)
        return facts

    def tower(self, texts: Sequence[str], vectors: FloatArray, device: torch.device) -> TextTower:
        """See :meth:`recserve_torch.OffersTower.tower`."""
        from recserve_bert.tuning.towers import HeadTower

        return HeadTower(vectors, self._params, device)

    def learn(self, weights: Mapping[str, FloatArray], facts: Mapping[str, Any]) -> None:
        """See :meth:`recserve_torch.OffersTower.learn`."""
        self._learnt = LearntState(self._base.fingerprint, "head", weights, facts)

    def distill(
        self,
        texts: Sequence[str],
        vectors: FloatArray,
        layers: int,
        epochs: int,
        directory: Path,
        context: FitContext,
    ) -> Mapping[str, Any]:
        """A smaller model with the head within it; see :meth:`recserve.Distills.distill`.

        Raises:
            ConfigError: The frozen encoder cannot teach a smaller one.
        """
        if not isinstance(self._base, Distills):
            raise ConfigError("the frozen encoder below the head cannot teach a smaller one", field="encoder")
        return self._base.distill(texts, vectors, layers, epochs, directory, context)

    def save(self, directory: Path) -> None:
        """Write the head."""
        assert self._learnt is not None, "an encoder is fitted before it is saved"
        self._learnt.save(directory)

    def load(self, directory: Path) -> None:
        """Restore what :meth:`save` wrote.

        Raises:
            BundleError: A file is missing or damaged, or the head was learnt on another encoder.
        """
        self._learnt = LearntState.load(directory, self._base.fingerprint)
