"""API keys, secrets and the audit log."""

from __future__ import annotations

import secrets

from sqlalchemy import Connection, insert, select, update

from recserve.errors import InvalidRequestError
from recserve.store.records import ApiKey, AuditEntry
from recserve.store.sql.parts.base import Part
from recserve.store.sql.queries.counters import hold, raise_counter
from recserve.store.sql.queries.rows import api_key_of, api_key_row, audit_of, audit_row
from recserve.store.sql.queries.statements import insert_new
from recserve.store.sql.schema import api_keys, audit, meta


class AccessPart(Part):
    """:class:`recserve.store.protocol.AccessStore` over one database."""

    def add_key(self, key: ApiKey) -> None:
        """See :meth:`recserve.store.protocol.AccessStore.add_key`."""
        row = api_key_row(key)
        tried = False

        def work(connection: Connection) -> bool:
            nonlocal tried
            hold(connection, "keys")
            known = connection.execute(select(api_keys).where(api_keys.c.key_id == key.key_id))
            stored = known.mappings().first()
            if stored is None:
                connection.execute(insert(api_keys), row)
                raise_counter(connection, "keys")
            # The very same key is there when the work runs again after its commit.
            added = stored is None or (tried and dict(stored) == row)
            tried = True
            return added

        if not self._writer.run(work):
            raise InvalidRequestError(f"an API key {key.key_id!r} exists already", field="key_id")

    def keys(self) -> list[ApiKey]:
        """See :meth:`recserve.store.protocol.AccessStore.keys`."""
        query = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.key_id)
        rows = self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [api_key_of(row) for row in rows]

    def revoke_key(self, key_id: str, at: int) -> bool:
        """See :meth:`recserve.store.protocol.AccessStore.revoke_key`."""

        def work(connection: Connection) -> bool:
            hold(connection, "keys")
            good = update(api_keys).where(api_keys.c.key_id == key_id, api_keys.c.revoked_at.is_(None))
            if connection.execute(good.values(revoked_at=at)).rowcount:
                raise_counter(connection, "keys")
                return True
            known = select(api_keys.c.key_id).where(api_keys.c.key_id == key_id)
            return connection.execute(known).first() is not None

        return self._writer.run(work)

    def secret(self, name: str) -> str:
        """See :meth:`AccessStore.secret`."""
        row = {"name": f"secret:{name}", "value": secrets.token_hex(32)}
        query = select(meta.c.value).where(meta.c.name == row["name"])

        def work(connection: Connection) -> str:
            insert_new(connection, meta, [row])
            return str(connection.execute(query).scalar_one())

        return self._writer.run(work)

    def add_audit(self, entry: AuditEntry) -> None:
        """See :meth:`recserve.store.protocol.AccessStore.add_audit`."""
        row = audit_row(entry)
        self._writer.run(lambda connection: insert_new(connection, audit, [row]))

    def audit(self, limit: int) -> list[AuditEntry]:
        """See :meth:`recserve.store.protocol.AccessStore.audit`."""
        query = select(audit).order_by(audit.c.seq.desc()).limit(limit)
        rows = self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [audit_of(row) for row in rows]
