"""Bundle records, the pointer to the current bundle, and who moved it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select

from recserve.data.entities import now_ms
from recserve.errors import NotFoundError
from recserve.store.records import NO_GROUNDS, BundleRecord, Grounds, Promotion
from recserve.store.sql.parts.base import Part
from recserve.store.sql.queries.rows import Stored, check_id, dump_json
from recserve.store.sql.queries.statements import upsert
from recserve.store.sql.schema import activations, bundles


class BundlePart(Part):
    """:class:`recserve.store.protocol.BundleStore` over one database."""

    def record_bundle(self, bundle_id: str, created_ms: int, summary: Mapping[str, Any]) -> None:
        """See :meth:`BundleStore.record_bundle`."""
        check_id(bundle_id, "bundle_id", longest=200)
        row = {
            "bundle_id": bundle_id,
            "created": created_ms,
            "summary": dump_json(summary, "summary of a bundle"),
        }
        self._writer.run(partial(upsert, table=bundles, rows=[row]))

    def bundles(self) -> list[BundleRecord]:
        """See :meth:`BundleStore.bundles`."""
        query = select(bundles.c.bundle_id, bundles.c.created, bundles.c.summary).order_by(
            bundles.c.created.desc(), bundles.c.bundle_id
        )
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [BundleRecord(name, created, json.loads(summary)) for name, created, summary in rows]

    def set_current(self, bundle_id: str, grounds: Grounds = NO_GROUNDS) -> None:
        """See :meth:`BundleStore.set_current`."""
        decided = {
            "actor": grounds.actor,
            "action": grounds.action,
            "reason": grounds.reason,
            "evidence": dump_json(grounds.evidence, "evidence of a promotion"),
        }

        def activate(connection: Connection) -> bool:
            known = select(bundles.c.bundle_id).where(bundles.c.bundle_id == bundle_id)
            if connection.execute(known).first() is None:
                return False
            if connection.execute(_current()).scalar() != bundle_id:
                row = {"bundle_id": bundle_id, "activated": now_ms(), **decided}
                connection.execute(insert(activations), row)
            return True

        check_id(bundle_id, "bundle_id")
        if not self._writer.run(activate):
            raise NotFoundError(
                f"no bundle {bundle_id[:80]!r} is recorded; list them with: recserve bundles",
                field="bundle_id",
            )

    def current_bundle(self) -> str | None:
        """See :meth:`BundleStore.current_bundle`."""
        return self._database.read(lambda connection: connection.execute(_current()).scalar())

    def promotions(self, limit: int) -> list[Promotion]:
        """See :meth:`BundleStore.promotions`."""
        query = select(activations).order_by(activations.c.seq.desc()).limit(limit)
        rows = self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [_promotion(row) for row in rows]

    def bundle_history(self) -> list[str]:
        """See :meth:`BundleStore.bundle_history`."""
        query = (
            select(activations.c.bundle_id)
            .group_by(activations.c.bundle_id)
            .order_by(func.max(activations.c.seq).desc())
        )
        return list(self._database.read(lambda connection: connection.execute(query).scalars().all()))


def _promotion(row: Stored) -> Promotion:
    evidence = {} if row["evidence"] is None else json.loads(row["evidence"])
    grounds = Grounds(row["actor"], row["action"], row["reason"], evidence)
    return Promotion(row["bundle_id"], row["activated"], grounds)


def _current() -> Select[Any]:
    return select(activations.c.bundle_id).order_by(activations.c.seq.desc()).limit(1)
