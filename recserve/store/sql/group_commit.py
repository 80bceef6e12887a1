"""Group commit: one thread writes for the whole process.

Making a transaction durable costs a flush of the disk, however small it is. So callers hand their
rows to one thread, which commits everything that queued up during the previous commit in a single
transaction and then wakes the callers. An idle store adds no wait, a busy one shares each flush.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection

from recserve.errors import StoreError
from recserve.store.sql.database import Database, DatabaseUnavailableError

T = TypeVar("T")

_LINGER_SECONDS = 0.25
"""How long work that nobody waits for may wait for company."""

_GROUP_ROWS = 50_000
"""Rows of one transaction at most (a larger single call still goes in whole)."""


@dataclass(eq=False)
class _Job:
    work: Callable[[Connection], Any]
    rows: int
    result: Future[Any] = field(default_factory=Future)


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
            StoreError: It failed or the store is closed; nothing was written.
        """
        job = _Job(work, rows)
        with self._changed:
            self._refuse_if_closed()
            self._urgent.append(job)
            self._changed.notify()
        result: T = job.result.result()
        return result

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
        wait(waiting)
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
        try:
            results = self._database.write(lambda c: [job.work(c) for job in group])
        except DatabaseUnavailableError as error:
            _fail(group, error)
        except BaseException as error:
            if len(group) == 1:
                _fail(group, error)
                return
            # One caller's failure must not become everybody's: let each have its own transaction.
            for job in group:
                self._commit([job])
        else:
            for job, result in zip(group, results, strict=True):
                job.result.set_result(result)


def _fail(group: list[_Job], error: BaseException) -> None:
    for job in group:
        job.result.set_exception(error)
