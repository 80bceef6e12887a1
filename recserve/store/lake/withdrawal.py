"""Removal of rows that no longer count from the files of a lake.

Three things happen to events after they were written: a person is deleted, an event is taken back, and the
events of a session become a person's, under whose id they are written once more. Files that hold such rows
are written anew without them; all others stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recserve.data.arrays import BoolArray, Int64Array
from recserve.data.columns.codes import encoded
from recserve.store.lake.folder import LakeFile, LakeFolder, LakeRecord, days_of
from recserve.store.protocol import Store
from recserve.store.records import Withdrawn
from recserve.store.sql.schema import key_of


def withdraw(lake: LakeFolder, store: Store, record: LakeRecord) -> tuple[LakeRecord, int]:
    """Remove what no longer counts, if anything has happened since the last time.

    Running it again after an interruption does no harm.

    Returns:
        The new record, which is written already, and the number of rows removed.

    Raises:
        DataError: A file cannot be read or written.
        StoreError: The database failed.
    """
    withdrawn = store.withdrawn(record.removed)
    marks = marks_of(withdrawn)
    if marks == record.model_dump(include=set(marks)):
        return record, 0
    rows = sum(_clean(lake, file, withdrawn) for file in lake.files() if file.numbers is not None)
    for file in lake.exposure_files():
        rows += _keep(lake, file, ~_exposures_of_people(lake, file, withdrawn.people))
    record = record.model_copy(update=marks)
    lake.write_record(record)
    return record, rows


def marks_of(withdrawn: Withdrawn) -> dict[str, int]:
    """What a lake's record says once nothing of this is in its files."""
    return {"deletions": withdrawn.deletions, "removed": withdrawn.removals}


def rows_of_people(lake: LakeFolder, people: Mapping[bytes, tuple[int, int]]) -> int:
    """Count the rows of people that are older than their deletion, exposures included.

    Args:
        lake: A lake that the store writes.
        people: Number of the deletion, and of the last event before it, by digest of the id.
    """
    done = (_of_people(_columns(lake, file), people) for file in lake.files() if file.numbers is not None)
    shown = (_exposures_of_people(lake, file, people) for file in lake.exposure_files())
    return sum(int(rows.sum()) for rows in (*done, *shown))


def current_events(rows: pa.Table, withdrawn: Withdrawn) -> pa.Table:
    """Events of a file that still count, whether or not the file has been cleaned since."""
    return rows.filter(pa.array(~_withdrawn_events(rows, withdrawn)))


def current_exposures(rows: pa.Table, withdrawn: Withdrawn) -> pa.Table:
    """Exposures of a file without those of people who were deleted later."""
    return rows.filter(pa.array(~_exposed_people(rows, withdrawn.people)))


def _clean(lake: LakeFolder, file: LakeFile, withdrawn: Withdrawn) -> int:
    return _keep(lake, file, ~_withdrawn_events(_columns(lake, file), withdrawn))


def _withdrawn_events(columns: pa.Table, withdrawn: Withdrawn) -> BoolArray:
    """Events of deleted people, and events that were taken back."""
    gone = _of_people(columns, withdrawn.people)
    if withdrawn.removed:
        taken_back = (key_of(event_id) in withdrawn.removed for event_id in columns["event_id"].to_pylist())
        gone |= np.fromiter(taken_back, np.bool_, len(columns))
    return gone


def _keep(lake: LakeFolder, file: LakeFile, kept: BoolArray) -> int:
    """Write a file anew with some of its rows; returns how many are gone."""
    if not kept.any():
        lake.remove(file)
    elif not kept.all():
        lake.write(file, lake.read(file).filter(pa.array(kept)))
    return len(kept) - int(kept.sum())


def _of_people(columns: pa.Table, people: Mapping[bytes, tuple[int, int]]) -> BoolArray:
    """Events of deleted people that were stored before the deletion."""
    last = _for_users(columns["user_id"], {key: last for key, (_, last) in people.items()}, -1)
    return np.asarray(columns["seq"].to_numpy() <= last, np.bool_)


def _exposures_of_people(
    lake: LakeFolder, file: LakeFile, people: Mapping[bytes, tuple[int, int]]
) -> BoolArray:
    return _exposed_people(lake.read(file, ["user_id", "since"]), people)


def _exposed_people(columns: pa.Table, people: Mapping[bytes, tuple[int, int]]) -> BoolArray:
    """Exposures of deleted people that were made before the deletion."""
    numbers = {key: number for key, (number, _) in people.items()}
    deleted = _for_users(columns["user_id"].fill_null(""), numbers, 0)
    return np.asarray(columns["since"].to_numpy() < deleted, np.bool_)


def _for_users(users: pa.ChunkedArray, values: Mapping[bytes, int], otherwise: int) -> Int64Array:
    """A value for the user of each row, found by the digest of the id."""
    ids, codes = encoded(users)
    found = (values.get(key_of(user_id), otherwise) for user_id in ids.to_pylist())
    return np.fromiter(found, np.int64, len(ids))[codes]


def supersede(lake: LakeFolder, events: pa.Table, targets: frozenset[bytes]) -> int:
    """Remove old rows of events that are to be written once more, as they became another person's.

    An event keeps its time, so only files of its day are looked at.

    Args:
        lake: The lake.
        events: Events that are not in a finished file yet.
        targets: Digests of the ids that got events of others.

    Returns:
        The number of rows removed.
    """
    moved = events.filter(pa.array(_for_users(events["user_id"], dict.fromkeys(targets, 1), 0) > 0))
    if not len(moved):
        return 0
    days = frozenset(days_of(moved["timestamp"].to_numpy()).tolist())
    rows = 0
    for file in lake.files():
        if file.numbers is not None and file.day in days:
            again = pc.is_in(lake.read(file, ["event_id"])["event_id"], moved["event_id"].combine_chunks())
            rows += _keep(lake, file, ~again.to_numpy())
    return rows


def _columns(lake: LakeFolder, file: LakeFile) -> pa.Table:
    return lake.read(file, ["seq", "event_id", "user_id"])
