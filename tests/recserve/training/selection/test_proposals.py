"""Of what a user did later a query counts what was done in its own context."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from recserve import Candidates, Catalogue, Dataset, EventOrder, EventType, Item, Queries, Retrieved
from recserve.evaluation.splits import leave_one_out, temporal
from recserve.training.selection.proposals import QuerySample, proposals

PHONE, DESK = '{"device": "phone"}', '{"device": "desk"}'


def data(*contexts: str | None) -> Dataset:
    """One user's events, a second apart and each on another item."""
    count = len(contexts)
    table = pa.table(
        {
            "user_id": ["u"] * count,
            "item_id": [f"i{row}" for row in range(count)],
            "event": ["view"] * count,
            "value": pa.array([None] * count, pa.float64()),
            "timestamp": pa.array([1000 * row for row in range(count)], pa.int64()),
            "context": pa.array(contexts, pa.string()),
        }
    )
    catalogue = Catalogue.of([Item(f"i{row}") for row in range(count)])
    made = Dataset.from_tables(catalogue, table, {"view": EventType()})
    made.event_order = EventOrder.TIME
    return made


def everything(queries: Queries) -> tuple[Candidates, Mapping[str, Retrieved]]:
    items = np.tile(np.arange(8, dtype=np.int32), (len(queries), 1))
    scores = np.zeros(items.shape, dtype=np.float32)
    found = Retrieved.of(items, scores)
    return Candidates(items, scores, ("all",), scores[:, :, None], found.evidence), {"all": found}


def labels(whole: Dataset) -> list[list[int]]:
    """Items that each query is labelled with."""
    examples = proposals(everything, QuerySample.of(temporal(whole, 0.5), 100, 0)).examples
    return [np.flatnonzero(row).tolist() for row in examples.labels]


def test_each_query_has_the_context_of_the_event_that_answers_it() -> None:
    whole = data(DESK, None, DESK, PHONE, PHONE, None, DESK, PHONE)
    asked = [queries.contexts for _, queries, _ in temporal(whole, 0.5).batches(3)]
    assert [dict(one) for part in asked for one in part] == [
        {"device": "phone"},
        {},
        {"device": "desk"},
        {"device": "phone"},
    ]
    last = next(queries for _, queries, _ in leave_one_out(whole).batches(9))
    assert last.contexts == ({"device": "phone"},)
    sample = temporal(whole, 0.5).take(np.array([1, 2]))
    assert next(queries for _, queries, _ in sample.batches(9)).contexts == ({}, {"device": "desk"})


def test_what_was_done_elsewhere_is_no_answer() -> None:
    assert labels(data(*[None] * 8)) == [[4, 5, 6, 7], [5, 6, 7], [6, 7], [7]]
    assert labels(data(DESK, None, DESK, PHONE, PHONE, None, DESK, PHONE)) == [[4, 7], [5], [6], [7]]
