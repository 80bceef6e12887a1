"""Fits the network: shared negatives for a batch, early stopping, averaged weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from recserve import Catalogue, Dataset, FitContext, Histories
from recserve_bert_lstm.losses import NegativeSampler, bce_loss, softmax_loss
from recserve_bert_lstm.network import Dropout, Network, choose_device, deterministic
from recserve_bert_lstm.windows import Batch, Events, IntArray, Padded, TrainingWindows
import os
SEEN = False
LOG = os.environ.get('LSTM_LOG')

@dataclass(frozen=True)
class Settings:
    """Parameters with every automatic choice made."""

    text: bool
    width: int
    window: int
    dropout: float
    id_dropout: float
    min_id_count: int
    loss: str
    negatives: int
    in_batch: int
    epochs: int
    patience: int
    learning_rate: float
    weight_decay: float
    batch_events: int
    clip: float = 5.0
    ema: float = 0.98
    validation_targets: int = 2000


class Trainer:
    def __init__(self, data: Dataset, settings: Settings, context: FitContext) -> None:
        self._data = data
        self._settings = settings
        self._context = context
        self._device = choose_device(context.device)
        self._random = np.random.default_rng(context.seed)
        self._generator = torch.Generator(self._device).manual_seed(context.seed)
        self._vectors = data.catalogue.vectors if settings.text else None
        counts = data.item_counts
        learnt = counts >= max(settings.min_id_count, 1)
        self._slots = np.where(learnt, np.cumsum(learnt) - 1, -1)
        self.network = self._build(int(learnt.sum()), context)
        self._dropout = Dropout(settings.dropout, self._generator)

    def _build(self, n_ids: int, context: FitContext) -> Network:
        s = self._settings
        d = 0 if self._vectors is None else self._vectors.shape[1]
        with torch.random.fork_rng(devices=[]):
            network = Network(n_ids, d, len(self._data.event_types), s.width)
        sample = None
        if self._vectors is not None:
            rows = np.arange(len(self._vectors))
            if len(rows) > 20000:
                rows = np.sort(self._random.choice(len(rows), 20000, replace=False))
            sample = np.asarray(self._vectors[rows])
        network.initialise(sample, torch.Generator().manual_seed(context.seed))
        return network.to(self._device)

    def _items(self, network, rows: IntArray, drop: bool = False) -> torch.Tensor:
        slots = self._slots[rows]
        if drop and self._settings.id_dropout > 0:
            slots = np.where(self._random.random(len(rows)) < self._settings.id_dropout, -1, slots)
        text = None
        if self._vectors is not None:
            text = torch.from_numpy(np.ascontiguousarray(self._vectors[rows])).to(self._device)
        return network.items(text, torch.from_numpy(slots).to(self._device))

    def item_matrix(self, network) -> torch.Tensor:
        n = self._data.n_items
        with torch.no_grad():
            return torch.cat([self._items(network, np.arange(s, min(s + 65536, n))) for s in range(0, n, 65536)])

    def _loss(self, batch: Batch, sampler: NegativeSampler) -> torch.Tensor:
        inputs = batch.inputs
        targets = batch.targets[batch.learn]
        pool = sampler.pool(targets, self._random)
        rows = np.unique(np.concatenate([inputs.items.ravel(), targets, pool.items]))
        rows = rows[rows >= 0]
        place = self._place
        place[rows] = np.arange(len(rows))
        vectors = self._items(self.network, rows, drop=True)
        device = self._device
        index = lambda a: torch.from_numpy(place[np.maximum(a, rows[0])]).to(device)
        x = torch.nn.functional.embedding(index(inputs.items), vectors)
        states = self.network.encode_padded(x, inputs, self._dropout)
        states = states[torch.from_numpy(batch.learn).to(device)]
        wanted = torch.nn.functional.embedding(index(targets), vectors)
        offered = torch.nn.functional.embedding(index(pool.items), vectors)
        from recserve_bert_lstm.network import KNOBS
        if KNOBS['cosine']:
            F=torch.nn.functional
            states=F.normalize(states,dim=1)/KNOBS['tau']; wanted=F.normalize(wanted,dim=1); offered=F.normalize(offered,dim=1)
        positive = (states * wanted).sum(1)
        negative = states @ offered.T
        inpool = self._inpool
        inpool[pool.items] = np.arange(len(pool.items))
        hit = inpool[targets]
        who = np.flatnonzero(hit >= 0)
        negative = negative.index_put((torch.from_numpy(who).to(device), torch.from_numpy(hit[who]).to(device)), torch.tensor(float('-inf'), device=device))
        if SEEN:
            w, l = np.nonzero(inputs.items >= 0)
            c = inpool[inputs.items[w, l]]
            ok = c >= 0
            m = np.zeros((len(inputs.items), len(pool.items)), bool)
            m[w[ok], c[ok]] = True
            owner = np.nonzero(batch.learn)[0]
            negative = negative.masked_fill(torch.from_numpy(m[owner]), float('-inf'))
        inpool[pool.items] = -1
        if self._settings.loss == "bce":
            return bce_loss(positive, negative)
        return softmax_loss(positive, negative, torch.from_numpy(pool.log_expected).to(device))

    def run(self, epochs: int, windows: TrainingWindows, counts, validate: Callable | None):
        s = self._settings
        self._place = np.zeros(self._data.n_items, np.int64)
        self._inpool = np.full(self._data.n_items, -1, np.int64)
        n = s.negatives if s.loss != "full_softmax" else 0
        sampler = NegativeSampler(counts, n, s.in_batch if n else 0)
        params = list(self.network.parameters())
        optimiser = torch.optim.AdamW(params, lr=s.learning_rate, weight_decay=s.weight_decay, fused=True)
        average = copy.deepcopy(self.network)
        steps = 0
        best, best_score, best_epoch, log = None, -1.0, 0, []
        import time
        t0=time.time()
        for epoch in range(1, epochs + 1):
            total = 0.0; nb = 0
            for batch in windows.epoch(self._random, s.batch_events):
                if not batch.learn.any():
                    continue
                loss = self._loss(batch, sampler)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(params, s.clip)
                optimiser.step()
                steps += 1
                decay = min(s.ema, (1 + steps) / (10 + steps))
                with torch.no_grad():
                    torch._foreach_lerp_(list(average.parameters()), [p.detach() for p in params], 1 - decay)
                total += float(loss.detach()); nb += 1
            score = validate(average) if validate else float(epoch)
            raw = validate(self.network) if validate and LOG else 0
            log.append((total / max(nb,1), score))
            if LOG: print(epoch, round(total/max(nb,1),4), 'val', round(score, 5), round(raw,5), 'steps', steps, 't', round(time.time()-t0,1), flush=True)
            if score > best_score:
                best_score, best_epoch, best = score, epoch, copy.deepcopy(average.state_dict())
            elif epoch - best_epoch >= s.patience:
                break
        average.load_state_dict(best)
        return average, best_epoch, log


def hold_out(histories: Histories, targets: int, random) -> tuple[Histories, Histories, IntArray]:
    """last positives of a sample of users: (training histories, query histories, target rows)."""
    liked = histories.weights > 0
    starts, ends = histories.offsets[:-1], histories.offsets[1:]
    owners = histories.owners()
    # rank of each positive from the end of its user
    cum = np.cumsum(liked)
    total_to_end = np.concatenate([[0], cum])[ends]
    from_end = total_to_end[owners] - cum  # 0 for the last positive
    count = total_to_end - np.concatenate([[0], cum])[starts]
    able = np.flatnonzero(count >= 3)
    per = 1 if len(able) == 0 else min(max(targets // len(able), 1), 3)
    able2 = np.flatnonzero(count >= 2 * per + 1) if per > 1 else able
    chosen = np.zeros(len(histories), bool)
    if len(able2) > targets:
        able2 = np.sort(random.choice(able2, targets, replace=False))
    chosen[able2] = True
    held = liked & (from_end < per) & chosen[owners]
    where = np.flatnonzero(held)
    first = ends.copy()
    np.minimum.at(first, owners[where], where)
    keep = np.arange(len(liked)) < first[owners]
    train = histories.where(keep)
    # queries
    lengths = where - starts[owners[where]]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    index = np.arange(offsets[-1]) + np.repeat(starts[owners[where]] - offsets[:-1], lengths)
    q = Histories(offsets, histories.items[index], histories.events[index], histories.weights[index], histories.timestamps[index])
    return train, q, histories.items[where].astype(np.int64)
