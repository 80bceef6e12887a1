"""A pipeline over parts that were built by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recserve.data.catalogue import Catalogue
from recserve.serving.pipeline import Pipeline
from recserve.serving.scenario import ScenarioContext
from recserve.serving.stage_client import StageClient
from recserve.serving.state.history_reader import ServingStore, StoreReader
from recserve.serving.state.live_catalogue import CatalogueFollower


def pipeline_over(
    context: ScenarioContext,
    store: ServingStore,
    client: StageClient,
    *,
    live: CatalogueFollower | None = None,
    history: int = 1000,
    deadline: float = 5.0,
    seed: int = 0,
) -> Pipeline:
    """A pipeline whose filters and rerankers stay as they are when the catalogue changes.

    Args:
        context: The scenario context on the bundle's catalogue.
        store: The store.
        client: How stages are reached.
        live: What the client's stages follow; None to follow the store from its first item on.
        history: Newest events of a user that count.
        deadline: Seconds that a read of the store may take.
        seed: Of exploration's draws.
    """

    def build(catalogue: Catalogue) -> ScenarioContext:
        return replace(context, catalogue=catalogue)

    following = live or CatalogueFollower(context.catalogue, store, -1, context.fingerprint)
    reader = StoreReader(store, following, history, deadline)
    return Pipeline(build, reader, client, rng=np.random.default_rng(seed))
