"""Events that went through files are the events that came, and are learnt from in the same way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recserve import Catalogue, Dataset, EventType, Item, Tables
from recserve.data.columns.codes import blocks, encoded
from recserve.data.columns.spool import SPOOLED_SCHEMA, EventSpool
from recserve.data.events.coverage import coverage
from recserve.errors import DataError

TYPES = {
    "view": EventType(weight=1.0),
    "rating": EventType(weight=2.0, value_range=(1, 5)),
    "hide": EventType(weight=-1.0),
}
SCHEMA = pa.schema(
    {
        "event_id": pa.string(),
        "user_id": pa.string(),
        "item_id": pa.string(),
        "event": pa.string(),
        "value": pa.float64(),
        "timestamp": pa.int64(),
    }
)
ITEMS = ("a", "b", "é", "🎬")

Row = tuple[str, str, str, float | None, int]
_users = st.sampled_from(["u", "v", "é", "ﬀ", "🎬", "Z", "10", "9"]) | st.text("ab🎬é", min_size=1)
_rows = st.tuples(
    _users,
    st.sampled_from([*ITEMS, "gone", "lost"]),
    st.sampled_from([*TYPES, "wave", "nod"]),
    st.none() | st.sampled_from([0.0, 1.0, 4.5, 9.0]),
    st.integers(0, 5) | st.integers(-(2**63), 2**63 - 1),
)


def canonical(rows: list[Row]) -> pa.Table:
    events = [(f"e{number}", *row) for number, row in enumerate(rows)]
    columns = zip(*events, strict=True) if events else [()] * len(SCHEMA)
    return pa.table([list(column) for column in columns], schema=SCHEMA)


def expected(rows: list[Row]) -> list[tuple[str, str, str, float, int]]:
    """What is learnt from, sorted by what decides about the order, but for the scramble."""
    kept = [row for row in rows if row[1] in ITEMS and row[2] in TYPES]
    return [
        (user, item, kind, _weight(kind, value), moment)
        for user, item, kind, value, moment in sorted(kept, key=lambda row: row[4])
    ]


def _weight(kind: str, value: float | None) -> float:
    return float(TYPES[kind].confidence(np.array([np.nan if value is None else value]))[0])


def facts(data: Dataset) -> dict[str, Any]:
    names = ("users", "items", "events", "weights", "timestamps")
    return {
        "users": list(data.user_ids),
        **{name: (getattr(data, name).dtype, getattr(data, name).tolist()) for name in names},
    }


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(_rows, max_size=60), part=st.integers(1, 20), batch=st.integers(1, 20))
def test_what_comes_back_is_what_came(tmp_path: Path, rows: list[Row], part: int, batch: int) -> None:
    plain = canonical(rows)
    spool = EventSpool(tmp_path, part_rows=part)
    spool.extend(plain.to_batches(max_chunksize=batch))
    table = spool.table()
    assert table.schema == SPOOLED_SCHEMA
    assert table.to_pylist() == plain.drop_columns("event_id").to_pylist()
    assert list(tmp_path.iterdir()) == []
    distinct, codes = encoded(table["user_id"])
    assert len(set(distinct.to_pylist())) == len(distinct) == len({row[0] for row in rows})
    assert codes.dtype == np.int32

    items = pa.table({"item_id": pa.array(ITEMS), "attributes": ["{}"] * len(ITEMS)})
    assert coverage(Tables(items, table), TYPES) == coverage(Tables(items, plain), TYPES)
    catalogue = Catalogue.of([Item(item) for item in ITEMS])
    wanted = expected(rows)
    if not wanted:
        for events in (table, plain):
            with pytest.raises(DataError, match="no event to learn from"):
                Dataset.from_tables(catalogue, events, TYPES)
        return
    data = Dataset.from_tables(catalogue, table, TYPES)
    assert facts(data) == facts(Dataset.from_tables(catalogue, plain, TYPES))
    assert list(data.user_ids) == sorted({row[0] for row in wanted})
    names = tuple(TYPES)
    learnt = [
        (data.user_ids.ids[user], ITEMS[item], names[kind], weight, moment)
        for user, item, kind, weight, moment in zip(
            data.users.tolist(),
            data.items.tolist(),
            data.events.tolist(),
            data.weights.tolist(),
            data.timestamps.tolist(),
            strict=True,
        )
    ]
    assert sorted(learnt) == sorted(wanted)
    assert [row[4] for row in learnt] == [row[4] for row in wanted]


def test_the_order_of_equal_times_is_the_one_that_it_always_was() -> None:
    """Bundles are the same byte for byte whatever version of the sort made their data."""
    generator = np.random.default_rng(3)
    rows: list[Row] = [
        (f"u{user}", ITEMS[item], "view", None, int(moment))
        for user, item, moment in zip(
            generator.integers(0, 40, 3000),
            generator.integers(0, 4, 3000),
            generator.integers(0, 50, 3000),
            strict=True,
        )
    ]
    data = Dataset.from_tables(Catalogue.of([Item(item) for item in ITEMS]), canonical(rows), TYPES)
    mixed = (data.users.astype(np.uint64) << np.uint64(32)) ^ data.items.astype(np.uint64)
    mixed += np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    keys = list(zip(data.timestamps.tolist(), mixed.tolist(), strict=True))
    assert keys == sorted(keys)
    assert len(set(keys)) < len(keys), "some are equal in everything"


def test_files_are_gone_with_the_table(tmp_path: Path) -> None:
    def mapped() -> bool:
        return str(tmp_path) in Path("/proc/self/maps").read_text()

    spool = EventSpool(tmp_path)
    spool.extend(canonical([("u", "a", "view", None, 1)]).to_batches())
    table = spool.table()
    assert mapped()
    del spool, table
    assert not mapped()


def test_blocks_cover_all_rows() -> None:
    assert list(blocks(0, 4)) == []
    assert list(blocks(9, 4)) == [slice(0, 4), slice(4, 8), slice(8, 9)]
