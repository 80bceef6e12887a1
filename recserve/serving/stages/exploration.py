"""Exploration: a bounded share of each page goes to new items, to find out whether they are any good.

Thompson sampling (Thompson 1933; Chapelle & Li 2011, "An empirical evaluation of Thompson sampling"): each
new item's click rate has a Beta posterior; a rate is drawn for every new candidate of a page, and the
items with the highest draws get the places that are set apart. An item that does well is drawn more
often, one that was shown in vain hardly ever; finding out costs the share of the page, and no more.

The probability that an item got its place, its propensity, is logged with it: what another policy would have
earned can then be estimated from what this one showed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import special

from recserve.config import ExploreConfig
from recserve.data.arrays import Float64Array, Int64Array
from recserve.data.batches import Candidates
from recserve.serving.stages.fusion import drop
from recserve.serving.state.trials import TrialCounts

EXPLORED = "explore"
"""Source of an item that has its place to find out."""


# Gauss-Legendre nodes of the unit interval: enough for a few hundred new items beside each other.
_NODES, _WEIGHTS = (0.5 * part for part in np.polynomial.legendre.leggauss(64))
_NODES = _NODES + 0.5


class Explored(NamedTuple):
    """Candidates after exploration.

    Attributes:
        candidates: Reordered; chosen ones have the source ``explore`` and their draw as its score.
        propensities: float64, shape (B, K); probability that the item stood in this place, where chance put
            it there, else NaN. None if chance decided nothing.
    """

    candidates: Candidates
    propensities: Float64Array | None


def explore(
    config: ExploreConfig,
    ranked: Candidates,
    counts: Int64Array,
    known: int,
    trials: TrialCounts,
    rng: np.random.Generator,
) -> Explored:
    """Put new items into some places of each page.

    Args:
        config: Share, prior and the places that are spared.
        ranked: Ranked candidates, shape (B, K), best first; K may be larger than a page.
        counts: int64, shape (B,); length of each page.
        known: Items of the bundle; further rows are new.
        trials: Of the new items, by row - ``known``.
        rng: Where the draws come from.
    """
    chosen: dict[int, tuple[Int64Array, np.ndarray]] = {}
    propensities = np.full(ranked.items.shape, np.nan)
    for query, count in enumerate(counts):
        new = np.flatnonzero(ranked.items[query] >= known)
        number = _number(config, int(count), rng)
        if not len(new) or not number:
            continue
        rows = ranked.items[query, new] - known
        shown, clicked = trials.shown[rows], trials.clicked[rows]
        # A click may be counted a moment before the place that it was made at.
        rates = Rates(config.clicks + clicked, config.views + np.maximum(shown - clicked, 0))
        draws = rng.beta(rates.clicks, rates.misses)
        best = np.argsort(-draws, kind="stable")[:number]
        chosen[query] = (new[best], draws[best])
        for item, place in zip(best, _spread(config, int(count), len(best)), strict=True):
            # One that stands better already is where the ranking put it.
            if new[item] > place:
                propensities[query, place] = place_probability(
                    config, int(count), rates, int(item), int(place)
                )
    if not chosen:
        return Explored(ranked, None)
    scores = np.full((*ranked.items.shape, 1), np.nan, dtype=np.float32)
    order = np.tile(np.arange(ranked.items.shape[1], dtype=np.int32), (len(ranked.items), 1))
    for query, (positions, draws) in chosen.items():
        scores[query, positions, 0] = draws
        places = _spread(config, int(counts[query]), len(positions))
        order[query] = _with_places(order[query], positions, places)
    marked = replace(
        ranked,
        sources=(*ranked.sources, EXPLORED),
        source_scores=np.concatenate([ranked.source_scores, scores], axis=2),
    )
    return Explored(marked.take(order), propensities)


class Rates(NamedTuple):
    """Beta posteriors of the click rates of M new items.

    Attributes:
        clicks: float64, shape (M,); first parameter.
        misses: float64, shape (M,); second parameter.
    """

    clicks: Float64Array
    misses: Float64Array


def place_probability(config: ExploreConfig, count: int, rates: Rates, item: int, place: int) -> float:
    """Probability that exploration puts a new item into a place of a page, before anything is drawn.

    Args:
        config: Share and the places that are spared.
        count: Length of the page.
        rates: Of the new candidates.
        item: One of them, below M.
        place: From 0.
    """
    numbers = [(min(number, len(rates.clicks)), share) for number, share in _numbers(config, count).items()]
    by_rank = rank_probabilities(rates, item, max(number for number, _ in numbers))
    return sum(
        probability * float(by_rank[rank])
        for number, probability in numbers
        for rank in np.flatnonzero(_spread(config, count, number) == place)
    )


def rank_probabilities(rates: Rates, item: int, ranks: int) -> Float64Array:
    """Probability that an item's draw is the highest of all, the second highest, and so on, shape (ranks,).

    The integral over the item's own draw, of the probability that so many of the others are higher.
    """
    draws = special.betaincinv(rates.clicks[item], rates.misses[item], _NODES)
    others = np.arange(len(rates.clicks)) != item
    # P(draw of another item is lower), shape (nodes, M - 1).
    lower = special.betainc(rates.clicks[others], rates.misses[others], draws[:, None])
    higher = np.zeros((len(draws), ranks))
    higher[:, 0] = 1.0
    for below in lower.T[:, :, None]:
        higher[:, 1:] = higher[:, 1:] * below + higher[:, :-1] * (1.0 - below)
        higher[:, :1] *= below
    probabilities: Float64Array = _WEIGHTS @ higher
    return probabilities


def with_new(page: Candidates, ranked: Candidates, known: int) -> Candidates:
    """A page that rules have cut, with the new candidates that they left out at its end.

    Args:
        page: Shape (B, n), some of ``ranked``.
        ranked: Shape (B, K).
        known: Items of the bundle; further rows are new.
    """
    lists = [
        np.flatnonzero((ranked.items[query] >= known) & ~np.isin(ranked.items[query], page.items[query]))
        for query in range(len(page.items))
    ]
    positions = np.full((len(lists), max(len(found) for found in lists)), -1, dtype=np.int32)
    for query, found in enumerate(lists):
        positions[query, : len(found)] = found
    rest = ranked.take(positions)
    both = Candidates(
        np.concatenate([page.items, rest.items], axis=1),
        np.concatenate([page.scores, rest.scores], axis=1),
        page.sources,
        np.concatenate([page.source_scores, rest.source_scores], axis=1),
        np.concatenate([page.evidence, rest.evidence], axis=1),
    )
    return drop(both, both.items < 0)


def _number(config: ExploreConfig, count: int, rng: np.random.Generator) -> int:
    """How many places of a page are set apart this time: the share on average, rounded by chance."""
    numbers = _numbers(config, count)
    return max(numbers) if rng.random() < numbers[max(numbers)] else min(numbers)


def _numbers(config: ExploreConfig, count: int) -> dict[int, float]:
    """How many places of a page may be set apart, with their probabilities."""
    wanted, room = config.share * count, max(count - config.first_place, 0)
    few, many = min(int(wanted), room), min(int(wanted) + 1, room)
    return {few: 1.0} if few == many else {few: 1.0 - wanted % 1, many: wanted % 1}


def _spread(config: ExploreConfig, count: int, number: int) -> Int64Array:
    """``number`` places spread evenly over those of a page that are not spared, int64."""
    room = count - config.first_place
    steps = (np.arange(number) + 0.5) * room / max(number, 1)
    return config.first_place + steps.astype(np.int64)


def _with_places(order: np.ndarray, positions: Int64Array, places: Int64Array) -> np.ndarray:
    """Move candidates to their places unless they stand better already."""
    moved = [(int(p), int(place)) for p, place in zip(positions, places, strict=True) if p > place]
    taken = {position for position, _ in moved}
    rest = [int(position) for position in order if position not in taken]
    for position, place in moved:
        rest.insert(place, position)
    return np.array(rest, dtype=np.int32)
