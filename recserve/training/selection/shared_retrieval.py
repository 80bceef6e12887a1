"""Retrieval that scenarios share: each retriever is asked once about a batch of held-out queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from recserve.data.batches import Queries, Retrieved
from recserve.plugin.protocols import Retriever
from recserve.serving.scenario import Scenario
from recserve.serving.stages.retrieval import ask_retriever
from recserve.serving.state.live_catalogue import CatalogueView


class SharedRetrieval:
    """What retrievers found for the batches of one sample, kept for the scenarios that ask for it later.

    What a retriever finds depends on the queries, on how many items are asked of it, and on what the filters
    allow, not on the scenario: those with the same retriever differ in what they make of it. Batches are
    known by identity, so they must live as long as this object does. What nobody else will ask for is not
    kept.

    Args:
        scenarios: Each will ask once about every batch.
    """

    def __init__(self, scenarios: Iterable[Scenario]) -> None:
        self._scenarios = Counter(
            (id(scenario.retrievers[config.use]), config.candidates)
            for scenario in scenarios
            for config in scenario.config.retrievers
        )
        self._kept: dict[tuple[int, ...], tuple[Retrieved, int]] = {}

    def __call__(
        self, retriever: Retriever, queries: Queries, k: int, view: CatalogueView | None = None
    ) -> Retrieved:
        """See :func:`recserve.serving.stages.retrieval.ask_retriever`."""
        askers = self._scenarios[id(retriever), k]
        if askers < 2 or view is not None or any(mask is not None for mask in queries.allowed):
            return ask_retriever(retriever, queries, k, view)
        key = (id(retriever), k, id(queries.histories), id(queries.times), id(queries.excluded))
        found, left = self._kept.pop(key, (None, askers))
        if found is None:
            found = ask_retriever(retriever, queries, k, view)
        if left > 1:
            self._kept[key] = (found, left - 1)
        return found
