"""Parts that cannot help on the data at hand, found before they cost time."""

from __future__ import annotations

from recserve.data.catalogue import Catalogue
from recserve.data.dataset import Dataset
from recserve.data.events.event_order import EventOrder
from recserve.plugin.resolved import ResolvedConfig

NO_TEXTS = "no item has a text"
NO_ORDER = "times say nothing of the order of events"


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
            reads = component.needs_vectors or component.needs_texts
            if component.sequential and not ordered and not (reads and texts):
                found[part.key] = NO_ORDER
            elif reads and not component.sequential and not texts:
                found[part.key] = NO_TEXTS
    needed = {
        part.key for pipeline in resolved.without(found).scenarios.values() for part in pipeline.components()
    }
    return {key: why for key, why in found.items() if key not in needed}
