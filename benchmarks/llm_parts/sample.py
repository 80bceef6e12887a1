"""The sample, a pipeline fitted on it, and one query of each tested user."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.common import SAMPLE
from recserve import Candidates, Catalogue, Dataset, Item
from recserve.config import ComponentConfig, parse_config
from recserve.data.batches import Queries
from recserve.evaluation.splits import Split
from recserve.plugin.protocols import Stage
from recserve.plugin.registry import Registry
from recserve.training.fitted_pipeline import FittedPipeline
from recserve.training.fitting import catalogue_of, fit_context, fit_pipeline
from recserve.training.selection.validation import home_split

SEED = 0
LISTED = 20
CONFIG: dict[str, Any] = {
    "encoder": None,
    "scenarios": {"home": {"retrievers": [{"use": "mf"}, {"use": "item_knn"}, {"use": "popular"}]}},
}


@dataclass(frozen=True)
class Sample:
    """What all parts ask about.

    Attributes:
        split: One query of each of some users.
        pipeline: Fitted on what is older.
        catalogue: The films.
        event_types: Names of event types in code order.
    """

    split: Split
    pipeline: FittedPipeline
    catalogue: Catalogue
    event_types: tuple[str, ...]

    @classmethod
    def fitted(cls, users: int) -> Sample:
        """Fit the pipeline and draw users."""
        registry = Registry.discover()
        config = parse_config(CONFIG, "benchmark")
        resolved = registry.resolve(config)
        chosen = registry.choose(Stage.DATASET, ComponentConfig(use=SAMPLE), "dataset")
        tables = chosen.build(Catalogue()).read()
        data = Dataset.from_tables(catalogue_of(tables), tables.events, config.event_types)
        split = home_split(data, config)
        fitted = fit_pipeline(resolved, split.training, fit_context(config))
        _, newest = np.unique(split.groups[::-1], return_index=True)
        split = split.take(np.sort(len(split) - 1 - newest)).sample(users, SEED)
        return cls(split, fitted.recommender("home"), data.catalogue, tuple(config.event_types))

    def ranked(self, queries: Queries, count: int = LISTED) -> Candidates:
        """The page before the model, with the history items behind it."""
        queries = replace(queries, wants_evidence=True)
        candidates, _ = self.pipeline.retrieve(queries)
        return candidates.first(count)

    def queries(self) -> tuple[Queries, Candidates]:
        """All queries and their pages."""
        parts = [queries for _, queries, _ in self.split.batches(len(self.split))]
        return parts[0], self.ranked(parts[0])

    def with_title(self, row: int, title: str) -> Catalogue:
        """The films with another title in one row."""
        items = list(self.catalogue.items())
        items[row] = Item(items[row].item_id, {**items[row].attributes, "title": title})
        return Catalogue.of(items)
