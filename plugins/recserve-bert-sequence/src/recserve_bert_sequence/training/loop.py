"""Fits the network, in one process or in several that share the windows of each batch and sum gradients."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import distributed

from recserve import Dataset, FitContext, FloatArray, Histories, InProcess, Int64Array, TorchWorker
from recserve_bert_sequence.network import (
    Dropout,
    Network,
    choose_device,
    deterministic,
    gather,
    mixed_precision,
)
from recserve_bert_sequence.parameters import BertSequenceParams
from recserve_bert_sequence.popularity import Popularity
from recserve_bert_sequence.sequences import Batch, TrainingWindows
from recserve_bert_sequence.training.losses import MASKED, NegativeSampler, Pool, bce_loss, softmax_loss
from recserve_bert_sequence.training.state import Progress, packed, unpack, weights_of
from recserve_bert_sequence.training.validation import HeldOut, hold_out

VALIDATION_USERS = 2000
UNVALIDATED_EPOCHS = 10
"""Epochs of a fit without anything to validate on."""
AVERAGING = 0.98
"""What the running average of the weights keeps of itself in a step: it is steadier than they are."""
CLIP_NORM = 5.0
LEAST_RATE = 0.02
"""Share of the learning rate that is left at the end of the schedule."""
_SAMPLE = 20_000


@dataclass(frozen=True, slots=True)
class Task:
    """What every process of a fit reads.

    Attributes:
        histories: All events.
        counts: int64, shape (n_items,); positive events of each item.
        vectors: float, shape (n_items, d); text vectors.
        n_event_types: Configured event types.
        params: What the user asked for.
        seed: Of everything random.
        previous: See :class:`recserve.FitContext`.
    """

    histories: Histories
    counts: Int64Array
    vectors: FloatArray
    n_event_types: int
    params: BertSequenceParams
    seed: int
    previous: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Fitted:
    """Result of a fit.

    Attributes:
        network: On the CPU.
        popularity: Of the items.
        facts: JSON-like.
    """

    network: Network
    popularity: Popularity
    facts: dict[str, Any]


def train(data: Dataset, vectors: FloatArray, params: BertSequenceParams, context: FitContext) -> Fitted:
    """Fit a network; see :class:`recserve.FitContext` for what ``context.previous`` decides."""
    task = Task(
        data.histories,
        data.item_counts,
        vectors,
        len(data.event_types),
        params,
        context.seed,
        context.previous,
    )
    executor = context.executor
    if isinstance(executor, InProcess):
        executor = InProcess(choose_device(context.device), context.threads)

    def reported(epoch: int, score: float) -> None:
        context.progress("bert_sequence: epochs", epoch, params.epochs)
        if not math.isnan(score):
            context.validated(epoch, score)

    shared = executor.share(task)
    try:
        return executor.torch(fit, shared, reported=reported)
    finally:
        shared.release()


def fit(worker: TorchWorker, task: Task) -> Fitted:
    """Fit a network in one of the processes of a training loop."""
    device = torch.device(worker.device)
    with deterministic(worker.threads, device):
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
        self._popularity = Popularity.of(task.counts, task.vectors)
        self._sampler = NegativeSampler(task.counts, task.params.negatives)
        self._masks = torch.Generator(device)
        self._dropout = Dropout(task.params.dropout, self._masks)
        self._network = self._start()
        self._average = copy.deepcopy(self._network)
        self._steps = 0
        self._optimiser = torch.optim.AdamW(
            self._network.parameters(),
            lr=task.params.learning_rate,
            weight_decay=task.params.weight_decay,
            fused=True,
        )

    def run(self) -> Fitted:
        """Train; the weights of the best epoch, or of the last one where nothing is validated."""
        task, held_out = self._task, None
        histories, epochs = task.histories, self._params.epochs
        if task.previous is None:
            random = np.random.default_rng(task.seed)
            histories, held_out = hold_out(histories, VALIDATION_USERS, random)
            if not len(held_out):
                epochs, held_out = min(epochs, UNVALIDATED_EPOCHS), None
        else:
            epochs = int(task.previous["epochs"])
        windows = TrainingWindows(histories, self._params.window)
        progress = Progress(weights_of(self._network))
        if len(windows) and (task.counts > 0).any():
            progress = self._optimise(windows, epochs, held_out, progress)
        self._network.load_state_dict(progress.best)
        facts: dict[str, Any] = {"epochs": progress.epoch, "losses": progress.losses}
        if held_out is not None:
            facts |= {"validation_events": len(held_out), "validation_ndcg@10": progress.scores}
        return Fitted(self._network.cpu(), self._popularity, facts)

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
            progress, begin = self._restored(saved), last + 1
        batches = windows.n_batches(params.batch_events)
        for epoch in range(begin, epochs + 1):
            if held_out is not None and epoch - 1 - progress.epoch >= params.patience:
                break
            progress.losses.append(self._epoch(windows, epoch, (epoch - 1) * batches))
            score = math.nan
            if held_out is not None:
                score = self._agreed(
                    held_out.score(self._average, self._task.vectors, self._popularity.values, params.window)
                )
                progress.scores.append(score)
            if held_out is None or score >= max(progress.scores):
                progress.best, progress.epoch = weights_of(self._average), epoch
            state = self._packed(progress) if self._worker.rank == 0 else None
            self._worker.report(epoch, score, state)
        return progress

    def _packed(self, progress: Progress) -> dict[str, Any]:
        return packed(self._network, self._average, self._optimiser, progress) | {"steps": self._steps}

    def _restored(self, saved: Mapping[str, Any]) -> Progress:
        self._steps = int(saved["steps"])
        return unpack(saved, self._network, self._average, self._optimiser)

    def _epoch(self, windows: TrainingWindows, epoch: int, step: int) -> float:
        """Learn from all windows once; the mean loss."""
        # Everything random depends on the epoch alone, so that a fit can be taken up again after any.
        random = np.random.default_rng([self._task.seed, epoch])
        own = np.random.default_rng([self._task.seed, epoch, self._worker.rank])
        self._masks.manual_seed(int(own.integers(2**62)))
        steps = self._params.epochs * windows.n_batches(self._params.batch_events)
        losses = []
        for batch in windows.epoch(random, self._params.batch_events):
            left = 1.0 - (1.0 - LEAST_RATE) * min(step / max(steps, 1), 1.0)
            self._optimiser.param_groups[0]["lr"] = self._params.learning_rate * left
            losses.append(self._step(batch, self._sampler.pool(random)))
            step += 1
        return round(sum(losses) / max(len(losses), 1), 6)

    def _step(self, batch: Batch, pool: Pool) -> float:
        """Learn from a batch: this process from its windows, by the negatives of the whole batch."""
        part = batch.part(self._worker.rank, self._worker.world)
        self._optimiser.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=self._device)
        if part.learn.any():
            with mixed_precision(self._device):
                share = float(part.learn.sum() / batch.learn.sum())
                loss = share * self._loss(part, pool)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        parameters = list(self._network.parameters())
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        total = loss.detach()
        self._sum([*(parameter.grad for parameter in parameters if parameter.grad is not None), total])
        torch.nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        self._optimiser.step()
        self._steps += 1
        keep = min(AVERAGING, self._steps / (9 + self._steps))
        with torch.no_grad():
            for mean, parameter in zip(self._average.parameters(), parameters, strict=True):
                mean.lerp_(parameter, 1.0 - keep)
        return float(total)

    def _loss(self, batch: Batch, pool: Pool) -> torch.Tensor:
        inputs, targets = batch.inputs, batch.targets[batch.learn]
        # Each distinct text is projected once.
        rows, places = np.unique(
            np.concatenate([np.maximum(inputs.items, 0).ravel(), targets, pool.items]), return_inverse=True
        )
        projected = self._network.project(self._tensor(np.asarray(self._task.vectors[rows], np.float32)))
        read, wanted, others = np.split(places, [inputs.items.size, inputs.items.size + len(targets)])
        states = self._network.states(
            gather(projected, self._tensor(read.reshape(inputs.items.shape))), inputs, self._dropout
        )
        states = gather(states.reshape(-1, states.shape[-1]), self._tensor(np.flatnonzero(batch.learn)))
        positive = (states * gather(projected, self._tensor(wanted))).sum(dim=1).float()
        negative = (states @ gather(projected, self._tensor(others)).T).float()
        popularity = self._popularity.values
        positive = positive + self._network.popularity * self._tensor(popularity[targets])
        negative = negative + self._network.popularity * self._tensor(popularity[pool.items])
        same = self._tensor(targets)[:, None] == self._tensor(pool.items)[None, :]
        negative = negative.masked_fill(same, MASKED)
        if self._params.loss == "bce":
            return bce_loss(positive, negative)
        return softmax_loss(positive, negative, self._tensor(pool.log_expected))

    def _sum(self, tensors: list[torch.Tensor]) -> None:
        """Replace tensors by their sums over all processes."""
        if self._worker.world == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def _agreed(self, score: float) -> float:
        """The first process's score, in every process."""
        found = torch.tensor([score], dtype=torch.float64, device=self._device)
        if self._worker.world > 1:
            distributed.broadcast(found, 0)
        return round(float(found), 6)

    def _tensor(self, array: np.ndarray[Any, Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)
