"""A taste that goes with the device: learnt from recorded contexts, and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from recserve_features.inputs.schema import default_features
from recserve_features.lambdamart.ranker import LambdaMart
from recserve_features.parameters import ContextFeature, LambdaMartParams

from recserve import (
    Candidates,
    Catalogue,
    Dataset,
    EventOrder,
    EventType,
    FitContext,
    Item,
    Queries,
    Retrieved,
)
from recserve.evaluation.splits import temporal
from recserve.training.selection.proposals import QuerySample, proposals

N_ITEMS, N_USERS, N_EVENTS = 120, 60, 2400
CPU = FitContext(threads=1, device="cpu")
CATALOGUE = Catalogue.of(
    [Item(f"i{row}", {"length": "short" if row % 2 else "long"}) for row in range(N_ITEMS)]
)
FEATURES: Mapping[str, Any] = {
    "rank": {"type": "retrieval"},
    "length": {"type": "category", "attribute": "length"},
    "taste": {"type": "affinity", "attribute": "length"},
}
DEVICE = {"device": {"type": "context", "key": "device", "attribute": "length"}}


@pytest.fixture(scope="module")
def data() -> Dataset:
    """On a phone everybody takes short items, at a desk long ones; which device it is, is chance."""
    rng = np.random.default_rng(3)
    phone = rng.random(N_EVENTS) < 0.5
    items = 2 * rng.integers(0, N_ITEMS // 2, N_EVENTS) + phone
    table = pa.table(
        {
            "user_id": [f"u{user}" for user in rng.integers(0, N_USERS, N_EVENTS)],
            "item_id": [f"i{item}" for item in items],
            "event": ["view"] * N_EVENTS,
            "value": pa.array([None] * N_EVENTS, pa.float64()),
            "timestamp": pa.array(np.arange(N_EVENTS) * 60_000, pa.int64()),
            "context": [
                f'{{"device": "{"phone" if mobile else "desk"}", "visit": "v{row}"}}'
                for row, mobile in enumerate(phone.tolist())
            ],
        }
    )
    made = Dataset.from_tables(CATALOGUE, table, {"view": EventType()})
    made.event_order = EventOrder.TIME
    return made


def retrieve(queries: Queries) -> tuple[Candidates, Mapping[str, Retrieved]]:
    """Any twenty items, of which no order is better than another."""
    rng = np.random.default_rng(len(queries))
    items = rng.permuted(np.tile(np.arange(N_ITEMS, dtype=np.int32), (len(queries), 1)), axis=1)[:, :20]
    scores = -np.broadcast_to(np.arange(20, dtype=np.float32), items.shape).copy()
    found = Retrieved.of(items, scores)
    return Candidates(items, scores, ("any",), scores[:, :, None], found.evidence), {"any": found}


def fitting(data: Dataset, features: Mapping[str, Any]) -> tuple[float, Mapping[str, Any]]:
    """Share of later queries whose first five candidates are as long as the device wants, and the facts."""
    later = temporal(data, 0.2, repeats=True)
    earlier = temporal(later.training, 0.4, repeats=True)
    params = {"trees": 20, "min_leaf": 10, "features": features}
    ranker = LambdaMart(LambdaMartParams.model_validate(params), CATALOGUE)
    ranker.fit(earlier.training, CPU)
    proposed = proposals(retrieve, QuerySample.of(earlier, 2000, 0))
    facts = ranker.fit_candidates(proposed.examples, CPU)
    queries = next(batch for _, batch, _ in later.batches(len(later)))
    offered, _ = retrieve(queries)
    order = np.argsort(-ranker.score(queries, offered), axis=1)[:, :5]
    wanted = np.array([context.get("device") == "phone" for context in queries.contexts])
    return float((np.take_along_axis(offered.items, order, 1) % 2 == wanted[:, None]).mean()), facts


def test_a_taste_that_goes_with_the_device_is_learnt_from_recorded_contexts(data: Dataset) -> None:
    blind, _ = fitting(data, FEATURES)
    told, facts = fitting(data, {**FEATURES, **DEVICE})
    assert 0.4 < blind < 0.6
    assert told > 0.95
    assert max(facts["gains"], key=facts["gains"].__getitem__) == "device"
    assert facts["decisions"]["contexts"] == {"device": ["desk", "phone"]}


def test_values_of_few_people_are_not_learnt(data: Dataset) -> None:
    _, facts = fitting(data, {**FEATURES, "visit": {"type": "context", "key": "visit"}})
    assert facts["decisions"]["contexts"] == {"visit": []}
    assert "visit" in facts["idle"]


def test_keys_of_few_values_are_features_where_none_are_declared(data: Dataset) -> None:
    chosen = default_features(data, "UTC")
    found = {name: one for name, one in chosen.items() if isinstance(one, ContextFeature)}
    assert {name: (one.key, one.attribute) for name, one in found.items()} == {
        "context_device": ("device", None),
        "length_context_device": ("device", "length"),
    }
    silent = data.where(np.ones(len(data), dtype=np.bool_))
    silent.contexts = None
    assert default_features(silent, "UTC") == {n: one for n, one in chosen.items() if n not in found}
