"""Every event is counted once: learnt from, or left out for one reason."""

from __future__ import annotations

import pyarrow as pa

from recserve.data.dataset import Tables
from recserve.data.entities import EventType
from recserve.data.events.coverage import coverage, unknown_items


def events(*rows: tuple[str, str, float | None]) -> pa.Table:
    items, kinds, values = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table(
        {
            "item_id": pa.array(items, pa.string()),
            "event": pa.array(kinds, pa.string()),
            "value": pa.array(values, pa.float64()),
        }
    )


def items(*ids: str) -> pa.Table:
    return pa.table({"item_id": pa.array(ids, pa.string())})


TYPES = {"view": EventType(weight=1.0), "rating": EventType(weight=1.0, value_range=(1, 5))}


def test_events_are_learnt_from_or_left_out_for_one_reason() -> None:
    rows = events(
        ("a", "view", None), ("a", "rating", 4.0), ("a", "rating", 9.0), ("a", "rating", 0.0),
        ("b", "wave", None), ("b", "wave", None), ("gone", "view", None), ("gone", "wave", None),
    )  # fmt: skip
    found = coverage(Tables(items=items("a", "b", "c"), events=rows), TYPES)
    assert found.events == 8
    assert found.learnt == 4
    assert found.unknown.events == 2
    assert found.unconfigured == {"wave": 2}
    assert found.learnt + found.unknown.events + sum(found.unconfigured.values()) == found.events
    assert found.off_scale == {"rating": 2}
    assert found.example_off_scale == {"rating": 9.0}
    assert (found.items, found.idle_items) == (3, 2)
    assert "2 of 8 events are of type 'wave'" in str(found)


def test_nothing_is_said_where_nothing_is_left_out() -> None:
    found = coverage(Tables(items=items("a"), events=events(("a", "view", None))), TYPES)
    assert str(found) == ""
    nothing = coverage(Tables(items=items("a"), events=events()), TYPES)
    assert (nothing.events, nothing.learnt, nothing.idle_items) == (0, 0, 1)


def test_the_unknown_item_with_the_most_events_comes_first() -> None:
    rows = events(*[("rare", "view", None)], *[("often", "view", None)] * 3, ("known", "view", None))
    asked: list[str] = []

    def known(ids: list[str]) -> set[str]:
        asked.extend(ids)
        return {"known"}

    found = unknown_items(rows, known)
    assert list(found.item_ids) == ["often", "rare"]
    assert (found.events, found.of) == (4, 5)
    assert sorted(asked) == ["known", "often", "rare"], "each id is asked for once"
    assert "2 items that are not in the catalogue, such as 'often'" in str(found)
