"""Towers that training optimises: a head over fixed vectors, or a part of a BERT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recserve_torch import choose_device, seeded
from torch.nn import functional

from recserve import ConfigError, Dataset, FitContext, FloatArray, Int32Array, Int64Array
from recserve_bert.engines.torch_engine import TorchEngine
from recserve_bert.parameters import BertParams
from recserve_bert.sources import Source
from recserve_bert.texts import batches, clean
from recserve_bert.tuning.loop import TwoTowerTraining
from recserve_bert.tuning.lower_states import LowerStates
from recserve_bert.tuning.parameters import TuningParams
from recserve_bert.tuning.weights import TrainedPart, first_trained, learnt_weights, make_trainable

RATES = {"head": 1e-3, "last_n": 1e-4, "lora": 5e-4, "full": 3e-5}
"""Learning rate by what is trained."""
HEAD_WIDENING = 2
"""Hidden units of the head for each dimension of a vector."""
_LAST_LAYERS = 2


class HeadTower:
    """A residual network of one hidden layer on fixed vectors; at first it changes nothing.

    Args:
        vectors: float32, shape (n_items, d); of the frozen encoder.
        params: Learning rate.
        device: Where to compute.
    """

    def __init__(self, vectors: FloatArray, params: TuningParams, device: torch.device) -> None:
        self.learning_rate = params.learning_rate or RATES["head"]
        self._vectors = vectors
        self._device = device
        dimension = vectors.shape[1]
        hidden = HEAD_WIDENING * dimension
        inner = torch.randn(dimension, hidden) / np.sqrt(dimension)
        self._inner = torch.nn.Parameter(inner.to(device))
        self._shift = torch.nn.Parameter(torch.zeros(hidden, device=device))
        self._outer = torch.nn.Parameter(torch.zeros(hidden, dimension, device=device))

    def parameters(self) -> list[torch.nn.Parameter]:
        """Weights of the head."""
        return [self._inner, self._shift, self._outer]

    def tokens(self, rows: Int32Array) -> Int64Array:
        """A head reads no tokens."""
        return np.zeros(len(rows), dtype=np.int64)

    def affordable(self, rows: Int32Array) -> Int32Array:
        """All of them."""
        return _distinct(rows)

    def forward(self, rows: Int32Array) -> torch.Tensor:
        """Unit vectors of rows, with gradients."""
        fixed = torch.from_numpy(np.asarray(self._vectors[rows], dtype=np.float32)).to(self._device)
        hidden = functional.relu(fixed @ self._inner + self._shift)
        return functional.normalize(fixed + hidden @ self._outer, dim=1)

    def vectors(self, rows: Int32Array) -> FloatArray:
        """Unit vectors of rows."""
        with torch.inference_mode():
            found: FloatArray = self.forward(rows).cpu().numpy()
        return found

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """The head as :class:`recserve_bert.tuning.head.HeadEncoder` applies it."""
        named = zip(("inner", "shift", "outer"), self.parameters(), strict=True)
        return {name: value.detach().cpu().numpy().copy() for name, value in named}


class BertTower:
    """A BERT of which a part is trained.

    Args:
        source: The model.
        texts: Texts of the catalogue.
        params: The part, its learning rate, and the tokens of a step.
        device: Where to compute.
        progress: Called with (texts done, texts in all) while the layers below the part are computed.
    """

    def __init__(
        self,
        source: Source,
        texts: Sequence[str],
        params: BertParams,
        device: str,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        part = _trained_part(params)
        self.learning_rate = params.learning_rate or RATES[params.tune]
        self._budget = params.step_tokens
        self._engine = TorchEngine(source, device, params.precision)
        self._tokens = self._engine.tokenise(
            [source.prefix + clean(text, source.max_length) for text in texts]
        )
        self._lengths = np.array([len(ids) for ids in self._tokens], dtype=np.int64)
        model = self._engine.model
        self._parameters = make_trainable(model, part, checkpointing=params.checkpointing)
        self._lower, first = None, first_trained(model, part)
        # Checkpointed layers run again when other texts are due.
        if first and not params.checkpointing and LowerStates.affordable(self._engine, self._tokens):
            self._lower = LowerStates(self._engine, first, self._tokens, progress)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._engine.device

    def parameters(self) -> list[torch.nn.Parameter]:
        """Parameters of the trained part."""
        return self._parameters

    def tokens(self, rows: Int32Array) -> Int64Array:
        """Tokens of each row's text."""
        return self._lengths[rows]

    def affordable(self, rows: Int32Array) -> Int32Array:
        """The first distinct rows, at least two, within the tokens of a step."""
        distinct = _distinct(rows)
        cost = np.cumsum(self._lengths[distinct])
        return distinct[: max(int(np.searchsorted(cost, self._budget, side="right")), 2)]

    def forward(self, rows: Int32Array) -> torch.Tensor:
        """Unit vectors of rows, with gradients, in training mode."""
        self._engine.model.train()
        return self._encoded(rows)

    def vectors(self, rows: Int32Array) -> FloatArray:
        """Unit vectors of rows as they would be served."""
        self._engine.model.eval()
        with torch.inference_mode():
            found: FloatArray = self._encoded(rows).cpu().numpy()
        return found

    def _encoded(self, rows: Int32Array) -> torch.Tensor:
        order, parts = [], []
        for batch in batches(self._lengths[rows].tolist(), self._engine.batch_tokens):
            if self._lower is not None:
                self._lower.feed(rows[batch].astype(np.int64))
            parts.append(self._engine.pooled([self._tokens[row] for row in rows[batch]]))
            order.append(batch)
        back = torch.from_numpy(np.argsort(np.concatenate(order))).to(self._engine.device)
        return functional.normalize(torch.cat(parts)[back], dim=1)

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """What training made of the part."""
        return learnt_weights(self._engine.model)


Learnt = tuple[dict[str, NDArray[np.float32]], dict[str, Any]]


def train_head(data: Dataset, params: TuningParams, context: FitContext) -> Learnt:
    """Weights of a head, and facts.

    Args:
        data: Events over a catalogue with the frozen encoder's vectors.
        params: How to train.
        context: Seed, progress and previous facts.
    """
    device = choose_device(context.device)
    vectors = _vectors(data)
    with seeded(context.seed, context.threads):
        tower = HeadTower(vectors, params, device)
        facts = TwoTowerTraining(tower, np.array(vectors), params, context, device).run(data)
        return tower.weights(), facts


def train_bert(source: Source, data: Dataset, params: BertParams, context: FitContext) -> Learnt:
    """Weights of a part of a BERT, and facts.

    Args:
        source: The model.
        data: Events over a catalogue with the model's vectors.
        params: How to train.
        context: Seed, progress, previous facts and item texts.
    """
    wanted = context.device if params.device == "auto" else params.device
    with seeded(context.seed, context.threads):
        progress = partial(context.progress, "lower layers")
        tower = BertTower(source, context.item_texts(), params, wanted, progress)
        table = np.array(_vectors(data))
        facts = TwoTowerTraining(tower, table, params, context, tower.device).run(data)
        return tower.weights(), facts


def _trained_part(params: BertParams) -> TrainedPart:
    kind = params.tune
    assert kind != "none"
    assert kind != "head"
    layers = params.tune_layers or (_LAST_LAYERS if kind == "last_n" else None)
    return TrainedPart(kind, layers, params.lora_rank)


def _distinct(rows: Int32Array) -> Int32Array:
    """Each row once, where it comes first."""
    _, first = np.unique(rows, return_index=True)
    return rows[np.sort(first)]


def _vectors(data: Dataset) -> FloatArray:
    if data.catalogue.vectors is None:
        raise ConfigError("a text encoder is trained on a catalogue that it has encoded", field="encoder")
    return np.asarray(data.catalogue.vectors, dtype=np.float32)
