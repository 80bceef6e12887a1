"""Parts that a training run leaves out: what cannot help on the data at hand, and what takes minutes."""

from __future__ import annotations

from collections.abc import Mapping

from recserve.data.catalogue import Catalogue
from recserve.data.dataset import Dataset
from recserve.data.events.event_order import EventOrder
from recserve.plugin.resolved import ResolvedConfig

NO_TEXTS = "no item has a text"
NO_ORDER = "times say nothing of the order of events"
POSTPONED = "its fit takes minutes, so the next training fits it"


def has_texts(resolved: ResolvedConfig, catalogue: Catalogue) -> bool:
    """Whether any item has a text that an encoder would read."""
    item_text = resolved.item_text.build(catalogue)
    return any(item_text.text(item) for item in catalogue.items())


def unsuited_parts(resolved: ResolvedConfig, data: Dataset) -> dict[str, str]:
    """Keys of retrievers and rankers that have nothing to learn from, and why.

    What reads texts alone goes where no item has one. What learns from the order of events goes where times
    say nothing of it, unless it reads texts and there are some. A scenario that would have no retriever left
    keeps its first.
    """
    texts = has_texts(resolved, data.catalogue)
    ordered = data.event_order is not EventOrder.NONE
    found = {}
    for pipeline in resolved.scenarios.values():
        ranker = () if pipeline.ranker is None else (pipeline.ranker,)
        for part in (*pipeline.retrievers, *ranker):
            component = part.component
            reads = part.needs_vectors or component.needs_texts
            if component.sequential and not ordered and not (reads and texts):
                found[part.key] = NO_ORDER
            elif reads and not component.sequential and not texts:
                found[part.key] = NO_TEXTS
    return _dispensable(resolved, found)


def slow_parts(resolved: ResolvedConfig) -> dict[str, str]:
    """Keys of retrievers, rankers and rerankers that a quick run leaves to the next training, and why.

    A scenario that would have no retriever left keeps its first.
    """
    found = {
        part.key: POSTPONED
        for pipeline in resolved.scenarios.values()
        for part in pipeline.components()
        if part.component.slow
    }
    return _dispensable(resolved, found)


def _dispensable(resolved: ResolvedConfig, found: Mapping[str, str]) -> dict[str, str]:
    """Those of the parts without which every scenario still works."""
    needed = {
        part.key for pipeline in resolved.without(found).scenarios.values() for part in pipeline.components()
    }
    return {key: why for key, why in found.items() if key not in needed}
