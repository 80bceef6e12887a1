"""Group commit: one thread writes for the whole process.

Making a transaction durable costs a flush of the disk, however small it is. So callers hand their
rows to one thread, which commits everything that queued up during the previous commit in a single
transaction and then wakes the callers. An idle store adds no wait, a busy one shares each flush.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeVar

from sqlalchemy import Connection

from recserve.errors import OutcomeUnknownError, StoreError
from recserve.store.sql.database import Database, DatabaseUnavailableError
from recserve.store.sql.queries.rows import Row

Insert = Callable[[Connection, Sequence[Row]], int]
"""Inserts rows and returns how many were new."""

T = TypeVar("T")

_LINGER_SECONDS = 0.25
"""How long work that nobody waits for may wait for company."""

_GROUP_ROWS = 50_000
"""Rows of one transaction at most (a larger single call still goes in whole)."""

_GROUP_SECONDS = 1.0
"""A transaction that has taken longer takes no further call in: a slow database commits smaller groups."""


@dataclass(eq=False)
class _Job:
    work: Callable[[Connection], Any]
    rows: int
    until: float | None = None  # when its caller gives up, on the monotonic clock
    insert: Insert | None = None
    batch: Sequence[Row] = ()
    result: Future[Any] = field(default_factory=Future)


class _DuplicateError(Exception):
    """Rows of several callers were inserted together, and nobody knows whose of them were new."""


class Writer:
    """The writing thread of one store.

    Work is a function of the connection. It may be run more than once (when a lock is not granted,
    a connection is lost, or another caller's work of the same group failed), so running it twice
    must have the effect of once.

    Args:
        database: Where to write.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changed = threading.Condition()
        self._urgent: deque[_Job] = deque()
        self._patient: deque[_Job] = deque()
        self._due = 0.0
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="recserve-writer", daemon=True)
        self._thread.start()

    def run(self, work: Callable[[Connection], T], rows: int = 1) -> T:
        """Do ``work`` in some transaction and wait until it is durable.

        Args:
            work: What to do.
            rows: About how many rows it writes.

        Returns:
            The result of ``work``.

        Raises:
            OutcomeUnknownError: The database stopped answering while it was being committed.
            StoreError: It failed, did not begin in time, or the store is closed; nothing was written, and
                nothing will be.
        """
        result: T = self._run(_Job(work, rows))
        return result

    def insert(self, insert: Insert, rows: Sequence[Row]) -> int:
        """Insert rows, together with those of other callers where that can be told apart; see :meth:`run`.

        Args:
            insert: Inserts rows; calls with the same function share a statement.
            rows: The rows.

        Returns:
            How many were new.
        """
        job = _Job(lambda connection: insert(connection, rows), len(rows), insert=insert, batch=rows)
        return int(self._run(job))

    def _run(self, job: _Job) -> Any:
        patience = self._database.patience
        if patience is not None:
            job.until = time.monotonic() + patience
        with self._changed:
            self._refuse_if_closed()
            self._urgent.append(job)
            self._changed.notify()
        return job.result.result() if patience is None else _result(job.result, patience)

    def defer(self, work: Callable[[Connection], T], rows: int = 1) -> Future[T]:
        """Do ``work`` soon, together with other work; nobody has to wait for the future.

        Raises:
            StoreError: The store is closed.
        """
        job = _Job(work, rows)
        with self._changed:
            self._refuse_if_closed()
            self._patient.append(job)
            if len(self._patient) == 1:
                self._due = time.monotonic() + _LINGER_SECONDS
                self._changed.notify()  # of later ones the thread need not know before that
        return job.result

    def flush(self) -> None:
        """Wait until everything handed over so far is written or has failed.

        Raises:
            StoreError: The store is closed, or the database cannot be reached.
        """
        with self._changed:
            waiting = [job.result for job in self._patient]
            self._due = 0.0
            self._changed.notify()
        patience = self._database.patience
        _, late = wait(waiting, None if patience is None else 2 * patience)
        if late:
            raise StoreError("the database takes too long to write what is waiting")
        self.run(lambda connection: None)  # what was being committed meanwhile came before this

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
            while not (self._urgent or self._closing or self._patient_is_due()):
                self._changed.wait(self._due - time.monotonic() if self._patient else None)
            group: list[_Job] = []
            room = _GROUP_ROWS
            for queue in (self._urgent, self._patient):
                while queue and (not group or queue[0].rows <= room):
                    group.append(queue.popleft())
                    room -= group[-1].rows
            return group

    def _patient_is_due(self) -> bool:
        return bool(self._patient) and time.monotonic() >= self._due

    def _commit(self, group: list[_Job]) -> None:
        # From here on nobody can withdraw; who has withdrawn must not be written.
        left = [job for job in group if job.result.set_running_or_notify_cancel()]
        while left:
            now = time.monotonic()
            late = [job for job in left if job.until is not None and job.until < now]
            _fail(late, DatabaseUnavailableError("the database was busy with other writes for too long"))
            in_time = [job for job in left if job not in late]
            left = self._write(in_time) if in_time else []

    def _write(self, group: list[_Job]) -> list[_Job]:
        """Write a group, or as much of it as one transaction has time for; returns what is left."""
        until = min((job.until for job in group if job.until is not None), default=None)
        try:
            results = self._database.write(lambda connection: _results(group, connection), until)
        except (DatabaseUnavailableError, OutcomeUnknownError) as error:
            _fail(group, error)
        except BaseException as error:
            if len(group) > 1:
                # One caller's failure must not become everybody's: let each have its own transaction.
                return [left for job in group for left in self._write([job])]
            _fail(group, error)
        else:
            for job, result in zip(group, results, strict=False):
                job.result.set_result(result)
            return group[len(results) :]
        return []


def _results(group: list[_Job], connection: Connection) -> list[Any]:
    """Results of the first jobs of a group, and of as many further ones as there is time for."""
    end = time.monotonic() + _GROUP_SECONDS
    results: list[Any] = []
    for insert, alike in groupby(group, key=lambda job: job.insert):
        jobs = list(alike)
        if insert is not None and len(jobs) > 1:
            rows = [row for job in jobs for row in job.batch]
            if insert(connection, rows) < len(rows):
                raise _DuplicateError
            results += [len(job.batch) for job in jobs]
            continue
        for job in jobs:
            if results and time.monotonic() > end:
                return results
            results.append(job.work(connection))
    return results


def _result(job: Future[T], patience: float) -> T:
    """The result of a job, which is withdrawn if it has not begun when ``patience`` ends."""
    wait([job], patience)
    if job.cancel():
        raise DatabaseUnavailableError(f"the database was busy with other writes for {patience:g} s")
    # It is being committed, and the database's own limits end that.
    wait([job], patience)
    if not job.done():
        raise OutcomeUnknownError(f"the database has not said whether it committed for {patience:g} s")
    return job.result()


def _fail(group: list[_Job], error: BaseException) -> None:
    for job in group:
        job.result.set_exception(error)
