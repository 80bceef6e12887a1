"""Fitting the retriever ``content``: deterministic and in closed form, apart from two choices.

How much the interests count beside the affinity, and how much each named vector space beside texts, is
chosen on the newest events of the training data, by nDCG@10 of a full ranking; then everything is learnt
again from all events.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recserve import (
    Catalogue,
    ConfigError,
    Dataset,
    FitContext,
    Histories,
    Queries,
    flat_ranges,
    map_in_threads,
    ndcg,
    nearest,
)
from recserve_content.model import SPACES, Model
from recserve_content.parameters import ContentParams
from recserve_content.scoring import ProfileScorer
from recserve_content.space import Examples, TextSpace, learn_affinity, popularity_prior
from recserve_content.spaces import ItemSpace, NamedSpace

_HELD_OUT = 0.1
_FEW_EXAMPLES = 100
_BLENDS = (0.0, 1.0, 2.0, 3.0, 5.0, 8.0)
_DEFAULT_BLEND = 3.0
# Of a named space beside that of texts, which has 1.
_SPACE_WEIGHTS = (0.3, 1.0, 3.0, 10.0)
_DEFAULT_SPACE_WEIGHT = 1.0
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
    if data.catalogue.vectors is None:
        raise ValueError("the retriever 'content' needs a catalogue with vectors")
    context.progress("content: text space", 0, 3)
    spaces = _Spaces.learn(data.catalogue, params.dimensions)
    context.progress("content: validation", 1, 3)
    facts = _choose(retriever, params, data, context, spaces)
    context.progress("content: affinity", 2, 3)
    examples = Examples.of(data, 0, params.max_examples)
    features = spaces.joined(facts.get(SPACES, {}))
    model = _learn(params, data, examples, features, facts["affinity_weight"], facts["blend"])
    facts["examples"] = len(examples)
    context.progress("content: done", 3, 3)
    return model, facts


@dataclass(frozen=True)
class _Features:
    """Features of all items in a space, float32, shape (n_items, R)."""

    space: ItemSpace
    projected: NDArray[np.float32]


@dataclass(frozen=True)
class _Spaces:
    """The spaces of a catalogue, each decorrelated by itself.

    Attributes:
        text: The space of texts.
        texts: float32, shape (n_items, r); unit vectors in it.
        named: The other spaces and the unit vectors of all items in them, zeros where there is none; by name,
            in the order of names.
    """

    text: TextSpace
    texts: NDArray[np.float32]
    named: Mapping[str, tuple[TextSpace, NDArray[np.float32]]]

    @classmethod
    def learn(cls, catalogue: Catalogue, dimensions: int) -> _Spaces:
        vectors = catalogue.vectors
        assert vectors is not None, "checked before"
        text = TextSpace.learn(vectors, dimensions)
        named: dict[str, tuple[TextSpace, NDArray[np.float32]]] = {}
        for name, given in sorted(catalogue.spaces.items()):
            space = TextSpace.learn(given[given.any(axis=1)], dimensions)
            named[name] = space, space.project_all(given)
        return cls(text, text.project_all(vectors), named)

    def joined(self, weights: Mapping[str, float]) -> _Features:
        """Features with these weights of named spaces; those of weight 0 are left out."""
        others = tuple(
            NamedSpace(name, space, weights[name])
            for name, (space, _) in self.named.items()
            if weights.get(name, 0) > 0
        )
        space = ItemSpace(self.text, others)
        return _Features(
            space, space.joined(self.texts, {name: found for name, (_, found) in self.named.items()})
        )


def _choose(
    retriever: ProfileScorer, params: ContentParams, data: Dataset, context: FitContext, spaces: _Spaces
) -> dict[str, Any]:
    """Blend, affinity weight and weights of spaces: from an earlier fit, parameters, or held-out events."""
    named = _given_weights(params, spaces)
    if context.previous is not None and {"blend", "affinity_weight"} <= set(context.previous):
        known = {name: context.previous[name] for name in ("blend", "affinity_weight")}
        if not spaces.named:
            return known
        weights = context.previous.get(SPACES, {}) if named is None else named
        return {**known, SPACES: dict(weights)}
    default = _DEFAULT_BLEND if params.blend is None else params.blend
    cut = data.quantile_time(1 - _HELD_OUT) if len(data) else 0
    early = Examples.of(data.before(cut), 0, params.max_examples)
    held_out = Examples.of(data, cut, params.max_examples)
    if len(early) < _FEW_EXAMPLES or len(held_out) < _FEW_EXAMPLES:
        facts: dict[str, Any] = {"blend": default, "affinity_weight": float(len(early) >= _FEW_EXAMPLES)}
        if spaces.named:
            facts[SPACES] = named or dict.fromkeys(spaces.named, _DEFAULT_SPACE_WEIGHT)
        return facts
    before = data.before(cut)
    fixed = [] if params.blend is None else [(1.0, params.blend)]
    choices = fixed or [*((1.0, blend) for blend in _BLENDS), (0.0, 1.0)]

    def measure(weights: Mapping[str, float]) -> NDArray[np.float64]:
        features = spaces.joined(weights)
        model = _learn(params, before, early, features, 1.0, 1.0)
        asked = _sample(held_out, len(features.projected))
        return _validate(retriever, model, asked, choices, context.threads)

    if params.blend is not None and (named is not None or not spaces.named):
        return {"blend": params.blend, "affinity_weight": 1.0, **({SPACES: named} if spaces.named else {})}
    weights = {} if named is None else named
    quality = measure(weights)
    tried: list[dict[str, Any]] = []
    if named is None:
        # One space after the other, each beside those that were found to help: more of them cost no more
        # than a few fits each, and what is not better than without it stays out.
        for name in spaces.named:
            for weight in _SPACE_WEIGHTS:
                found = measure({**weights, name: weight})
                tried.append({"space": name, "weight": weight, "ndcg@10": round(float(found.max()), 6)})
                if found.max() > quality.max():
                    weights, quality = {**weights, name: weight}, found
    best = int(np.argmax(quality))
    facts = {
        "affinity_weight": choices[best][0],
        "blend": choices[best][1],
        "validation": [
            {"affinity_weight": weight, "blend": blend, "ndcg@10": round(float(value), 6)}
            for (weight, blend), value in zip(choices, quality, strict=True)
        ],
    }
    if spaces.named:
        facts[SPACES] = {name: weights.get(name, 0.0) for name in spaces.named}
        facts["space_validation"] = tried
    return facts


def _given_weights(params: ContentParams, spaces: _Spaces) -> dict[str, float] | None:
    """The weights that parameters give, None where they are to be chosen.

    Raises:
        ConfigError: A space that the catalogue does not have.
    """
    if params.space_weights is None:
        return None
    for name in params.space_weights:
        if name not in spaces.named:
            raise ConfigError(
                f"content: space_weights.{name}: no item has a vector in such a space"
                f"{nearest(name, spaces.named)}; declare it under vectors, or import its vectors"
            )
    return {name: params.space_weights.get(name, 0.0) for name in spaces.named}


def _learn(
    params: ContentParams,
    data: Dataset,
    examples: Examples,
    features: _Features,
    affinity_weight: float,
    blend: float,
) -> Model:
    projected = features.projected
    prior = popularity_prior(data, projected, params.prior_half_life_days, params.prior_text)
    affinity = None
    if len(examples) >= _FEW_EXAMPLES and affinity_weight > 0:
        items = np.concatenate([projected, prior[:, None]], axis=1)
        affinity = learn_affinity(_batches(params, examples, items), items, params.ridge, params.item_ridge)
    return Model.of(features.space, projected, prior, affinity, affinity_weight, blend)


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
    offsets, event = flat_ranges(examples.starts, examples.ends - examples.starts)
    histories = Histories(
        offsets,
        examples.items[event],
        np.zeros(len(event), dtype=np.int16),
        examples.weights[event],
        examples.timestamps[event],
    )
    return Queries.of(histories, examples.times)
