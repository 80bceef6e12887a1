"""Fits the network: one forward for each window, shared negatives, averaged weights.

The loop runs in one process or in several. Several share the windows of each batch and sum gradients, so
that they make the steps that one process makes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recserve_torch import Dropout, Exchange, deterministic, mixed_precision, run_loop
from torch.nn import functional

from recserve import Dataset, FitContext, Histories, Int64Array, TorchWorker
from recserve_sequence.network import MakeNetwork, SequenceNetwork, Shape, blank
from recserve_sequence.parameters import SequenceParams
from recserve_sequence.training.dense_table import DenseIdTable
from recserve_sequence.training.id_table import IdTable
from recserve_sequence.training.learner import Learner
from recserve_sequence.training.losses import MASKED, NegativeSampler, Pool, bce_loss, softmax_loss
from recserve_sequence.training.progress import Course, Kept
from recserve_sequence.training.settings import EPOCHS, Settings, schedule
from recserve_sequence.training.validation import HeldOut, hold_out, validate
from recserve_sequence.windows import Batch, TrainingWindows, shuffle_ties

VALIDATION_EVENTS = 2000
DENSE_UP_TO = 2**24
"""Numbers in a table of id vectors that all have an optimiser of their own: 268 MB more."""
AS_GOOD = 0.98
"""Of the epochs with this share of the best validation nDCG@10 the last one is kept: vectors of rare items
are learnt last, and validation hardly sees them."""
UNVALIDATED_EPOCHS = 10
_PRINCIPAL_SAMPLE = 20_000
_BLOCK = 65_536


@dataclass(frozen=True, slots=True)
class Fitted:
    """Result of a fit.

    Attributes:
        network: On the CPU.
        matrix: float32, shape (n_items, width); item vectors, ids included.
        facts: JSON-like.
    """

    network: SequenceNetwork
    matrix: NDArray[np.float32]
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """What every process of a fit reads.

    Attributes:
        histories: All events; rows from ``n_items`` on are texts of users.
        counts: int64, shape (n_items,); positive events of each item.
        vectors: float, shape (n_items + texts of users, text_dimension); text vectors; None learns from ids
            alone.
        n_event_types: Configured event types.
        make: Makes the network.
        params: What the user asked for.
        seed: Of everything random.
        previous: See :class:`recserve.FitContext`.
    """

    histories: Histories
    counts: Int64Array
    vectors: NDArray[Any] | None
    n_event_types: int
    make: MakeNetwork
    params: SequenceParams
    seed: int
    previous: Mapping[str, Any] | None


def train(name: str, make: MakeNetwork, data: Dataset, params: SequenceParams, context: FitContext) -> Fitted:
    """Fit a network; see :class:`recserve.FitContext` for what ``context.previous`` decides.

    Args:
        name: Of the component.
        make: Makes the network.
        data: What to learn from.
        params: What the user asked for.
        context: Seed, device, executor.
    """
    vectors, histories = data.catalogue.vectors if params.text else None, data.histories
    if vectors is not None and data.written is not None:
        histories, written = data.histories_with_texts()
        vectors = np.concatenate([vectors, written])
    task = Task(
        histories,
        data.item_counts,
        vectors,
        len(data.event_types),
        make,
        params,
        context.seed,
        context.previous,
    )
    most = int((context.previous or {}).get("epochs", params.epochs or EPOCHS[1]))
    return run_loop(fit, task, context, name, most)


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
        self._exchange = Exchange(worker.world)
        self._random = np.random.default_rng(task.seed)
        self._settings = Settings.choose(
            task.params,
            int(task.counts.sum()),
            task.histories.lengths,
            int((task.counts > 0).sum()),
            task.previous,
        )
        self._n_items = len(task.counts)
        n_rows = self._n_items if task.vectors is None else len(task.vectors)
        self._slots = np.full(n_rows, -1, dtype=np.int64)
        frequent = np.flatnonzero(task.counts >= task.params.min_id_count)
        self._slots[frequent] = np.arange(len(frequent))
        self._n_ids = len(frequent)
        # Places of catalogue rows within the distinct rows, and within the pool, of a batch.
        self._place = np.zeros(n_rows, dtype=np.int64)
        self._pooled = np.full(self._n_items, -1, dtype=np.int64)
        self._start = torch.Generator().manual_seed(task.seed)
        self._network = self._build()
        self._masks = torch.Generator(device)
        self._dropout = Dropout(task.params.dropout, self._masks)
        self._sampler = NegativeSampler(task.counts, self._settings.negatives, self._settings.in_batch)

    def run(self) -> Fitted:
        """Train and return averaged weights: of the last epoch, or of one before it got worse."""
        previous, held_out = self._task.previous, None
        histories = shuffle_ties(self._task.histories, self._random, self._n_items)
        if previous is None:
            histories, held_out = hold_out(histories, VALIDATION_EVENTS, self._random, self._n_items)
        windows = TrainingWindows(histories, self._settings.window, self._n_items)
        batches = windows.n_batches(self._params.batch_events)
        span = schedule(self._params, batches, previous)
        epochs = span
        if previous is not None:
            epochs = int(previous["epochs"])
        elif held_out is not None and len(held_out) == 0:
            epochs, held_out = min(span, UNVALIDATED_EPOCHS), None
        steps = max(span, epochs) * max(batches, 1)
        table = self._table(steps)
        learner = Learner(self._network, table, self._params, span * max(batches, 1), self._exchange)
        network, ids, learnt = self._network, table.average(), {"epochs": 0}
        if windows.n_targets:
            network, ids, learnt = self._optimise(learner, windows, epochs, span, held_out)
        facts = {
            **learnt,
            "width": self._settings.width,
            "window": self._settings.window,
            "dropout": self._params.dropout,
            "targets": windows.n_targets,
            "items_with_id": self._n_ids,
            "loss": self._loss_name,
        }
        matrix = self._matrix(network, ids)[: self._n_items].cpu().numpy()
        return Fitted(network.cpu(), matrix, facts)

    @property
    def _loss_name(self) -> str:
        if self._settings.bce:
            return "bce"
        return "sampled_softmax" if self._settings.negatives else "full_softmax"

    def _build(self) -> SequenceNetwork:
        vectors = self._task.vectors
        dimension = 0 if vectors is None else vectors.shape[1]
        network = blank(self._task.make, Shape(dimension, self._task.n_event_types, self._settings.width))
        sample = None
        if vectors is not None:
            rows = np.arange(len(vectors))
            if len(rows) > _PRINCIPAL_SAMPLE:
                rows = np.sort(self._random.choice(rows, _PRINCIPAL_SAMPLE, replace=False))
            sample = np.asarray(vectors[rows], dtype=np.float32)
        network.initialise(sample, self._start)
        return network.to(self._device)

    def _table(self, steps: int) -> IdTable | DenseIdTable:
        """The table of id vectors that there is room for."""
        size, decay = (self._n_ids, self._settings.width), self._params.weight_decay
        if math.prod(size) <= DENSE_UP_TO:
            return DenseIdTable(*size, decay, self._start, self._device)
        return IdTable(*size, steps, decay, self._start, self._device)

    def _optimise(
        self, learner: Learner, windows: TrainingWindows, epochs: int, span: int, held_out: HeldOut | None
    ) -> tuple[SequenceNetwork, torch.Tensor, dict[str, Any]]:
        """Train for ``epochs`` of the ``span`` epochs over which the learning rate falls to nothing.

        Returns:
            The averaged network and id vectors, and facts.
        """
        kept, course = Kept.of(learner, 0), Course()
        begin = 1
        if self._worker.checkpoint is not None:
            last, saved = self._worker.checkpoint
            learner.restore(saved)
            kept, course, begin = Kept.restored(learner, saved), Course.restored(saved), last + 1
        for epoch in range(begin, epochs + 1):
            if held_out is not None and epoch - 1 - kept.epoch >= self._params.patience:
                break
            course.losses.append(self._epoch(learner, windows, epoch))
            score = math.nan
            if held_out is not None:
                score = self._validated(learner, held_out)
                course.scores.append(score)
            if held_out is None or score >= AS_GOOD * max(course.scores):
                kept = Kept.of(learner, epoch)
            state = {**learner.state(), **kept.state(), **course.state()} if self._worker.rank == 0 else None
            self._worker.report(epoch, score, state)
        facts: dict[str, Any] = {"epochs": kept.epoch, "schedule": span, "losses": course.losses}
        if held_out is not None:
            facts |= {"validation_events": len(held_out), "validation_ndcg@10": course.scores}
        learner.average.load_state_dict(kept.network)
        return learner.average, kept.ids, facts

    def _epoch(self, learner: Learner, windows: TrainingWindows, epoch: int) -> float:
        """Learn from all windows once; the mean loss."""
        # Everything random depends on the epoch alone, so that a fit can be taken up again after any.
        self._random = np.random.default_rng([self._task.seed, epoch])
        own = np.random.default_rng([self._task.seed, epoch, self._worker.rank])
        self._masks.manual_seed(int(own.integers(2**62)))
        losses = [
            self._step(learner, batch)
            for batch in windows.epoch(self._random, self._params.batch_events)
            if batch.learn.any()
        ]
        return round(sum(losses) / len(losses), 6)

    def _validated(self, learner: Learner, held_out: HeldOut) -> float:
        matrix = self._matrix(learner.average, learner.table.average())
        score = validate(learner.average, matrix, held_out, self._settings.window, self._n_items)
        return round(self._exchange.agreed(score, self._device), 6)

    def _step(self, learner: Learner, batch: Batch) -> float:
        """Learn from a batch: this process from its windows, by the negatives of the whole batch."""
        pool = self._sampler.pool(batch.targets[batch.learn], self._random)
        rows = _rows(batch, pool)
        hidden = self._random.random(len(rows)) < self._params.id_dropout
        part = batch.part(self._worker.rank, self._worker.world)
        # Each distinct item is projected once, whatever its part in the batch.
        own = _rows(part, pool)
        slots = np.where(hidden[np.searchsorted(rows, own)], -1, self._slots[own])
        known = slots >= 0
        read = self._tensor(slots[known])
        ids = learner.table.read(read)
        if part.learn.any():
            places = np.where(known, np.cumsum(known) - 1, -1)
            share = float(part.learn.sum() / batch.learn.sum())
            with mixed_precision(self._device):
                vectors = learner.network.items(self._text(own), self._tensor(places), ids)
                loss = share * self._loss(learner.network, part, pool, own, vectors)
        else:
            loss = 0.0 * ids.sum()
        return learner.step(loss, read, ids)

    def _loss(
        self, network: SequenceNetwork, batch: Batch, pool: Pool, rows: Int64Array, vectors: torch.Tensor
    ) -> torch.Tensor:
        """Mean loss over the targets of some windows.

        Args:
            network: Reads the windows.
            batch: The windows.
            pool: Negatives.
            rows: int64, shape (M,); items of the windows and of the pool.
            vectors: float, shape (M, width); their vectors.
        """
        inputs, targets = batch.inputs, batch.targets[batch.learn]
        self._place[rows] = np.arange(len(rows))

        def pick(items: Int64Array) -> torch.Tensor:
            places = self._place[np.where(items >= 0, items, rows[0])]
            return functional.embedding(self._tensor(places), vectors)

        states = network.encode_padded(pick(inputs.items), inputs, self._dropout)
        states = functional.embedding(
            self._tensor(np.flatnonzero(batch.learn)), states.reshape(-1, states.shape[-1])
        )
        positive = (states * pick(targets)).sum(dim=1)
        # The largest tensor by far: corrected as it is made, and masked in place.
        correction = -self._tensor(pool.log_expected) * (not self._settings.bce)
        negative = torch.addmm(correction, states, pick(pool.items).T)
        self._mask_targets(negative, targets, pool.items)
        return bce_loss(positive, negative) if self._settings.bce else softmax_loss(positive, negative)

    def _mask_targets(self, negative: torch.Tensor, targets: Int64Array, pool: Int64Array) -> None:
        """Take each position's own target out of its negatives (accidental hits)."""
        self._pooled[pool] = np.arange(len(pool))
        column = self._pooled[targets]
        self._pooled[pool] = -1
        hits = np.flatnonzero(column >= 0)
        where = (self._tensor(hits), self._tensor(column[hits]))
        negative.index_put_(where, negative.new_tensor(MASKED))

    def _text(self, rows: Int64Array) -> torch.Tensor | None:
        vectors = self._task.vectors
        return None if vectors is None else self._tensor(np.asarray(vectors[rows], dtype=np.float32))

    @torch.no_grad()
    def _matrix(self, network: SequenceNetwork, ids: torch.Tensor) -> torch.Tensor:
        """Item vectors of the whole catalogue, then those of what users wrote, shape (rows, width)."""
        blocks = np.split(np.arange(len(self._slots)), range(_BLOCK, len(self._slots), _BLOCK))
        return torch.cat(
            [network.items(self._text(rows), self._tensor(self._slots[rows]), ids) for rows in blocks]
        )

    def _tensor(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)


def _rows(batch: Batch, pool: Pool) -> Int64Array:
    """Distinct items of some windows and of a pool, ascending."""
    rows = np.unique(np.concatenate([batch.inputs.items.ravel(), batch.targets[batch.learn], pool.items]))
    return rows[rows >= 0]
