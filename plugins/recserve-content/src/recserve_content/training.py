"""Fitting the retriever ``content``: deterministic and in closed form, apart from one choice.

How much the interests count beside the affinity is chosen on the newest events of the training data,
by nDCG@10 of a full ranking; then everything is learnt again from all events.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recserve import Dataset, FitContext, Histories, Queries, map_in_threads, ndcg
from recserve_content.model import Model
from recserve_content.parameters import ContentParams
from recserve_content.scoring import ProfileScorer
from recserve_content.space import Examples, TextSpace, learn_affinity, popularity_prior

_HELD_OUT = 0.1
_FEW_EXAMPLES = 100
_BLENDS = (0.0, 1.0, 2.0, 3.0, 5.0, 8.0)
_DEFAULT_BLEND = 3.0
_CUTOFF = 10
_BATCH = 64
_PART = 16_384


def fit_model(
    retriever: ProfileScorer, params: ContentParams, data: Dataset, context: FitContext
) -> tuple[Model, dict[str, Any]]:
    """Learn a model and say what was found.

    Args:
        retriever: Makes the profiles, so that validation sees what serving does.
        params: Parameters.
        data: Training events over a catalogue with vectors.
        context: ``prior`` of an earlier fit spares the validation.

    Returns:
        The model and JSON-like facts: ``blend``, ``affinity_weight``, ``examples`` and, where
        validated, ``validation`` (nDCG@10 of each choice).
    """
    vectors = data.catalogue.vectors
    if vectors is None:
        raise ValueError("the retriever 'content' needs a catalogue with vectors")
    context.progress("content: text space", 0, 3)
    space = TextSpace.learn(vectors, params.dimensions)
    projected = space.project_all(vectors)
    context.progress("content: validation", 1, 3)
    facts = _choose(retriever, params, data, context, space, projected)
    context.progress("content: affinity", 2, 3)
    examples = Examples.of(data, 0, params.max_examples)
    model = _learn(params, data, examples, space, projected, facts["affinity_weight"], facts["blend"])
    facts["examples"] = len(examples)
    context.progress("content: done", 3, 3)
    return model, facts


def _choose(
    retriever: ProfileScorer,
    params: ContentParams,
    data: Dataset,
    context: FitContext,
    space: TextSpace,
    projected: NDArray[np.float32],
) -> dict[str, Any]:
    """Blend and affinity weight: from the earlier fit, the parameters, or held-out events."""
    if context.previous is not None and {"blend", "affinity_weight"} <= set(context.previous):
        return {name: context.previous[name] for name in ("blend", "affinity_weight")}
    default = _DEFAULT_BLEND if params.blend is None else params.blend
    cut = data.quantile_time(1 - _HELD_OUT) if len(data) else 0
    early = Examples.of(data.before(cut), 0, params.max_examples)
    held_out = Examples.of(data, cut, params.max_examples)
    if len(early) < _FEW_EXAMPLES or len(held_out) < _FEW_EXAMPLES:
        return {"blend": default, "affinity_weight": float(len(early) >= _FEW_EXAMPLES)}
    if params.blend is not None:
        return {"blend": params.blend, "affinity_weight": 1.0}
    model = _learn(params, data.before(cut), early, space, projected, 1.0, 1.0)
    choices = [(1.0, blend) for blend in _BLENDS] + [(0.0, 1.0)]
    quality = _validate(retriever, model, _sample(held_out, len(projected)), choices, context.threads)
    best = int(np.argmax(quality))
    return {
        "affinity_weight": choices[best][0],
        "blend": choices[best][1],
        "validation": [
            {"affinity_weight": weight, "blend": blend, "ndcg@10": round(float(value), 6)}
            for (weight, blend), value in zip(choices, quality, strict=True)
        ],
    }


def _learn(
    params: ContentParams,
    data: Dataset,
    examples: Examples,
    space: TextSpace,
    projected: NDArray[np.float32],
    affinity_weight: float,
    blend: float,
) -> Model:
    prior = popularity_prior(data, projected, params.prior_half_life_days, params.prior_text)
    affinity = None
    if len(examples) >= _FEW_EXAMPLES and affinity_weight > 0:
        features = np.concatenate([projected, prior[:, None]], axis=1)
        affinity = learn_affinity(
            _batches(params, examples, features), features, params.ridge, params.item_ridge
        )
    return Model.of(space, projected, prior, affinity, affinity_weight, blend)


def _batches(
    params: ContentParams, examples: Examples, features: NDArray[np.float32]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int32]]]:
    """Profiles and targets, a part at a time: memory stays bounded for any number of events."""
    for start in range(0, len(examples), _PART):
        part = examples.take(np.arange(start, min(start + _PART, len(examples))))
        averages = [
            part.averages(
                features,
                half_life,
                recent=params.recent,
                weight_power=params.weight_power,
                half_life_days=params.half_life_days,
            )
            for half_life in params.half_lives
        ]
        yield np.concatenate(averages, axis=1), part.targets


def _sample(examples: Examples, n_items: int) -> Examples:
    """Evenly spaced examples, fewer for large catalogues: validation stays a matter of seconds."""
    count = int(np.clip(2e7 / n_items, 200, 2000))
    if len(examples) <= count:
        return examples
    return examples.take(np.linspace(0, len(examples) - 1, count).astype(np.int64))


def _validate(
    retriever: ProfileScorer,
    model: Model,
    examples: Examples,
    choices: list[tuple[float, float]],
    threads: int,
) -> NDArray[np.float64]:
    """nDCG@10 of each choice, averaged over the queries of a user, then over users."""
    gains = np.zeros((len(choices), len(examples)))

    def measure(start: int) -> None:
        batch = examples.take(np.arange(start, min(start + _BATCH, len(examples))))
        affinity, interest, seen = retriever.parts(model, _queries(batch))
        targets = (np.arange(len(batch)), batch.targets)
        for index, (weight, blend) in enumerate(choices):
            scores = weight * affinity + blend * interest
            wanted = scores[targets][:, None].copy()
            scores[seen] = -np.inf
            better = (scores > wanted).sum(axis=1)
            # An item the user had before cannot be recommended again: no gain.
            hits = (better[:, None] == np.arange(_CUTOFF)) & np.isfinite(scores[targets])[:, None]
            gains[index, start : start + len(batch)] = ndcg(hits, np.ones_like(better), _CUTOFF)

    map_in_threads(measure, range(0, len(examples), _BATCH), threads)
    users = np.unique(examples.users, return_inverse=True)[1]
    queries = np.bincount(users)
    means = [np.mean(np.bincount(users, gain) / queries) for gain in gains]
    return np.array(means)


def _queries(examples: Examples) -> Queries:
    lengths = examples.ends - examples.starts
    offsets = np.zeros(len(examples) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    event = np.arange(offsets[-1]) + np.repeat(examples.starts - offsets[:-1], lengths)
    histories = Histories(
        offsets,
        examples.items[event],
        np.zeros(len(event), dtype=np.int16),
        examples.weights[event],
        examples.timestamps[event],
    )
    return Queries.of(histories, examples.times)
