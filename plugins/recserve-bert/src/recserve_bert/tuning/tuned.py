"""Trained BERT: the encoder whose weights follow behaviour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recserve import Dataset, FitContext, FloatArray
from recserve_bert.encoder import BertEncoder
from recserve_bert.engines.choice import engine_of_trained
from recserve_bert.parameters import BertParams
from recserve_bert.tuning.storage import LearntState

if TYPE_CHECKING:
    import torch
    from recserve_torch import TextTower


class TunedBertEncoder(BertEncoder):
    """Text encoder that is trained on behaviour, in a part of its weights or in all.

    Before it is trained it is the model of the directory, with its vectors and its fingerprint.

    Args:
        params: What to train and how; see :class:`recserve_bert.parameters.BertParams`.
        learnt: What was trained before; None for nothing.

    Raises:
        ConfigError: The model is missing, damaged or of a kind that cannot be used.
    """

    def __init__(self, params: BertParams, learnt: LearntState | None = None) -> None:
        super().__init__(params)
        self._base, self._wanted = self._source, self._choice
        if learnt is not None:
            self._take(learnt)

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes as parameters and learnt weights."""
        return TunedBertEncoder, (self._params, self._source.learnt)

    def fit(self, data: Dataset, context: FitContext) -> Mapping[str, Any]:
        """Train on behaviour.

        Args:
            data: Events over a catalogue with the untrained model's vectors.
            context: Seed, progress, previous facts and item texts.
        """
        from recserve_bert.tuning.towers import train_bert

        weights, facts = train_bert(self._base, data, self._params, context)
        self.learn(weights, facts)
        return facts

    def tower(self, texts: Sequence[str], vectors: FloatArray, device: torch.device) -> TextTower:
        """See :meth:`recserve_torch.OffersTower.tower`."""
        from recserve_bert.tuning.towers import BertTower

        return BertTower(self._base, texts, self._params, device.type)

    def learn(self, weights: Mapping[str, FloatArray], facts: Mapping[str, Any]) -> None:
        """See :meth:`recserve_torch.OffersTower.learn`."""
        learnt = LearntState(self._base.fingerprint, self._params.tune, weights, facts)
        engine = engine_of_trained(self._params, self._base.trained(learnt), self._wanted)
        self._take(replace(learnt, engine=engine))

    def _take(self, learnt: LearntState) -> None:
        with self._lock:
            self._source = self._base.trained(learnt)
            self._choice = "onnx" if learnt.engine == "onnx" else "torch"
            self._engine = None

    def save(self, directory: Path) -> None:
        """Write what training changed."""
        assert self._source.learnt is not None, "an encoder is fitted before it is saved"
        self._source.learnt.save(directory)

    def load(self, directory: Path) -> None:
        """Restore what :meth:`save` wrote.

        Raises:
            BundleError: A file is missing or damaged, or the weights were learnt on another model.
        """
        self._take(LearntState.load(directory, self._base.fingerprint))
