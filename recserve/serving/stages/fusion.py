"""Fusion of what retrievers found: weighted reciprocal ranks, and filling up short lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from recserve.data.arrays import BoolArray, FloatArray
from recserve.data.batches import Candidates, Retrieved
from recserve.data.system.compilation import KERNELS, compiled

RRF_CONSTANT = 60.0


def merge(
    retrieved: Mapping[str, Retrieved], weights: Mapping[str, float | FloatArray], budget: int
) -> Candidates:
    """Merge what retrievers found by weighted reciprocal rank fusion.

    Ranks, not scores, are fused because the scales of retrievers are not comparable (Cormack, Clarke &
    Buettcher 2009, "Reciprocal rank fusion outperforms Condorcet and individual rank learning
    methods"). Duplicates are joined with the provenance of every retriever kept.

    Args:
        retrieved: By retriever name, each of shape (B, K_r).
        weights: Weight of each retriever, of all queries or of each, shape (B,).
        budget: Candidates kept for each query.

    Returns:
        :class:`Candidates` of shape (B, K) with K <= budget, best first, ties to the lower row.
    """
    kernels = compiled(KERNELS)
    if kernels is not None:
        return _merged(kernels.fuse, retrieved, weights, budget)
    sources = tuple(retrieved)
    batch = len(next(iter(retrieved.values())).items)
    query_parts, item_parts, gain_parts, score_parts, evidence_parts, source_parts = ([] for _ in range(6))
    for number, name in enumerate(sources):
        found = retrieved[name]
        query, rank = np.nonzero(found.items >= 0)
        query_parts.append(query)
        item_parts.append(found.items[query, rank].astype(np.int64))
        weight = np.broadcast_to(weights.get(name, 1.0), (batch,))
        gain_parts.append(weight[query] / (RRF_CONSTANT + 1.0 + rank))
        score_parts.append(found.scores[query, rank])
        evidence_parts.append(found.evidence[query, rank])
        source_parts.append(np.full(len(query), number))
    query, item = np.concatenate(query_parts), np.concatenate(item_parts)
    gain, source = np.concatenate(gain_parts), np.concatenate(source_parts)

    stride = int(item.max()) + 1 if len(item) else 1
    keys, slot = np.unique(query * stride + item, return_inverse=True)
    fused = np.bincount(slot, weights=gain, minlength=len(keys))
    by_source = np.full((len(keys), len(sources)), np.nan, dtype=np.float32)
    by_source[slot, source] = np.concatenate(score_parts)
    # The evidence of the retriever that contributed most, among those that name some: written last wins.
    evidence = np.full(len(keys), -1, dtype=np.int32)
    named_by = np.concatenate(evidence_parts)
    named = np.flatnonzero(named_by != -1)
    ascending = named[np.argsort(gain[named], kind="stable")]
    evidence[slot[ascending]] = named_by[ascending]

    owner, row = keys // stride, keys % stride
    # Equals stay in the order of the keys, which is that of the rows.
    order = np.lexsort((-fused, owner))
    owner = owner[order]
    starts = np.searchsorted(owner, np.arange(batch))
    column = np.arange(len(owner)) - starts[owner]
    kept = column < budget
    order, owner, column = order[kept], owner[kept], column[kept]
    width = int(column.max()) + 1 if len(column) else 0

    items = np.full((batch, width), -1, dtype=np.int32)
    scores = np.full((batch, width), -np.inf, dtype=np.float32)
    source_scores = np.full((batch, width, len(sources)), np.nan, dtype=np.float32)
    out_evidence = np.full((batch, width), -1, dtype=np.int32)
    items[owner, column] = row[order]
    scores[owner, column] = fused[order]
    source_scores[owner, column] = by_source[order]
    out_evidence[owner, column] = evidence[order]
    return Candidates(items, scores, sources, source_scores, out_evidence)


def _merged(
    fuse: Callable[..., int],
    retrieved: Mapping[str, Retrieved],
    weights: Mapping[str, float | FloatArray],
    budget: int,
) -> Candidates:
    """:func:`merge` by a compiled kernel."""
    found, sources = list(retrieved.values()), tuple(retrieved)
    batch = len(found[0].items)
    begins = np.concatenate([[0], np.cumsum([one.items.shape[1] for one in found])])
    by_source = np.empty((batch, len(found)), dtype=np.float64)
    for number, name in enumerate(sources):
        by_source[:, number] = weights.get(name, 1.0)
    width = min(budget, int(begins[-1]))
    items = np.full((batch, width), -1, dtype=np.int32)
    scores = np.full((batch, width), -np.inf, dtype=np.float32)
    source_scores = np.full((batch, width, len(found)), np.nan, dtype=np.float32)
    evidence = np.full((batch, width), -1, dtype=np.int32)
    longest = fuse(
        np.concatenate([one.items for one in found], axis=1, dtype=np.int32),
        np.concatenate([one.scores for one in found], axis=1, dtype=np.float32),
        np.concatenate([one.evidence for one in found], axis=1, dtype=np.int32),
        *(begins, by_source, RRF_CONSTANT, items, scores, source_scores, evidence),
    )
    return Candidates(items, scores, sources, source_scores, evidence).first(longest)


def top_up(candidates: Candidates, extra: Retrieved, source: str, wanted: int) -> Candidates:
    """Fill rows that are short of ``wanted`` candidates from another retriever, below what they have.

    Args:
        candidates: Merged candidates, shape (B, K).
        extra: What the other retriever found for the same queries.
        source: Its name.
        wanted: Candidates a row should have.

    Returns:
        Candidates of shape (B, max(K, widest filled row)); the same object if no row is short.
    """
    present = (candidates.items >= 0).sum(axis=1)
    short = np.flatnonzero(present < wanted)
    additions = {}
    for row in short:
        have = candidates.items[row]
        fresh = np.flatnonzero((extra.items[row] >= 0) & ~np.isin(extra.items[row], have))
        additions[row] = fresh[: wanted - present[row]]
    width = max([candidates.items.shape[1], *(present[row] + len(new) for row, new in additions.items())])
    if not any(len(new) for new in additions.values()):
        return candidates
    names = candidates.sources if source in candidates.sources else (*candidates.sources, source)
    column = names.index(source)
    grow = ((0, 0), (0, width - candidates.items.shape[1]))
    items = np.pad(candidates.items, grow, constant_values=-1)
    scores = np.pad(candidates.scores, grow, constant_values=-np.inf)
    evidence = np.pad(candidates.evidence, grow, constant_values=-1)
    source_scores = np.pad(
        candidates.source_scores,
        (*grow, (0, len(names) - len(candidates.sources))),
        constant_values=np.nan,
    )
    for row, new in additions.items():
        place = slice(present[row], present[row] + len(new))
        lowest = float(scores[row, present[row] - 1]) if present[row] else 1.0
        items[row, place] = extra.items[row, new]
        scores[row, place] = lowest - (1 + np.arange(len(new))) * 1e-4
        evidence[row, place] = extra.evidence[row, new]
        source_scores[row, place, column] = extra.scores[row, new]
    return Candidates(items, scores, names, source_scores, evidence)


def drop(candidates: Candidates, gone: BoolArray) -> Candidates:
    """Candidates without some, pads at the end; ``gone`` is bool, shape (B, K)."""
    order = np.argsort(gone, axis=1, kind="stable").astype(np.int32)
    return candidates.take(np.where(np.take_along_axis(gone, order, axis=1), np.int32(-1), order))
