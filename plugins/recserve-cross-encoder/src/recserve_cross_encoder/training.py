"""Training of a cross-encoder: the next liked item against what else would have been proposed.

An example is a liked item with what its user had liked before. It is read in a group with items that people
with a similar history like and this user has not met, and the softmax over the group's scores shall find it:
localized contrastive estimation (Gao, Dai and Callan 2021, "Rethink Training of BERT Rerankers").
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from recserve_bert.tuning.examples import Examples
from recserve_bert.tuning.weights import TrainedPart, in_output, make_trainable
from torch.nn import functional

from recserve import Dataset, FitContext, FloatArray, Int32Array, Int64Array
from recserve_cross_encoder.pairs import Pair, PairTexts
from recserve_cross_encoder.parameters import CrossEncoderParams

FEWEST_EXAMPLES = 20
_WARM_UP = 0.1
_WEIGHT_DECAY = 0.01
_CLIP_NORM = 1.0
_MASKED = -1e4
_BLOCK = 256
_FRESH = 10.0
"""Rate of an output that was drawn anew, over that of the layers."""


class PairExamples:
    """Groups of pairs: what somebody liked next, and items that he has not met.

    Args:
        data: Events to learn from.
        texts: Makes pairs of them.
        params: How many, and how negatives are drawn.
        seed: Of what is drawn.
    """

    def __init__(self, data: Dataset, texts: PairTexts, params: CrossEncoderParams, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._examples = Examples(data.positive(), params.history, 1.0)
        self._texts, self._params = texts, params
        # Not more than half of a small catalogue: users have met some of the rest.
        self._among = min(params.negatives_among, max(1, data.n_items // 2))
        described = np.diff(texts.items.offsets) > 0
        drawn = self._random.permutation(np.flatnonzero(described[self._examples.targets]))
        self._chosen = self._comparable(drawn)

    def _comparable(self, drawn: Int64Array) -> Int64Array:
        """The first examples whose liked item would have been proposed as well as what it is compared with.

        A list holds what was proposed; against that, items that nothing would have proposed would teach that
        what is unlike the history is liked.
        """
        found: list[Int64Array] = []
        for start in range(0, len(drawn), _BLOCK):
            block = drawn[start : start + _BLOCK]
            found.append(block[self._examples.places(block) < self._among])
            if sum(map(len, found)) >= self._params.examples:
                break
        return np.concatenate(found)[: self._params.examples] if found else drawn

    def __len__(self) -> int:
        return len(self._chosen)

    def epoch(self) -> Iterator[list[list[Pair | None]]]:
        """Batches of groups; a group's first pair is the liked item. Negatives are drawn anew each time."""
        order = self._random.permutation(self._chosen)
        for start in range(0, len(order), self._params.batch_examples):
            yield self.groups(order[start : start + self._params.batch_examples])

    def groups(self, chosen: Int64Array) -> list[list[Pair | None]]:
        """The groups of some examples."""
        recent = self._examples.recent(chosen)
        wrong = self._examples.proposals(chosen, self._params.negatives, self._random, self._among)
        items: Int32Array = np.concatenate([self._examples.targets[chosen][:, None], wrong], axis=1)
        return [self._texts.pairs(liked, group) for liked, group in zip(recent.rows, items, strict=True)]

    def sample(self, count: int) -> list[Pair]:
        """Some pairs, for calibration and comparisons; the same whenever it is called first."""
        groups = self.groups(self._chosen[: max(1, count // (1 + self._params.negatives))])
        return [pair for group in groups for pair in group if pair is not None][:count]


def train(
    model: Any,
    examples: PairExamples,
    texts: PairTexts,
    params: CrossEncoderParams,
    context: FitContext,
    device: torch.device,
    *,
    fresh: bool,
) -> dict[str, Any]:
    """Train a part of a sequence classifier in place; torch's own generator is drawn from.

    Args:
        model: Of transformers, with one output, in float32.
        examples: Groups of pairs.
        texts: Pads them.
        params: Rate and epochs.
        context: Told of the progress.
        device: Where to compute.
        fresh: Whether the output was drawn anew.

    Returns:
        Facts: ``examples``, ``steps``, and the mean ``loss`` over the first and the last tenth of the steps.
    """
    chosen = TrainedPart("full") if params.tune_layers is None else TrainedPart("last_n", params.tune_layers)
    make_trainable(model, chosen)
    layers: list[torch.nn.Parameter] = []
    output: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if in_output(name, model):
            output.append(parameter.requires_grad_(True))
        elif parameter.requires_grad:
            layers.append(parameter)
    parameters = [*layers, *output]
    steps = params.epochs * math.ceil(len(examples) / params.batch_examples)
    rates = params.learning_rate, params.learning_rate * (_FRESH if fresh else 1)
    groups = [{"params": part, "lr": rate} for part, rate in zip((layers, output), rates, strict=True)]
    optimiser = torch.optim.AdamW(groups, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps))
    model.to(device).train()
    losses: list[float] = []
    for _ in range(params.epochs):
        for batch in examples.epoch():
            optimiser.zero_grad(set_to_none=True)
            loss = _loss(model, texts, batch, device)
            if loss is not None:
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(parameters, _CLIP_NORM)
                optimiser.step()
                losses.append(float(loss.detach()))
            schedule.step()
            context.progress(f"pairs, loss {_mean(losses[-20:]):.3f}", len(losses), steps)
    model.eval()
    tenth = max(1, len(losses) // 10)
    return {
        "examples": len(examples),
        "steps": len(losses),
        "loss": [round(_mean(losses[:tenth]), 5), round(_mean(losses[-tenth:]), 5)],
    }


def _loss(
    model: Any, texts: PairTexts, groups: list[list[Pair | None]], device: torch.device
) -> torch.Tensor | None:
    """Softmax over each group; None where no group has two pairs."""
    readable = [group for group in groups if group[0] is not None and any(group[1:])]
    if not readable:
        return None
    flat = [pair for group in readable for pair in group if pair is not None]
    feed = {name: torch.from_numpy(value).to(device) for name, value in texts.feed(flat).items()}
    scores = model(**feed).logits[:, 0].float()
    present = torch.tensor([[pair is not None for pair in group] for group in readable], device=device)
    logits = torch.full(present.shape, _MASKED, device=device).masked_scatter(present, scores)
    return functional.cross_entropy(logits, torch.zeros(len(readable), dtype=torch.long, device=device))


def _rate(step: int, steps: int) -> float:
    """Share of the highest rate: a linear warm-up, then linear to zero."""
    warm = max(1, math.ceil(_WARM_UP * steps))
    return (step + 1) / warm if step < warm else max(steps - step, 0) / max(steps - warm, 1)


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def correlation(first: FloatArray, second: FloatArray) -> float:
    """Pearson's correlation of two series; 1 where neither varies, 0 where one does."""
    deviations = float(first.std()), float(second.std())
    if min(deviations) < 1e-9:
        return 1.0 if max(deviations) < 1e-6 else 0.0
    return float(np.corrcoef(first, second)[0, 1])
