"""Experiments: what was asked for, and what has become of it."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, update

from recserve.errors import NotFoundError
from recserve.store.records import ExperimentChange, ExperimentRecord
from recserve.store.sql.parts.base import Part
from recserve.store.sql.queries.counters import hold, raise_counter
from recserve.store.sql.queries.rows import check_id, dump_json
from recserve.store.sql.schema import experiments


class ExperimentPart(Part):
    """:class:`recserve.store.protocol.ExperimentStore` over one database."""

    def add_experiment(self, record: ExperimentRecord) -> bool:
        """See :meth:`recserve.store.protocol.ExperimentStore.add_experiment`."""
        row = _row(record)

        def work(connection: Connection) -> bool:
            hold(connection, "experiments")
            known = _all(connection).get(record.name)
            if known is None:
                connection.execute(insert(experiments), row)
                raise_counter(connection, "experiments")
            # The very same record is there when the work runs again after its commit.
            return known is None or _row(known) == row

        return self._writer.run(work)

    def experiments(self) -> list[ExperimentRecord]:
        """See :meth:`recserve.store.protocol.ExperimentStore.experiments`."""
        return list(self._database.read(_all).values())

    def change_experiment(self, name: str, change: ExperimentChange) -> ExperimentRecord:
        """See :meth:`recserve.store.protocol.ExperimentStore.change_experiment`."""

        def work(connection: Connection) -> ExperimentRecord:
            hold(connection, "experiments")
            known = _all(connection)
            if name not in known:
                raise NotFoundError(
                    f"there is no experiment {name[:80]!r}; list them with: recserve experiment list",
                    field="experiment",
                )
            before = known[name]
            status = change(before, list(known.values()))
            after = ExperimentRecord(name, before.created_ms, before.definition, status)
            row = _row(after)
            if row != _row(before):
                changed = update(experiments).where(experiments.c.name == name)
                connection.execute(changed.values(status=row["status"]))
                raise_counter(connection, "experiments")
            return after

        check_id(name, "experiment")
        return self._writer.run(work)


def _all(connection: Connection) -> dict[str, ExperimentRecord]:
    query = select(experiments).order_by(experiments.c.created, experiments.c.name)
    return {row["name"]: _record(row) for row in connection.execute(query).mappings()}


def _record(row: RowMapping) -> ExperimentRecord:
    definition, status = json.loads(row["definition"]), json.loads(row["status"])
    return ExperimentRecord(row["name"], row["created"], definition, status)


def _row(record: ExperimentRecord) -> dict[str, Any]:
    check_id(record.name, "name", longest=200)
    return {
        "name": record.name,
        "created": record.created_ms,
        "definition": dump_json(record.definition, "definition of an experiment"),
        "status": dump_json(record.status, "status of an experiment"),
    }
