"""Contexts are stored as they are said, within bounds, and follow their events into a data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recserve import Catalogue, Dataset, EventType, Item
from recserve.data.columns.spool import EventSpool
from recserve.data.events.context import Contexts, context_of, context_text, plain_part

TYPES = {"view": EventType()}
CATALOGUE = Catalogue.of([Item("a"), Item("b"), Item("c")])
plain = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.booleans() | st.integers(-9, 9)
flat = st.dictionaries(st.text("key.é 字", min_size=1, max_size=9), plain | st.floats(-9, 9), max_size=5)


@given(context=flat)
def test_a_context_comes_back_as_it_was_said(context: dict[str, Any]) -> None:
    text = context_text(context)
    assert context_of(text) == context
    assert text == context_text(dict(reversed(context.items())))
    assert (text is None) == (not context)


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"a": [1]}, "'a' is none of them"),
        ({"a": None}, "'a' is none of them"),
        ({"a": float("nan")}, "'a' is none of them"),
        ({"a": 2**64}, "'a' is none of them"),
        ({"": 1}, "keys of 1 to 100 characters"),
        ({"k" * 101: 1}, "keys of 1 to 100 characters"),
        ({str(number): 1 for number in range(33)}, r"more than 32 keys \(it has 33\)"),
        ({"a": "secret" * 400}, r"longer than 2,000 bytes as JSON \(it has 2,409\)"),
        ({"a": "\ud800"}, "surrogate"),
    ],
)
def test_what_cannot_be_stored_is_refused_without_its_values(context: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        context_text(context)
    assert "secret" not in str(refusal.value)


def test_of_a_request_that_is_stored_which_is_flat() -> None:
    assert plain_part({"a": 1, "b": {"c": 2}, "d": None, "e": True}) == {"a": 1, "e": True}


def table(said: list[dict[str, Any] | None]) -> pa.Table:
    count = len(said)
    return pa.table(
        {
            "user_id": [f"u{row % 3}" for row in range(count)],
            "item_id": ["abc"[row * 7 % 3] for row in range(count)],
            "event": ["view"] * count,
            "value": pa.array([None] * count, pa.float64()),
            "timestamp": pa.array([row // 4 for row in range(count)], pa.int64()),
            "context": pa.array([None if one is None else context_text(one) for one in said], pa.string()),
        }
    )


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    said=st.lists(st.none() | flat, min_size=1, max_size=40), part=st.integers(1, 9), seed=st.integers(0, 9)
)
def test_every_event_keeps_its_context(
    tmp_path: Path, said: list[dict[str, Any] | None], part: int, seed: int
) -> None:
    events = table(said)
    data = Dataset.from_tables(CATALOGUE, events, TYPES)
    spool = EventSpool(tmp_path, part_rows=part)
    spool.extend(events.to_batches(max_chunksize=3))
    spooled = spool.table()
    assert ("context" in spooled.schema.names) == (data.contexts is not None) == any(said)
    shuffled = events.take(pa.array(np.random.default_rng(seed).permutation(len(said))))
    for other in (spooled, shuffled):
        assert Dataset.from_tables(CATALOGUE, other, TYPES).fingerprint() == data.fingerprint()
    if data.contexts is not None:
        wanted = sorted(
            json.dumps([row["user_id"], row["item_id"], row["timestamp"], context_of(row["context"])])
            for row in events.to_pylist()
        )
        late = data.timestamps >= 2
        for kept, contexts in ((data, data.contexts), (data.where(late), data.contexts.take(late))):
            assert kept.contexts is not None
            assert list(kept.contexts.said()) == list(contexts.said())
        found = zip(data.users, data.items, data.timestamps, data.contexts.mappings(), strict=True)
        assert wanted == sorted(
            json.dumps([data.user_ids.ids[u], CATALOGUE.ids.ids[i], int(t), dict(c)]) for u, i, t, c in found
        )


def test_nobodys_contexts_cost_nothing() -> None:
    assert Contexts.of(pa.chunked_array([[None, None]], pa.string())) is None
    assert Contexts.of(pa.chunked_array([["", ""]])) is None
    with_column = table([None] * 9)
    without = with_column.drop_columns(["context"])
    prints = [Dataset.from_tables(CATALOGUE, each, TYPES).fingerprint() for each in (with_column, without)]
    assert prints[0] == prints[1]
    told = Contexts.of(pa.chunked_array([[None, '{"a": 1}', '{"a": 1}']], pa.string()))
    assert told is not None
    assert (told.codes.tolist(), told.codes.dtype, told.texts.to_pylist()) == (
        [-1, 0, 0],
        np.int32,
        ['{"a": 1}'],
    )
