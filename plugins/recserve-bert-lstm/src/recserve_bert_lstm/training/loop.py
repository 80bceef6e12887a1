"""Fits the network: one forward for each window, shared negatives, averaged weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from recserve import Dataset, FitContext, Int64Array
from recserve_bert_lstm.network import Dropout, Network, choose_device, deterministic
from recserve_bert_lstm.parameters import BertLstmParams
from recserve_bert_lstm.training.losses import MASKED, NegativeSampler, bce_loss, softmax_loss
from recserve_bert_lstm.training.settings import Settings, schedule
from recserve_bert_lstm.training.validation import HeldOut, hold_out, validate
from recserve_bert_lstm.windows import Batch, TrainingWindows, shuffle_ties

CLIP_NORM = 5.0
AVERAGING = 0.98
LEAST_RATE = 0.02
"""Share of the learning rate that is left at the end of the schedule."""
VALIDATION_EVENTS = 2000
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
        network: On the CPU, without its id vectors.
        matrix: float32, shape (n_items, width); item vectors, ids included.
        facts: JSON-like.
    """

    network: Network
    matrix: NDArray[np.float32]
    facts: dict[str, Any]


def train(data: Dataset, params: BertLstmParams, context: FitContext) -> Fitted:
    """Fit a network; see :class:`recserve.FitContext` for what ``context.previous`` decides."""
    device = choose_device(context.device)
    with deterministic(context.threads, device):
        trainer = Trainer(data, params, context, device)
        return trainer.run()


class Trainer:
    """One fit of the network.

    Args:
        data: Events and catalogue.
        params: What the user asked for.
        context: Seed, previous and progress.
        device: Where to compute.
    """

    def __init__(
        self, data: Dataset, params: BertLstmParams, context: FitContext, device: torch.device
    ) -> None:
        self._data = data
        self._params = params
        self._context = context
        self._device = device
        self._random = np.random.default_rng(context.seed)
        self._vectors = data.catalogue.vectors if params.text else None
        counts = data.item_counts
        self._settings = Settings.choose(
            params,
            int(counts.sum()),
            data.histories.lengths,
            int((counts > 0).sum()),
            context.previous,
        )
        self._slots = np.full(data.n_items, -1, dtype=np.int64)
        frequent = np.flatnonzero(counts >= params.min_id_count)
        self._slots[frequent] = np.arange(len(frequent))
        # Places of catalogue rows within the distinct rows, and within the pool, of a batch.
        self._place = np.zeros(data.n_items, dtype=np.int64)
        self._pooled = np.full(data.n_items, -1, dtype=np.int64)
        self._network = self._build(len(frequent))
        masks = torch.Generator(device).manual_seed(context.seed)
        self._dropout = Dropout(self._params.dropout, masks)

    def run(self) -> Fitted:
        """Train and return averaged weights: of the last epoch, or of one before it got worse."""
        previous, held_out = self._context.previous, None
        histories = shuffle_ties(self._data.histories, self._random)
        if previous is None:
            histories, held_out = hold_out(histories, VALIDATION_EVENTS, self._random)
        windows = TrainingWindows(histories, self._settings.window)
        span = schedule(self._params, windows.n_batches(self._params.batch_events), previous)
        epochs = span
        if previous is not None:
            epochs = int(previous["epochs"])
        elif held_out is not None and len(held_out) == 0:
            epochs, held_out = min(span, UNVALIDATED_EPOCHS), None
        network, learnt = self._network, {"epochs": 0}
        if windows.n_targets:
            network, learnt = self._optimise(windows, epochs, span, held_out)
        matrix = self._item_matrix(network).cpu().numpy()
        network.items.ids = None
        facts = {
            **learnt,
            "width": self._settings.width,
            "window": self._settings.window,
            "dropout": self._params.dropout,
            "targets": windows.n_targets,
            "items_with_id": int((self._slots >= 0).sum()),
            "loss": self._loss_name,
        }
        return Fitted(network.cpu(), matrix, facts)

    @property
    def _loss_name(self) -> str:
        if self._settings.bce:
            return "bce"
        return "sampled_softmax" if self._settings.negatives else "full_softmax"

    def _build(self, n_ids: int) -> Network:
        vectors = self._vectors
        dimension = 0 if vectors is None else vectors.shape[1]
        network = Network.blank(n_ids, dimension, len(self._data.event_types), self._settings.width)
        sample = None
        if vectors is not None:
            rows = np.arange(len(vectors))
            if len(rows) > _PRINCIPAL_SAMPLE:
                rows = np.sort(self._random.choice(rows, _PRINCIPAL_SAMPLE, replace=False))
            sample = np.asarray(vectors[rows], dtype=np.float32)
        network.initialise(sample, torch.Generator().manual_seed(self._context.seed))
        return network.to(self._device)

    def _optimise(
        self, windows: TrainingWindows, epochs: int, span: int, held_out: HeldOut | None
    ) -> tuple[Network, dict[str, Any]]:
        """Train for ``epochs`` of the ``span`` epochs over which the learning rate falls to nothing."""
        parameters = list(self._network.parameters())
        optimiser = torch.optim.AdamW(
            parameters,
            lr=self._params.learning_rate,
            weight_decay=self._params.weight_decay,
            fused=True,
        )
        falling = torch.optim.lr_scheduler.LinearLR(
            optimiser, 1.0, LEAST_RATE, span * windows.n_batches(self._params.batch_events)
        )
        sampler = NegativeSampler(self._data.item_counts, self._settings.negatives, self._settings.in_batch)
        average = copy.deepcopy(self._network)
        kept, kept_epoch, steps = average.state_dict(), 0, 0
        losses: list[float] = []
        scores: list[float] = []
        for epoch in range(1, epochs + 1):
            self._context.progress("bert_lstm: epochs", epoch - 1, epochs)
            total, batches = 0.0, 0
            for batch in windows.epoch(self._random, self._params.batch_events):
                if not batch.learn.any():
                    continue
                loss = self._loss(batch, sampler)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                torch.nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
                optimiser.step()
                falling.step()
                steps += 1
                _average(average, parameters, min(AVERAGING, steps / (9 + steps)))
                total, batches = total + float(loss.detach()), batches + 1
            losses.append(round(total / batches, 6))
            if held_out is None:
                kept_epoch = epoch
                continue
            matrix = self._item_matrix(average)
            scores.append(round(validate(average, matrix, held_out, self._settings.window), 6))
            self._context.validated(epoch, scores[-1])
            if scores[-1] >= AS_GOOD * max(scores):
                kept, kept_epoch = _copy(average), epoch
            elif epoch - kept_epoch >= self._params.patience:
                break
        self._context.progress("bert_lstm: epochs", epochs, epochs)
        facts: dict[str, Any] = {"epochs": kept_epoch, "schedule": span, "losses": losses}
        if held_out is not None:
            average.load_state_dict(kept)
            facts |= {"validation_events": len(held_out), "validation_ndcg@10": scores}
        return average, facts

    def _loss(self, batch: Batch, sampler: NegativeSampler) -> torch.Tensor:
        inputs, targets = batch.inputs, batch.targets[batch.learn]
        pool = sampler.pool(targets, self._random)
        # Each distinct item is projected once, whatever its part in the batch.
        rows = np.unique(np.concatenate([inputs.items.ravel(), targets, pool.items]))
        rows = rows[rows >= 0]
        self._place[rows] = np.arange(len(rows))
        vectors = self._item_vectors(self._network, rows, hide=self._params.id_dropout)

        def pick(items: Int64Array) -> torch.Tensor:
            places = self._place[np.where(items >= 0, items, rows[0])]
            return functional.embedding(self._tensor(places), vectors)

        states = self._network.encode_padded(pick(inputs.items), inputs, self._dropout)
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

    def _item_vectors(self, network: Network, rows: Int64Array, hide: float = 0.0) -> torch.Tensor:
        slots = self._slots[rows]
        if hide > 0:
            slots = np.where(self._random.random(len(rows)) < hide, -1, slots)
        text = None
        if self._vectors is not None:
            text = self._tensor(np.asarray(self._vectors[rows], dtype=np.float32))
        vectors: torch.Tensor = network.items(text, self._tensor(slots))
        return vectors

    @torch.no_grad()
    def _item_matrix(self, network: Network) -> torch.Tensor:
        """Item vectors of the whole catalogue, shape (n_items, width)."""
        starts = range(0, self._data.n_items, _BLOCK)
        blocks = [
            self._item_vectors(network, np.arange(start, min(start + _BLOCK, self._data.n_items)))
            for start in starts
        ]
        return torch.cat(blocks) if blocks else torch.zeros((0, network.width), device=self._device)

    def _tensor(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)


@torch.no_grad()
def _average(average: Network, parameters: list[torch.nn.Parameter], keep: float) -> None:
    """Exponential moving average of the weights: steadier validation, better generalisation."""
    for mean, parameter in zip(average.parameters(), parameters, strict=True):
        mean.lerp_(parameter, 1.0 - keep)


def _copy(network: Network) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}
