"""Change counters that readers follow the store by, and the locks that order their increments.

A counter is raised in the transaction that makes the change. On PostgreSQL its row stays locked until
that transaction ends, so the order of the numbers is the order of the commits: who sees number n sees
every change up to n. SQLite has one writer at a time anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from sqlalchemy import Connection, func, select, text, update

from recserve.store.records import Pulse
from recserve.store.sql.schema import counters

CounterName = Literal["catalogue", "deletions", "keys", "experiments", "impressions"]

CHANGES = "people"
"""Name of the counter of :func:`count_change`; its row appears with the first change."""

_COUNT_CHANGE = text(
    f"INSERT INTO counters (name, value) VALUES ('{CHANGES}', 1) "
    "ON CONFLICT (name) DO UPDATE SET value = value + 1"
)

COUNTERS: tuple[CounterName, ...] = ("catalogue", "deletions", "keys", "experiments", "impressions")

_PEOPLE_LOCK = 7_261_873_411_029_455_124  # any fixed number that no other application uses
_SHARED = "recserve.people_shared"


def read_pulse(connection: Connection) -> Pulse:
    """All counters as of this transaction."""
    rows = connection.execute(select(counters.c.name, counters.c.value))
    return pulse_of({row.name: row.value for row in rows})


def pulse_of(values: Mapping[str, int]) -> Pulse:
    """The pulse of counters by name; what a later version of the store counts is left out."""
    return Pulse(**{name: values[name] for name in Pulse._fields if name in values})


def hold(connection: Connection, name: CounterName) -> int:
    """Keep others from raising a counter until this transaction ends.

    Returns:
        Its value, which includes everything committed before.
    """
    query = select(counters.c.value).where(counters.c.name == name).with_for_update()
    return int(connection.execute(query).scalar_one())


def raise_counter(connection: Connection, name: CounterName) -> int:
    """Count one up; returns the new value."""
    change = (
        update(counters)
        .where(counters.c.name == name)
        .values(value=counters.c.value + 1)
        .returning(counters.c.value)
    )
    return int(connection.execute(change).scalar_one())


def count_change(connection: Connection) -> None:
    """Count a change of people other than new events: of a profile, or of whose events are whose.

    Only SQLite's readers go by it. On PostgreSQL everybody who changes a profile would wait for everybody
    else's commit.
    """
    if connection.dialect.name == "sqlite":
        connection.execute(_COUNT_CHANGE)


def count_impression_change(connection: Connection) -> int:
    """Count a change of users' impressions; returns its number.

    Only SQLite's readers go by it, and only there it is counted: see :func:`count_change`.
    """
    return raise_counter(connection, "impressions") if connection.dialect.name == "sqlite" else 0


def share_people(connection: Connection) -> None:
    """Announce that this transaction adds something about people; many may at the same time."""
    transaction = connection.get_transaction()
    # Once a transaction: writes that are committed together would ask for the same lock again and again.
    if connection.dialect.name == "postgresql" and connection.info.get(_SHARED) is not transaction:
        connection.execute(select(func.pg_advisory_xact_lock_shared(_PEOPLE_LOCK)))
        connection.info[_SHARED] = transaction


def exclude_people(connection: Connection) -> None:
    """Wait for all transactions that add something about people, and keep new ones out.

    Until this transaction ends. What the others committed is visible to the next statement of a
    writing transaction, and to the next reading transaction.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_PEOPLE_LOCK)))
