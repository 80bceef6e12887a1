"""Fits the network, in one process or in several that share the windows of each batch and sum gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from recserve_torch import (
    Dropout,
    Exchange,
    OffersTower,
    deterministic,
    mixed_precision,
    run_loop,
    seeded,
)
from torch.nn import functional

from recserve import Dataset, FitContext, FloatArray, Histories, Int64Array, TorchWorker
from recserve_bert_sequence.network import Network
from recserve_bert_sequence.parameters import BertSequenceParams
from recserve_bert_sequence.popularity import Popularity
from recserve_bert_sequence.sequences import Batch, TrainingWindows
from recserve_bert_sequence.training.learner import Learner
from recserve_bert_sequence.training.losses import MASKED, NegativeSampler, Pool, bce_loss, softmax_loss
from recserve_bert_sequence.training.state import Progress
from recserve_bert_sequence.training.texts import Texts
from recserve_bert_sequence.training.validation import HeldOut, hold_out

VALIDATION_USERS = 2000
UNVALIDATED_EPOCHS = 10
"""Epochs of a fit without anything to validate on."""
_SAMPLE = 20_000


@dataclass(frozen=True, slots=True)
class Task:
    """What every process of a fit reads.

    Attributes:
        histories: All events; rows from ``n_items`` on are texts of users.
        counts: int64, shape (n_items,); positive events of each item.
        vectors: float, shape (n_items + texts of users, d); text vectors.
        n_event_types: Configured event types.
        params: What the user asked for.
        seed: Of everything random.
        previous: See :class:`recserve.FitContext`.
        encoder: The text encoder, if it is trained with the network.
        texts: Texts of the items, for the encoder.
    """

    histories: Histories
    counts: Int64Array
    vectors: FloatArray
    n_event_types: int
    params: BertSequenceParams
    seed: int
    previous: Mapping[str, Any] | None
    encoder: OffersTower | None = None
    texts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Fitted:
    """Result of a fit.

    Attributes:
        network: On the CPU.
        popularity: Of the items.
        facts: JSON-like.
        encoder: What training made of the text encoder, None where it was left alone.
    """

    network: Network
    popularity: Popularity
    facts: dict[str, Any]
    encoder: dict[str, FloatArray] | None = None


def train(
    data: Dataset,
    vectors: FloatArray,
    params: BertSequenceParams,
    context: FitContext,
    encoder: OffersTower | None = None,
) -> Fitted:
    """Fit a network; see :class:`recserve.FitContext` for what ``context.previous`` decides.

    Args:
        data: Events.
        vectors: float, shape (n_items, d); text vectors.
        params: What the user asked for.
        context: Seed, executor, progress, previous facts and item texts.
        encoder: Trained with the network; None leaves the vectors as they are.
    """
    histories, written = data.histories_with_texts()
    task = Task(
        histories,
        data.item_counts,
        np.concatenate([vectors, written]) if len(written) else vectors,
        len(data.event_types),
        params,
        context.seed,
        context.previous,
        encoder,
        () if encoder is None else context.item_texts(),
    )
    return run_loop(fit, task, context, "bert_sequence", params.epochs)


def fit(worker: TorchWorker, task: Task) -> Fitted:
    """Fit a network in one of the processes of a training loop."""
    device = torch.device(worker.device)
    # What an encoder draws comes from torch's own generators.
    with deterministic(worker.threads, device), seeded(task.seed):
        return Trainer(task, worker, device).run()


class Trainer:
    """One fit of the network, in one of its processes.

    Args:
        task: What to learn from.
        worker: This process among the others.
        device: Where to compute.
    """

    def __init__(self, task: Task, worker: TorchWorker, device: torch.device) -> None:
        self._task = task
        self._params = task.params
        self._worker = worker
        self._device = device
        tower = None
        if task.encoder is not None:
            tower = task.encoder.tower(task.texts, np.asarray(task.vectors, dtype=np.float32), device)
        self._texts = Texts(task.vectors, tower, device)
        self._n_items = len(task.counts)
        self._popularity = Popularity.of(task.counts, task.vectors[: self._n_items])
        self._sampler = NegativeSampler(task.counts, task.params.negatives)
        self._masks = torch.Generator(device)
        self._dropout = Dropout(task.params.dropout, self._masks)
        self._own = np.random.default_rng(task.seed)
        self._exchange = Exchange(worker.world)
        self._network = self._start()
        self._learner = Learner(self._network, self._texts, task.params, self._exchange)

    def run(self) -> Fitted:
        """Train; the weights of the best epoch, or of the last one where nothing is validated."""
        task, held_out = self._task, None
        histories, epochs = task.histories, self._params.epochs
        if task.previous is None:
            random = np.random.default_rng(task.seed)
            histories, held_out = hold_out(histories, self._n_items, VALIDATION_USERS, random)
            if not len(held_out):
                epochs, held_out = min(epochs, UNVALIDATED_EPOCHS), None
        else:
            epochs = int(task.previous["epochs"])
        windows = TrainingWindows(histories, self._params.window, self._n_items)
        progress = Progress(self._learner.weights())
        if len(windows) and (task.counts > 0).any():
            progress = self._optimise(windows, epochs, held_out, progress)
        self._learner.use(progress.best)
        self._encode()
        facts: dict[str, Any] = {"epochs": progress.epoch, "losses": progress.losses}
        if held_out is not None:
            facts |= {"validation_events": len(held_out), "validation_ndcg@10": progress.scores}
        tower = self._texts.tower
        learnt = None if tower is None else tower.weights()
        return Fitted(self._network.cpu(), self._popularity, facts, learnt)

    def _start(self) -> Network:
        task, params = self._task, self._params
        vectors = task.vectors
        random = np.random.default_rng(task.seed)
        if len(vectors) > _SAMPLE:
            vectors = vectors[np.sort(random.choice(len(vectors), _SAMPLE, replace=False))]
        network = Network.blank(vectors.shape[1], task.n_event_types, params.width, params.layers)
        network.initialise(np.asarray(vectors, dtype=np.float32), torch.Generator().manual_seed(task.seed))
        return network.to(self._device)

    def _optimise(
        self, windows: TrainingWindows, epochs: int, held_out: HeldOut | None, progress: Progress
    ) -> Progress:
        begin, params = 1, self._params
        if self._worker.checkpoint is not None:
            last, saved = self._worker.checkpoint
            progress, begin = Progress.restored(self._learner.restore(saved), saved), last + 1
            self._encode()
        batches = windows.n_batches(params.batch_events)
        for epoch in range(begin, epochs + 1):
            if held_out is not None and epoch - 1 - progress.epoch >= params.patience:
                break
            progress.losses.append(self._epoch(windows, epoch, (epoch - 1) * batches))
            self._encode()
            score = math.nan
            if held_out is not None:
                score = self._validated(held_out)
                progress.scores.append(score)
            if held_out is None or score >= max(progress.scores):
                progress.best, progress.epoch = self._learner.weights(), epoch
            state = None
            if self._worker.rank == 0:
                state = progress.state() | self._learner.state(progress.best)
            self._worker.report(epoch, score, state)
        return progress

    def _encode(self) -> None:
        """Bring vectors, and what is read off them, to what the encoder says now."""
        if self._texts.tower is not None:
            self._texts.encode_all()
            self._popularity = Popularity.of(self._task.counts, self._texts.table[: self._n_items])

    def _validated(self, held_out: HeldOut) -> float:
        network, table, popularity = self._learner.average, self._texts.table, self._popularity.values
        score = held_out.score(network, table, popularity, self._params.window)
        return round(self._exchange.agreed(score, self._device), 6)

    def _epoch(self, windows: TrainingWindows, epoch: int, step: int) -> float:
        """Learn from all windows once; the mean loss."""
        # Everything random depends on the epoch alone, so that a fit can be taken up again after any.
        random = np.random.default_rng([self._task.seed, epoch])
        self._own = np.random.default_rng([self._task.seed, epoch, self._worker.rank])
        self._masks.manual_seed(int(self._own.integers(2**62)))
        torch.manual_seed(int(self._own.integers(2**62)))
        steps = self._params.epochs * windows.n_batches(self._params.batch_events)
        losses = []
        for batch in windows.epoch(random, self._params.batch_events):
            loss = self._share(batch, self._sampler.pool(random))
            losses.append(self._learner.step(loss, step / max(steps, 1)))
            step += 1
        return round(sum(losses) / max(len(losses), 1), 6)

    def _share(self, batch: Batch, pool: Pool) -> torch.Tensor:
        """This process's share of a batch's loss: of its windows, by the negatives of the whole batch."""
        part = batch.part(self._worker.rank, self._worker.world)
        if not part.learn.any():
            return torch.zeros((), device=self._device)
        with mixed_precision(self._device):
            return float(part.learn.sum() / batch.learn.sum()) * self._loss(part, pool)

    def _loss(self, batch: Batch, pool: Pool) -> torch.Tensor:
        inputs, targets = batch.inputs, batch.targets[batch.learn]
        # Each distinct text is projected once.
        rows, places = np.unique(
            np.concatenate([np.maximum(inputs.items, 0).ravel(), targets, pool.items]), return_inverse=True
        )
        projected = self._network.project(self._texts.read(rows, self._own))
        read, wanted, others = np.split(places, [inputs.items.size, inputs.items.size + len(targets)])
        states = self._network.states(
            _gather(projected, self._tensor(read.reshape(inputs.items.shape))), inputs, self._dropout
        )
        states = _gather(states.reshape(-1, states.shape[-1]), self._tensor(np.flatnonzero(batch.learn)))
        positive = (states * _gather(projected, self._tensor(wanted))).sum(dim=1).float()
        negative = (states @ _gather(projected, self._tensor(others)).T).float()
        popularity = self._popularity.values
        positive = positive + self._network.popularity * self._tensor(popularity[targets])
        negative = negative + self._network.popularity * self._tensor(popularity[pool.items])
        same = self._tensor(targets)[:, None] == self._tensor(pool.items)[None, :]
        negative = negative.masked_fill(same, MASKED)
        if self._params.loss == "bce":
            return bce_loss(positive, negative)
        return softmax_loss(positive, negative, self._tensor(pool.log_expected))

    def _tensor(self, array: np.ndarray[Any, Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)


def _gather(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Rows of a matrix, with a deterministic gradient."""
    return functional.embedding(places, values)
