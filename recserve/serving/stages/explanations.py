"""Pages: ranked rows put into words, as items with their sources and explanations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from recserve.data.batches import Candidates
from recserve.data.catalogue import Catalogue
from recserve.data.entities import LEXICAL, Item, Reason
from recserve.plugin.protocols import Explainer
from recserve.serving.guard.calls import PluginCall, PluginCalls
from recserve.serving.guard.results import check_sentences
from recserve.serving.requests.queries import BuiltQueries
from recserve.serving.requests.request import DetailedItem, Details, Proposal, RecommendedItem, Request
from recserve.serving.stages.trace import Trace


@dataclass(frozen=True)
class Page:
    """The rows to return to the requests of a batch.

    Attributes:
        requests: The requests.
        built: Their queries.
        ranked: Their candidates, the items to return first.
        catalogue: Where the items are from.
        rows: Rows to return for each request, best first.
        items: The items of all rows.
        sources: Retrievers behind each item, in the shape of ``rows``.
        language: Of sentences, unless a request asks for another one.
    """

    requests: Sequence[Request]
    built: BuiltQueries
    ranked: Candidates
    catalogue: Catalogue
    rows: Sequence[Sequence[int]]
    items: Mapping[int, Item]
    sources: Sequence[Sequence[tuple[str, ...]]]
    language: str

    @classmethod
    def of(
        cls,
        requests: Sequence[Request],
        built: BuiltQueries,
        ranked: Candidates,
        catalogue: Catalogue,
        language: str,
    ) -> Page:
        """The first rows of each request's candidates."""
        rows = [
            items[items >= 0][: request.n].tolist()
            for items, request in zip(ranked.items, requests, strict=True)
        ]
        items = {row: catalogue.item(row) for chosen in rows for row in chosen}
        sources = _sources(ranked, [len(chosen) for chosen in rows])
        return cls(requests, built, ranked, catalogue, rows, items, sources, language)

    async def sentences(
        self, explainer: Explainer, calls: PluginCalls, scenario: str, trace: Trace
    ) -> Sequence[str]:
        """A sentence for each of :meth:`reasons`; none where explaining failed."""
        reasons = self.reasons()
        if not reasons:
            return ()
        with trace.without("explaining"):
            sentences = await calls.run(PluginCall.EXPLAINER, scenario, explainer.explain, reasons)
            return check_sentences(sentences, len(reasons))
        return ()

    def reasons(self) -> list[Reason]:
        """Why each item was chosen, for the requests that want to know."""
        reasons: list[Reason] = []
        names, unread = self.built.event_names, self.built.base.unread
        for index, request in enumerate(self.requests):
            if not request.explain:
                continue
            events = self.built.last_events(index)
            anchor = int(self.built.base.anchors[index])
            for position, row in enumerate(self.rows[index]):
                found = int(self.ranked.evidence[index, position])
                sources = self.sources[index][position]
                # A text that was not read led to nothing but what shares its words.
                led = not unread[index] or LEXICAL in sources
                evidence = anchor if found < 0 else found
                text = self.built.text_behind(index, found)
                done = names[events[evidence]] if evidence in events else None
                reasons.append(
                    Reason(
                        item=self.items[row],
                        sources=sources,
                        evidence=self.catalogue.item(evidence) if evidence >= 0 else None,
                        evidence_event=done if text is None else text.event,
                        query_text=request.query if led else None,
                        interests=self.built.interests[index] if led else None,
                        evidence_text=None if text is None else text.text,
                        language=request.language or self.language,
                    )
                )
        return reasons

    def answers(self, sentences: Sequence[str]) -> list[tuple[RecommendedItem, ...]]:
        """The items of each answer.

        Args:
            sentences: One a reason; none where explaining failed, and then items go out without.
        """
        sentence = iter(sentences)
        answers = [
            tuple(
                RecommendedItem(
                    item_id=self.items[row].item_id,
                    score=float(self.ranked.scores[index, position]),
                    rank=request.offset + position + 1,
                    sources=self.sources[index][position],
                    explanation=next(sentence, None) if request.explain else None,
                    attributes=self.items[row].attributes,
                )
                for position, row in enumerate(self.rows[index])
            )
            for index, request in enumerate(self.requests)
        ]
        if any(request.details for request in self.requests):
            self._detail(answers)
        return answers

    def _detail(self, answers: list[tuple[RecommendedItem, ...]]) -> None:
        """Say more of the items of those requests that want to know more."""
        wanted = [replace(request, explain=request.details) for request in self.requests]
        reasons = iter(replace(self, requests=wanted).reasons())
        for index, request in enumerate(self.requests):
            if request.details:
                answers[index] = tuple(
                    DetailedItem(**_fields_of(item), details=self._details(index, position, next(reasons)))
                    for position, item in enumerate(answers[index])
                )

    def _details(self, index: int, position: int, reason: Reason) -> Details:
        evidence = reason.evidence
        scores = self.ranked.source_scores[index]
        proposals = []
        for name in self.sources[index][position]:
            own = scores[:, self.ranked.sources.index(name)]
            place = 1 + int(np.count_nonzero(own > own[position]))
            proposals.append(Proposal(name, place, float(own[position])))
        return Details(
            proposals=tuple(proposals),
            evidence=None if evidence is None else evidence.item_id,
            evidence_title=None if evidence is None else evidence.title,
            evidence_event=reason.evidence_event,
            evidence_text=reason.evidence_text,
        )


def _fields_of(item: RecommendedItem) -> dict[str, Any]:
    return {known.name: getattr(item, known.name) for known in fields(RecommendedItem)}


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
