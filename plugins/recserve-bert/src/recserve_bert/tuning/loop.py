"""Two-tower training of a text encoder: sampled softmax of next items against the user's recent items.

Both towers are the encoder: a user is the decayed mean of the vectors of recently liked items, and the
vector of what comes next shall be nearer to it than those of other items. A step computes gradients through
as many texts as its token budget allows; older events of a user enter with the vector of their last encoding
(a memory bank), which keeps a step affordable on a CPU.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from recserve_torch import TextTower
from torch.nn import functional

from recserve import (
    Dataset,
    FitContext,
    FloatArray,
    Histories,
    Int32Array,
    Int64Array,
    Validation,
    mean_ndcg,
)
from recserve_bert.tuning.examples import Examples, Recent
from recserve_bert.tuning.parameters import TuningParams

NEGATIVES = 64
NEGATIVES_OF_HEAD = 512
FEWEST_EXAMPLES = 20
_WARM_UP = 0.1
_WEIGHT_DECAY = 0.01
_CLIP_NORM = 1.0
_VALIDATED_USERS = 500
_VALIDATED_ITEMS = 1024
_MASKED = -1e4


class Tower(TextTower, Protocol):
    """The trained encoder, seen as vectors of catalogue rows."""

    def tokens(self, rows: Int32Array) -> Int64Array:
        """What encoding each row costs, in tokens."""
        ...


@dataclass(frozen=True)
class _Epoch:
    number: int
    score: float
    state: list[torch.Tensor]


class TwoTowerTraining:
    """One training of an encoder.

    Args:
        tower: The encoder; its parameters are changed in place.
        table: float32, shape (n_items, d); vectors of the catalogue before training. It is changed.
        params: What the user asked for.
        context: Seed, progress and previous facts.
        device: Where the tower computes.
    """

    def __init__(
        self,
        tower: Tower,
        table: FloatArray,
        params: TuningParams,
        context: FitContext,
        device: torch.device,
    ) -> None:
        self._tower = tower
        self._table = table
        self._params = params
        self._context = context
        self._device = device
        self._random = np.random.default_rng(context.seed)
        default = NEGATIVES_OF_HEAD if params.tune == "head" else NEGATIVES
        self._negatives = default if params.negatives is None else params.negatives
        self._losses: list[float] = []

    def run(self, data: Dataset) -> dict[str, Any]:
        """Train, and leave the tower as it was after its best epoch.

        Returns:
            Facts: ``epochs``, ``loss`` of the last epoch, and ``validation`` (nDCG@20 of the frozen
            encoder and after each epoch) where there was one.
        """
        params, previous = self._params, self._context.previous
        validation = None
        if previous is None:
            validation = Validation.of(data, self._context.seed, _VALIDATED_USERS)
        training = data.positive() if validation is None else validation.training
        examples = Examples(training, params.history, params.history_half_life)
        if len(examples) < FEWEST_EXAMPLES:
            return {"epochs": 0, "examples": len(examples)}
        epochs = params.epochs if previous is None else int(previous["epochs"])
        if validation is None:
            for _ in self._epochs(examples, epochs):
                pass
            return {"epochs": epochs, "examples": len(examples), "loss": self._loss()}
        scores = [self._score(validation)]
        best = _Epoch(0, scores[0], self._state())
        for epoch in self._epochs(examples, epochs):
            scores.append(self._score(validation))
            self._context.validated(epoch, scores[-1])
            if scores[-1] > best.score:
                best = _Epoch(epoch, scores[-1], self._state())
            elif epoch - best.number >= params.patience:
                break
        self._restore(best.state)
        return {
            "epochs": best.number,
            "examples": len(examples),
            "loss": self._loss(),
            "validation": [round(score, 6) for score in scores],
        }

    def _loss(self) -> float | None:
        losses = self._losses[-self._params.epoch_steps :]
        return round(float(np.mean(losses)), 5) if losses else None

    def _state(self) -> list[torch.Tensor]:
        return [copy.deepcopy(parameter.detach()) for parameter in self._tower.parameters()]

    def _restore(self, state: list[torch.Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self._tower.parameters(), state, strict=True):
                parameter.copy_(value)

    def _epochs(self, examples: Examples, epochs: int) -> Iterator[int]:
        """Train, pausing after each epoch."""
        steps = self._params.epoch_steps
        parameters = self._tower.parameters()
        optimiser = torch.optim.AdamW(parameters, lr=self._tower.learning_rate, weight_decay=_WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _Schedule(self._params.epochs * steps))
        order = _Order(len(examples), self._random)
        for epoch in range(1, epochs + 1):
            for step in range(steps):
                done = (epoch - 1) * steps + step
                self._context.progress("two towers", done, epochs * steps)
                optimiser.zero_grad(set_to_none=True)
                loss = self._step(examples, order)
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(parameters, _CLIP_NORM)
                optimiser.step()
                schedule.step()
                self._losses.append(float(loss.detach()))
            yield epoch

    def _step(self, examples: Examples, order: _Order) -> torch.Tensor:
        """Sampled softmax of the next items of some examples."""
        params = self._params
        chosen = self._chosen(examples, order)
        recent = examples.recent(chosen)
        targets = examples.targets[chosen]
        hard = examples.proposals(chosen, params.hard_negatives, self._random).ravel()
        drawn = self._random.integers(0, len(self._table), self._negatives).astype(np.int32)
        wanted = np.concatenate([targets, hard, drawn, recent.rows.T.ravel()])
        fresh = self._tower.affordable(wanted[wanted >= 0])
        # Only items with gradients compete: others could not push back, and all vectors would drift.
        pool = np.intersect1d(np.concatenate([targets, hard, drawn]), fresh)
        lookup = self._lookup(fresh, recent.rows[recent.rows >= 0])

        users = torch.einsum("bl,bld->bd", self._tensor(recent.shares), lookup(np.maximum(recent.rows, 0)))
        users = functional.normalize(users, dim=1)
        logits = users @ lookup(pool).T / params.temperature
        # How often a step draws each item: what is drawn twice as often must not count twice.
        uniform = np.isin(drawn, pool).sum() / len(self._table)
        expected = len(chosen) * examples.shares[pool] + uniform
        logits = logits - params.popularity * self._tensor(np.log(np.maximum(expected, 1e-9)))
        places = np.searchsorted(pool, targets)
        liked = examples.likes(chosen, pool)
        liked[np.arange(len(chosen)), places] = False
        logits = logits.masked_fill(torch.from_numpy(liked).to(self._device), _MASKED)
        return functional.cross_entropy(logits, torch.from_numpy(places).to(self._device))

    def _chosen(self, examples: Examples, order: _Order) -> Int64Array:
        """The next examples, as many as the token budget allows, at least two."""
        chosen = order.take(self._params.batch_examples)
        cost = np.cumsum(self._tower.tokens(examples.targets[chosen]))
        kept = max(int(np.searchsorted(cost, self._params.step_tokens, side="right")), 2)
        order.give_back(chosen[kept:])
        return chosen[:kept]

    def _lookup(self, fresh: Int32Array, rows: Int32Array) -> _Lookup:
        """Vectors of rows: with gradients where they are fresh, as last encoded elsewhere."""
        encoded = self._tower.forward(fresh)
        self._table[fresh] = encoded.detach().float().cpu().numpy()
        known = np.unique(np.concatenate([fresh, rows]))
        place = np.full(len(self._table), -1, dtype=np.int64)
        place[known] = np.arange(len(known))
        base = self._tensor(self._table[known])
        index = torch.from_numpy(place[fresh]).to(self._device)
        return _Lookup(base.index_copy(0, index, encoded), place)

    def _score(self, validation: Validation) -> float:
        """Validation nDCG@20 of the two towers, on a part of the catalogue."""
        rows, targets = _validated_part(validation, self._context.seed)
        recent = Recent.last(validation.histories, self._params.history, self._params.history_half_life)
        needed = np.unique(np.concatenate([rows, recent.rows[recent.rows >= 0]]))
        self._table[needed] = self._tower.vectors(needed)
        items, users = self._table[rows], recent.vectors(self._table)

        def score(tested: Int64Array) -> FloatArray:
            scores = np.full((len(tested), len(self._table)), -np.inf, dtype=np.float32)
            scores[:, rows] = users[tested] @ items.T
            return scores

        n_items = len(self._table)
        return mean_ndcg(score, validation.histories, targets, n_items, self._context.threads)

    def _tensor(self, values: FloatArray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(self._device)


class _Lookup:
    """Vectors of catalogue rows within one step."""

    def __init__(self, vectors: torch.Tensor, place: Int64Array) -> None:
        self._vectors = vectors
        self._place = place

    def __call__(self, rows: Int32Array) -> torch.Tensor:
        index = torch.from_numpy(self._place[rows]).to(self._vectors.device)
        return functional.embedding(index.clamp(min=0), self._vectors)


class _Schedule:
    """Learning rate over the steps: a linear warm-up, then linear to zero."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._warm = max(1, math.ceil(_WARM_UP * steps))

    def __call__(self, step: int) -> float:
        if step < self._warm:
            return (step + 1) / self._warm
        return max(self._steps - step, 0) / max(self._steps - self._warm, 1)


class _Order:
    """Endless random order of examples: each once before any twice."""

    def __init__(self, count: int, random: np.random.Generator) -> None:
        self._count = count
        self._random = random
        self._left = np.empty(0, dtype=np.int64)

    def take(self, wanted: int) -> Int64Array:
        """The next examples; fewer only where there are fewer in all."""
        wanted = min(wanted, self._count)
        if len(self._left) < wanted:
            self._left = self._random.permutation(self._count)
        taken, self._left = self._left[:wanted], self._left[wanted:]
        return taken

    def give_back(self, examples: Int64Array) -> None:
        """Have some that were taken come next."""
        self._left = np.concatenate([examples, self._left])


def _validated_part(validation: Validation, seed: int) -> tuple[Int32Array, Histories]:
    """Items that are ranked, and the held-out events among them.

    Encoding a large catalogue after each epoch would take longer than the epoch. Half of the items are drawn
    from those that are to be found.
    """
    n_items, targets = validation.training.n_items, validation.targets
    if n_items <= _VALIDATED_ITEMS:
        return np.arange(n_items, dtype=np.int32), targets
    random = np.random.default_rng(seed)
    wanted = random.permutation(np.unique(targets.items))[: _VALIDATED_ITEMS // 2]
    drawn = random.choice(n_items, _VALIDATED_ITEMS - len(wanted), replace=False)
    rows = np.union1d(wanted, drawn).astype(np.int32)
    return rows, targets.where(np.isin(targets.items, rows))
