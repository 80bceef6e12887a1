"""Contexts of events and answers: stored once, learnt from, exported, and gone with the person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from recserve import Event, Item
from recserve.data.entities import DEFAULT_EVENT_TYPES
from recserve.errors import EventIdConflictError, InvalidRequestError
from recserve.store import Exposure, Store, hash_of, open_store, parse_url
from recserve.store.lake import LakeExport, LakeFolder, read_lake
from recserve.store.sql.database import Database
from recserve.store.sql.schema import events, exposures
from recserve.store.transfer.export import export_events, export_everything
from recserve.store.transfer.restore import restore

PHONE, DESK = '{"device": "phone"}', '{"device": "desk", "place": "Tromsø"}'
SHOWN = Exposure("r", "u", "one", "home", 5, (), context=DESK)
OWN = Event("u", "a", "view", 6, event_id="own", recommendation_id="r", context=PHONE)
NAMED = Event("u", "a", "view", 7, event_id="named", recommendation_id="r")
OTHERS = Event("v", "a", "view", 8, event_id="others", recommendation_id="r")
SILENT = Event("w", "b", "view", 9, event_id="silent")


def fill(store: Store) -> None:
    store.upsert_items([Item("a"), Item("b")])
    store.add_exposures([SHOWN, replace(SHOWN, recommendation_id="s", shadow=True)])
    store.add_exposures([replace(SHOWN, recommendation_id="n", user_id=None, context=PHONE)])
    store.flush()
    shadow = replace(NAMED, event_id="shadow", recommendation_id="s")
    anybody = replace(OTHERS, event_id="anybody", recommendation_id="n")
    store.add_events([OWN, NAMED, OTHERS, SILENT, shadow, anybody])


# Another user's answer, or one that nobody was shown, says nothing.
LEARNT = [PHONE, DESK, "", "", "", PHONE]


def test_contexts_are_stored_as_they_are(store: Store) -> None:
    fill(store)
    assert store.histories(["u"], 9)["u"][0] == OWN
    assert store.events_after(0, 9)[0]["context"].to_pylist() == [PHONE, *[None] * 5]
    assert store.exposures("r") == SHOWN
    assert store.add_events([OWN]) == 0
    with pytest.raises(EventIdConflictError):
        store.add_events([replace(OWN, context=DESK)])
    assert "phone" not in repr(OWN)
    assert "desk" not in repr(SHOWN)


@pytest.mark.parametrize(
    "context", ["{}", "[]", "phone", '{"b": 1, "a": 2}', '{"a": {}}', f'{{"a": "{"x" * 2000}"}}']
)
def test_what_is_no_context_is_refused(store: Store, context: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"event 0: context must") as refusal:
        store.add_events([replace(OWN, context=context)])
    assert refusal.value.field == "events[0].context"


def test_training_reads_an_events_own_context_or_that_of_the_answer_it_names(store: Store) -> None:
    store.upsert_items([Item("a")])
    store.add_events([replace(SILENT, event_id="before")])
    assert "context" not in store.snapshot().events.schema.names
    fill(store)
    assert store.snapshot().events["context"].to_pylist() == ["", *LEARNT]


def test_deleting_a_person_deletes_the_contexts(store: Store, database: Database) -> None:
    fill(store)
    store.delete_user("u")
    for table in (events, exposures):
        told = select(table.c.context).where(table.c.user_hash == hash_of("u"))
        assert database.read(lambda c, told=told: c.execute(told).all()) == []  # type: ignore[misc]
    assert store.exposures("r") is None
    # What nobody in particular was shown is still there, and so is what was done after it.
    assert [one for one in store.snapshot().events["context"].to_pylist() if one] == [PHONE]


def test_exports_and_lakes_have_them(store: Store, database: Database, tmp_path: Path) -> None:
    fill(store)
    export_events(store, 0, tmp_path / "events")
    said = pq.read_table(tmp_path / "events" / "events.parquet")["context"].to_pylist()
    assert said == [PHONE, *[None] * 5]
    lake = LakeFolder(str(tmp_path / "lake"))
    LakeExport(store, lake, tmp_path).expire(10)
    found = read_lake(lake, DEFAULT_EVENT_TYPES, tmp_path).table
    assert sorted(found["context"].to_pylist()) == ["", "", "", "", "", PHONE]
    kept = [lake.read(file) for file in lake.exposure_files()]
    assert sorted(row for part in kept for row in part["context"].to_pylist()) == [DESK, DESK, PHONE]


def test_everything_is_restored_with_them(
    store: Store, database: Database, new_url: Callable[[str], str], tmp_path: Path
) -> None:
    fill(store)
    export_everything(database, tmp_path / "all")
    url = new_url("sqlite")
    open_store(url, tmp_path).close()
    other = Database(parse_url(url, tmp_path))
    restore(other, tmp_path / "all")
    other.close()
    with open_store(url, tmp_path) as restored:
        assert restored.exposures("r") == SHOWN
        assert restored.histories(["u"], 9)["u"] == store.histories(["u"], 9)["u"]
