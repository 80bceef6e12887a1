"""Group commit: one thread writes for the whole process.

Making a transaction durable costs a flush of the disk, however small it is. So callers hand their
rows to one thread, which commits everything that queued up during the previous commit in a single
transaction and then wakes the callers. An idle store adds no wait, a busy one shares each flush.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeAlias

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningInsert

from recserve.errors import RecserveError, StoreError
from recserve.store.database import Database
from recserve.store.rows import Row

_LINGER_SECONDS = 0.25
"""How long rows that nobody waits for may wait for company."""

_GROUP_ROWS = 50_000
"""Rows of one transaction at most (a larger single call still goes in whole)."""


@dataclass(frozen=True)
class InsertNew:
    """Insert rows whose ``key`` is not there yet; the result is the number inserted."""

    table: Table
    key: str
    rows: Sequence[Row]


Work: TypeAlias = "InsertNew | Callable[[Connection], Any]"


@dataclass(eq=False)
class _Job:
    work: Work
    result: Future[Any] = field(default_factory=Future)

    @property
    def size(self) -> int:
        return len(self.work.rows) if isinstance(self.work, InsertNew) else 1


class Writer:
    """The writing thread of one store.

    Args:
        database: Where to write.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changed = threading.Condition()
        self._waiting: list[_Job] = []
        self._patient: list[_Job] = []
        self._due = 0.0
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="recserve-writer", daemon=True)
        self._thread.start()

    def run(self, work: Work) -> Any:
        """Do ``work`` in some transaction and wait until it is durable.

        Args:
            work: Rows to insert, or a function of the connection. It may be run more than once, so
                doing it twice must have the effect of once.

        Returns:
            The result of ``work``.

        Raises:
            StoreError: It failed or the store is closed; nothing was written.
        """
        job = _Job(work)
        with self._changed:
            self._refuse_if_closed()
            self._waiting.append(job)
            self._changed.notify()
        return job.result.result()

    def defer(self, work: Work) -> Future[Any]:
        """Do ``work`` soon, together with others; nobody has to wait for the future."""
        job = _Job(work)
        with self._changed:
            self._refuse_if_closed()
            if not self._patient:
                self._due = time.monotonic() + _LINGER_SECONDS
            self._patient.append(job)
            self._changed.notify()
        return job.result

    def flush(self) -> None:
        """Wait until everything handed over so far is written or has failed."""
        with self._changed:
            patient = [job.result for job in self._patient]
            self._due = 0.0
            self._changed.notify()
        wait(patient)
        if not self._closing:
            self.run(lambda connection: None)  # what was being committed is older than this

    def close(self) -> None:
        """Write what is waiting, then end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _refuse_if_closed(self) -> None:
        if self._closing:
            raise StoreError("the store is closed")

    def _loop(self) -> None:
        while group := self._next_group():
            self._commit(group)

    def _next_group(self) -> list[_Job]:
        """What to write next, in order; empty once the store is closed and all is written."""
        with self._changed:
            while not (self._waiting or self._closing or self._patient_is_due()):
                self._changed.wait(self._due - time.monotonic() if self._patient else None)
            group: list[_Job] = []
            rows = 0
            for queue in (self._waiting, self._patient):
                taken = 0
                while taken < len(queue) and (not group or rows + queue[taken].size <= _GROUP_ROWS):
                    group.append(queue[taken])
                    rows += queue[taken].size
                    taken += 1
                del queue[:taken]
            return group

    def _patient_is_due(self) -> bool:
        return bool(self._patient) and time.monotonic() >= self._due

    def _commit(self, group: list[_Job]) -> None:
        works = [job.work for job in group]
        try:
            results = self._database.write(lambda connection: _perform(connection, works))
        except RecserveError as error:
            if len(group) == 1:
                group[0].result.set_exception(error)
                return
            # One caller's failure must not become everybody's: let each have its own transaction.
            for job in group:
                self._commit([job])
        except BaseException as error:
            for job in group:
                job.result.set_exception(error)
        else:
            for job, result in zip(group, results, strict=True):
                job.result.set_result(result)


def _perform(connection: Connection, works: Sequence[Work]) -> list[Any]:
    results: list[Any] = []
    for table, run in groupby(works, lambda one: isinstance(one, InsertNew) and one.table.name):
        if table:
            results.extend(_insert(connection, [one for one in run if isinstance(one, InsertNew)]))
        else:
            results.extend(one(connection) for one in run if not isinstance(one, InsertNew))
    return results


def _insert(connection: Connection, works: Sequence[InsertNew]) -> list[int]:
    """Insert the rows of many callers with one statement; count what was new for each."""
    rows = [row for work in works for row in work.rows]
    if not rows:
        return [0] * len(works)
    key = works[0].key
    inserted = connection.execute(_insert_new(connection, works[0].table, key), rows)
    fresh = set(inserted.scalars())
    counts = []
    for work in works:
        own = {row[key] for row in work.rows} & fresh
        fresh -= own  # two callers with the same key: the first one stored it
        counts.append(len(own))
    return counts


def _insert_new(connection: Connection, table: Table, key: str) -> ReturningInsert[Any]:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(table).on_conflict_do_nothing().returning(table.c[key])
