"""Exploration: a bounded share of each page goes to new items, to find out whether they are any good.

Thompson sampling (Thompson 1933; Chapelle & Li 2011, "An empirical evaluation of Thompson sampling"): each
new item's click rate has a Beta posterior; a rate is drawn for every new candidate of a page, and the
items with the highest draws get the places that are set apart. An item that does well is drawn more
often, one that was shown in vain hardly ever; finding out costs the share of the page, and no more.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recserve.config import ExploreConfig
from recserve.data.arrays import Int64Array
from recserve.data.batches import Candidates
from recserve.serving.stages.fusion import drop
from recserve.serving.state.trials import TrialCounts

EXPLORED = "explore"
"""Source of an item that has its place to find out."""


def explore(
    config: ExploreConfig,
    ranked: Candidates,
    counts: Int64Array,
    known: int,
    trials: TrialCounts,
    rng: np.random.Generator,
) -> Candidates:
    """Put new items into some places of each page.

    Args:
        config: Share, prior and the places that are spared.
        ranked: Ranked candidates, shape (B, K), best first; K may be larger than a page.
        counts: int64, shape (B,); length of each page.
        known: Items of the bundle; further rows are new.
        trials: Of the new items, by row - ``known``.
        rng: Where the draws come from.

    Returns:
        The candidates reordered, chosen ones with the source ``explore`` and their draw as its score.
    """
    chosen: dict[int, tuple[Int64Array, np.ndarray]] = {}
    for query, count in enumerate(counts):
        new = np.flatnonzero(ranked.items[query] >= known)
        number = _number(config, int(count), rng)
        if not len(new) or not number:
            continue
        rows = ranked.items[query, new] - known
        shown, clicked = trials.shown[rows], trials.clicked[rows]
        # A click may be counted a moment before the place that it was made at.
        missed = np.maximum(shown - clicked, 0)
        draws = rng.beta(config.clicks + clicked, config.views + missed)
        best = np.argsort(-draws, kind="stable")[:number]
        chosen[query] = (new[best], draws[best])
    if not chosen:
        return ranked
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
    return marked.take(order)


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
    wanted = config.share * count
    return min(int(wanted) + int(rng.random() < wanted % 1), max(count - config.first_place, 0))


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
