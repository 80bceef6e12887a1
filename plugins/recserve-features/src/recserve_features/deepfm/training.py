"""Training of a DeepFM: softmax over the candidates of a query, on top of the order it starts from.

Guo et al. 2017, "DeepFM: A factorization-machine based neural network for CTR prediction" (IJCAI). There a
click is predicted by itself; here the candidates of a query compete, so the loss is that of the conditional
logit which the order to start from was fitted with. At first the network adds next to nothing to that order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from recserve_torch import Dropout, deterministic

from recserve import BoolArray, Float64Array, FloatArray, Int32Array, Int64Array, ndcg
from recserve_features.deepfm.encoding import Encoding
from recserve_features.deepfm.network import Network, Shape
from recserve_features.learning.examples import Examples
from recserve_features.parameters import DeepFmParams

_USUAL_EPOCHS = 5
# Of the embeddings at first: pairs of fields say little, but their gradients are not zero.
_SPREAD = 0.05
_CLIP_NORM = 5.0
_K = 10


@dataclass(frozen=True)
class Learnt:
    """A network with what is worth knowing about how it was learnt.

    Attributes:
        encoding: What it reads.
        network: None where none was better than the order to start from.
        epochs: How many it was trained for.
        validation: Softmax loss and nDCG@10 on users held out by number of epochs; empty where that was given
            or constant.
    """

    encoding: Encoding
    network: Network | None
    epochs: int
    validation: dict[str, dict[str, float]]


def learn(
    examples: Examples,
    params: DeepFmParams,
    seed: int,
    threads: int,
    validated: Callable[[int, float], None] = lambda step, score: None,
    progress: Callable[[str, int, int], None] = lambda description, done, total: None,
) -> Learnt:
    """Train a DeepFM; equal examples, parameters, seed and threads give an equal one.

    Args:
        examples: At least one query, each with a chosen candidate and others.
        params: How.
        seed: Of weights, batches and dropout.
        threads: CPU threads; 0 for torch's own number.
        validated: Called with (epochs, nDCG@10) on users held out.
        progress: Called with (description, done, total).
    """
    with deterministic(threads, torch.device("cpu")):
        epochs, validation = params.epochs, dict[str, dict[str, float]]()
        if epochs is None:
            held = examples.held_out()
            if held is None:
                epochs = min(_USUAL_EPOCHS, params.max_epochs)
            else:
                epochs, validation = _chosen_epochs(examples, held, params, seed, validated, progress)
        encoding = _encoding(examples, params)
        if epochs == 0:
            return Learnt(encoding, None, 0, validation)
        trainer = _Trainer(_Batches.of(examples, encoding), encoding, params, seed)
        for epoch in range(epochs):
            trainer.epoch()
            progress("deepfm: epochs", epoch + 1, epochs)
        return Learnt(encoding, trainer.network(), epochs, validation)


def _encoding(examples: Examples, params: DeepFmParams) -> Encoding:
    return Encoding.learnt(
        examples.features,
        examples.labels > 0,
        examples.categorical,
        params.buckets,
        params.vocabulary,
    )


def _chosen_epochs(
    examples: Examples,
    held: BoolArray,
    params: DeepFmParams,
    seed: int,
    validated: Callable[[int, float], None],
    progress: Callable[[str, int, int], None],
) -> tuple[int, dict[str, dict[str, float]]]:
    """The number of epochs with the lowest loss on users held out.

    Few users are held out: their loss moves more steadily from epoch to epoch than their nDCG does. It is 0
    where the loss is not below that of the order to start from by more than a standard error over users.
    """
    training, others = examples.of_queries(~held), examples.of_queries(held)
    encoding = _encoding(training, params)
    trainer = _Trainer(_Batches.of(training, encoding), encoding, params, seed)
    unseen = _Batches.of(others, encoding)
    found = [unseen.figures(np.zeros(len(others.base), dtype=np.float32))]
    losses = [float(found[0][0].mean())]
    best = 0
    for epoch in range(1, params.max_epochs + 1):
        trainer.epoch()
        found.append(unseen.figures(trainer.network().scores(unseen.entries)))
        validated(epoch, found[-1][1])
        progress("deepfm: epochs tried", epoch, params.max_epochs)
        losses.append(float(found[-1][0].mean()))
        if losses[-1] < losses[best]:
            best = epoch
        if epoch - best >= params.patience:
            break
    shown = {
        str(epoch): {
            "loss": round(losses[epoch], 6),
            "ndcg@10": round(found[epoch][1], 6),
        }
        for epoch in sorted({0, best})
    }
    gains = found[0][0] - found[best][0]
    certain = gains.mean() > gains.std() / math.sqrt(len(gains))
    return best if certain else 0, shown


@dataclass(frozen=True)
class _Batches:
    """Encoded examples, padded to the longest query.

    Attributes:
        entries: int32, shape (N, F).
        table: The same as a tensor.
        places: int64, shape (Q, L); rows of ``entries``, -1 for pads.
        base: float32, shape (Q, L).
        hits: bool, shape (Q, L).
        shares: float64, shape (Q,).
        users: int32, shape (Q,).
    """

    entries: Int32Array
    table: torch.Tensor
    places: Int64Array
    base: FloatArray
    hits: BoolArray
    shares: Float64Array
    users: Int32Array

    @classmethod
    def of(cls, examples: Examples, encoding: Encoding) -> _Batches:
        lengths = examples.lengths
        columns = np.arange(int(lengths.max()))
        places = (np.cumsum(lengths) - lengths)[:, None] + columns
        real = columns < lengths[:, None]
        safe = np.where(real, places, 0)
        entries = encoding.entries(examples.features)
        return cls(
            entries,
            torch.from_numpy(entries),
            np.where(real, places, -1),
            np.where(real, examples.base[safe], 0.0).astype(np.float32),
            real & (examples.labels[safe] > 0),
            examples.shares(),
            examples.users,
        )

    def figures(self, scores: FloatArray) -> tuple[Float64Array, float]:
        """Figures of scores on top of the base.

        Args:
            scores: float32, shape (N,).

        Returns:
            Softmax loss of each user, float64, and nDCG@10.
        """
        real = self.places >= 0
        logits = np.where(real, self.base + scores[self.places], -np.inf).astype(np.float64)
        top = logits.max(axis=1, keepdims=True)
        logs = logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
        count = self.hits.sum(axis=1)
        losses = -np.where(self.hits, logs, 0.0).sum(axis=1) / count
        order = np.argsort(-logits, axis=1, kind="stable")[:, :_K]
        found = ndcg(np.take_along_axis(self.hits, order, axis=1), count, _K)
        _, user = np.unique(self.users, return_inverse=True)
        by_user = np.bincount(user, self.shares * losses) / np.bincount(user, self.shares)
        return by_user, float(self.shares @ found) / len(losses)


class _Trainer:
    """A network in training.

    Args:
        batches: Examples.
        encoding: What they were encoded by.
        params: How to learn.
        seed: Of weights, batches and dropout.
    """

    def __init__(self, batches: _Batches, encoding: Encoding, params: DeepFmParams, seed: int) -> None:
        self._batches, self._params = batches, params
        self._shape = Shape(tuple(field.size for field in encoding.fields), params.width, params.hidden)
        self._random = np.random.default_rng(seed)
        self._met = np.bincount(batches.entries.ravel(), minlength=encoding.size) > 0
        generator = torch.Generator().manual_seed(seed % 2**63)
        self._dropout = Dropout(params.dropout, generator)
        self._parameters = [torch.from_numpy(array).requires_grad_() for array in self._first_arrays()]
        self._optimiser = torch.optim.AdamW(
            self._parameters, lr=params.learning_rate, weight_decay=params.weight_decay
        )

    def epoch(self) -> None:
        """Look at each query once, in random order."""
        order = self._random.permutation(len(self._batches.shares))
        size = self._params.batch_queries
        for start in range(0, len(order), size):
            self._optimiser.zero_grad(set_to_none=True)
            self._loss(order[start : start + size]).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self._parameters, _CLIP_NORM)
            self._optimiser.step()

    def network(self) -> Network:
        """As it is now; entries that no example has add nothing."""
        arrays = [parameter.detach().numpy().copy() for parameter in self._parameters]
        for array in arrays[:2]:
            array[~self._met] = 0.0
        return Network(self._shape, np.concatenate([array.ravel() for array in arrays]))

    def _first_arrays(self) -> list[FloatArray]:
        """Weights to start from: with linear ones and the last layer 0 there are only pairs of fields."""
        linear, embeddings, *layers = self._shape.parts()
        found = [np.zeros(linear), self._random.normal(0.0, _SPREAD, embeddings)]
        for place, part in enumerate(layers):
            last = place >= len(layers) - 2
            if len(part) == 1 or last:
                found.append(np.zeros(part))
            else:
                # He et al. 2015; the first layer reads small numbers.
                scale = math.sqrt(2.0 / part[0]) / (_SPREAD * 4 if place == 0 else 1.0)
                found.append(self._random.normal(0.0, scale, part))
        return [array.astype(np.float32) for array in found]

    def _loss(self, chosen: Int64Array) -> torch.Tensor:
        """Mean softmax loss of some queries, each weighted by its share."""
        batches = self._batches
        places = batches.places[chosen]
        mask = torch.from_numpy(places >= 0)
        hits = torch.from_numpy(batches.hits[chosen])
        rows = torch.from_numpy(places[places >= 0])
        own = self._scores(batches.table[rows])
        spread = own.new_zeros(mask.shape).masked_scatter(mask, own)
        logits = (torch.from_numpy(batches.base[chosen]) + spread).masked_fill(~mask, -1e9)
        logs = torch.log_softmax(logits, dim=1)
        losses = -(logs * hits).sum(dim=1) / hits.sum(dim=1)
        shares = torch.from_numpy(batches.shares[chosen].astype(np.float32))
        return (losses * shares).mean()

    def _scores(self, entries: torch.Tensor) -> torch.Tensor:
        """As :meth:`Network.scores`, with gradients and dropout."""
        linear, embeddings, weights, bias, *deeper = self._parameters
        width, fields = self._shape.width, self._shape.fields
        by_field = weights.view(len(fields), width, -1)
        rows = torch.cat(
            [part @ own for part, own in zip(torch.split(embeddings, list(fields)), by_field, strict=True)]
        )
        alone = linear - 0.5 * (embeddings**2).sum(dim=1)
        table = torch.cat([alone[:, None], embeddings, rows], dim=1)
        sums = torch.nn.functional.embedding_bag(entries, table, mode="sum")
        machine = sums[:, 0] + 0.5 * (sums[:, 1 : width + 1] ** 2).sum(dim=1)
        units = self._dropout(torch.relu(sums[:, width + 1 :] + bias))
        for place in range(0, len(deeper) - 2, 2):
            units = self._dropout(torch.relu(units @ deeper[place] + deeper[place + 1]))
        return machine + (units @ deeper[-2] + deeper[-1])[:, 0]
