"""Puts ranked rows into words: items with their sources and explanations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from recserve.data.batches import Candidates
from recserve.data.entities import Item, Reason
from recserve.serving.queries import Assembled
from recserve.serving.request import RecommendedItem, Request
from recserve.serving.scenario import ScenarioContext


def answer(
    edge: ScenarioContext,
    scenario: str,
    assembled: Assembled,
    ranked: Candidates,
    requests: Sequence[Request],
    rows: Sequence[Sequence[int]],
    lost: Callable[[str, Exception], None],
) -> list[tuple[RecommendedItem, ...]]:
    """The items of each answer.

    Args:
        edge: The edge of the catalogue that rows are of.
        scenario: Name of the scenario.
        assembled: The batch.
        ranked: Its candidates, the items to return first.
        requests: The requests.
        rows: Rows to return for each request, best first.
        lost: Told when explaining failed; the items go out without words then.
    """
    items = {row: edge.catalogue.item(row) for picked in rows for row in picked}
    sources = _sources(ranked, [len(picked) for picked in rows])
    words = _explain(edge, scenario, assembled, ranked, requests, rows, items, sources, lost)
    return [
        tuple(
            RecommendedItem(
                item_id=items[row].item_id,
                score=float(ranked.scores[index, position]),
                rank=request.offset + position + 1,
                sources=sources[index][position],
                explanation=words[index][position],
                attributes=items[row].attributes,
            )
            for position, row in enumerate(rows[index])
        )
        for index, request in enumerate(requests)
    ]


def _explain(
    edge: ScenarioContext,
    scenario: str,
    assembled: Assembled,
    ranked: Candidates,
    requests: Sequence[Request],
    rows: Sequence[Sequence[int]],
    items: dict[int, Item],
    sources: Sequence[Sequence[tuple[str, ...]]],
    lost: Callable[[str, Exception], None],
) -> list[list[str | None]]:
    reasons: list[Reason] = []
    for index, request in enumerate(requests):
        if not request.explain:
            continue
        done = assembled.last_events(index)
        anchor = int(assembled.base.anchors[index])
        for position, row in enumerate(rows[index]):
            seed = int(ranked.evidence[index, position])
            seed = anchor if seed < 0 else seed
            reasons.append(
                Reason(
                    item=items[row],
                    sources=sources[index][position],
                    evidence=edge.catalogue.item(seed) if seed >= 0 else None,
                    evidence_event=assembled.event_names[done[seed]] if seed in done else None,
                    query_text=request.query,
                    interests=assembled.interests[index],
                )
            )
    try:
        words = iter(edge.explainers[scenario].explain(reasons))
    except Exception as error:
        lost("explaining", error)
        words = iter([])
    return [
        [next(words, None) if request.explain else None for _ in rows[index]]
        for index, request in enumerate(requests)
    ]


def _sources(ranked: Candidates, counts: Sequence[int]) -> list[list[tuple[str, ...]]]:
    """Retrievers behind the first items of each query, the one that ranked an item highest first."""
    most = max(counts, default=0)
    known = np.where(np.isnan(ranked.source_scores), np.float32(-np.inf), ranked.source_scores)
    # A retriever's scores side by side, which is how they are compared.
    scores = np.ascontiguousarray(known.transpose(0, 2, 1))
    listed = scores[:, :, :most]
    # How many items each retriever put before this one, an item at a time to stay within the cache.
    places = np.empty(listed.shape, dtype=np.int64)
    for position in range(listed.shape[2]):
        places[:, :, position] = np.count_nonzero(scores > listed[:, :, position, None], axis=2)
    places[np.isneginf(listed)] = scores.shape[2]
    places = places.transpose(0, 2, 1)
    order = np.argsort(places, axis=2, kind="stable").tolist()
    present = (places < scores.shape[2]).sum(axis=2).tolist()
    return [
        [
            tuple(ranked.sources[source] for source in order[index][position][: present[index][position]])
            for position in range(count)
        ]
        for index, count in enumerate(counts)
    ]
