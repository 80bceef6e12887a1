"""Vectors of items in named spaces, a row each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection, select, update

from recserve.data.arrays import FloatArray
from recserve.data.columns.named_vectors import NamedVectors
from recserve.data.entities import Item
from recserve.errors import InvalidRequestError
from recserve.store.records import ItemPatch, ItemVectors, SpaceVector
from recserve.store.sql import schema
from recserve.store.sql.parts.base import log
from recserve.store.sql.queries.history import read_batches
from recserve.store.sql.queries.rows import Row, check_id, vector_bytes, vector_of
from recserve.store.sql.queries.statements import chunks, upsert
from recserve.store.sql.schema import item_vectors, items

_SNAPSHOT = pa.schema({"item_id": pa.string(), "space": pa.string(), "vector": pa.binary()})


def space_rows(written: Iterable[Item | ItemPatch]) -> list[Row]:
    """Rows of the named vectors that items bring, without versions, in the order of their keys.

    Raises:
        InvalidRequestError: A vector that cannot be stored.
    """
    found: dict[tuple[bytes, str], Row] = {}
    for item in written:
        if not item.vectors:
            continue
        key = schema.key_of(item.item_id)
        for space, vector in item.vectors.items():
            check_id(space, "vectors", longest=64)
            found[key, space] = {
                "item_key": key,
                "space": space,
                "vector": None if vector is None else given_bytes(vector, item.item_id, space),
                "fingerprint": "",
            }
    return [found[place] for place in sorted(found)]


def computed_rows(computed: Mapping[str, ItemVectors], known: Collection[str]) -> list[Row]:
    """Rows of vectors that item encoders made of some of the ``known`` items."""
    return [
        {
            "item_key": schema.key_of(item_id),
            "space": space,
            "vector": given_bytes(vector, item_id, space),
            "fingerprint": made.fingerprint,
        }
        for space, made in computed.items()
        for item_id, vector in made.by_id.items()
        if item_id in known
    ]


def given_bytes(vector: FloatArray, item_id: str, space: str) -> bytes:
    """A vector as it is stored.

    Raises:
        InvalidRequestError: It is no row of finite numbers, or all of them are 0.
    """
    with np.errstate(over="ignore"):
        plain = np.asarray(vector, dtype=np.float32)
    stored = vector_bytes(plain, f"item {item_id[:80]!r} in the space {space}")
    if not plain.any():
        raise InvalidRequestError(
            f"the vector of item {item_id[:80]!r} in the space {space} is zero, which has no direction",
            field="vectors",
        )
    return stored


def changed_rows(connection: Connection, rows: Sequence[Row]) -> list[Row]:
    """Those of the rows that say something new, in the order of their keys.

    What was computed yields to what was given, stored or in the same rows.
    """
    stored = _stored(connection, sorted({row["item_key"] for row in rows}))
    fresh: dict[tuple[bytes, str], Row] = {}
    for row in rows:  # the computed ones come first
        place = row["item_key"], row["space"]
        old = stored.get(place, {"vector": None, "fingerprint": ""})
        given = old["vector"] is not None and not old["fingerprint"]
        fresh.pop(place, None)
        if row["fingerprint"] and given:
            continue
        if (old["vector"], old["fingerprint"]) != (row["vector"], row["fingerprint"]):
            fresh[place] = row
    return [fresh[place] for place in sorted(fresh)]


def write_rows(connection: Connection, rows: Sequence[Row], version: int) -> None:
    """Store rows under a version of the catalogue."""
    upsert(connection, item_vectors, [{**row, "changed": version} for row in rows])


def take_away(connection: Connection, keys: Sequence[bytes], version: int) -> None:
    """Take all vectors of deleted items away."""
    for some in chunks(keys):
        gone = item_vectors.c.item_key.in_(some) & item_vectors.c.vector.is_not(None)
        connection.execute(
            update(item_vectors).where(gone).values(vector=None, fingerprint="", changed=version)
        )


def read_changes(connection: Connection, since: int) -> list[SpaceVector]:
    """Vectors that changed after version ``since`` of the catalogue, those that were taken away as None."""
    query = (
        select(items.c.item_id, *item_vectors.c["space", "vector", "fingerprint", "changed"])
        .join(items, items.c.item_key == item_vectors.c.item_key)
        .where(item_vectors.c.changed > since)
    )
    return [
        SpaceVector(
            item_id=row.item_id,
            space=row.space,
            vector=None if row.vector is None else vector_of(row.vector),
            fingerprint=row.fingerprint,
        )
        for row in connection.execute(query)
    ]


def read_given(connection: Connection) -> dict[str, NamedVectors]:
    """All vectors that were given, by space.

    Where a space has vectors of several widths, as after a change of its configuration, those of the most
    frequent one are read; the others are counted in a warning.
    """
    given = (
        select(items.c.item_id, *item_vectors.c["space", "vector"])
        .join(items, items.c.item_key == item_vectors.c.item_key)
        .where(item_vectors.c.vector.is_not(None), item_vectors.c.fingerprint == "", ~items.c.deleted)
    )
    ids: dict[tuple[str, int], list[str]] = {}
    content: dict[tuple[str, int], bytearray] = {}
    for batch in read_batches(connection, given, _SNAPSHOT):
        for item_id, space, vector in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            place = space, len(vector) // 4
            ids.setdefault(place, []).append(item_id)
            content.setdefault(place, bytearray()).extend(vector)
    found: dict[str, NamedVectors] = {}
    for space, width in sorted(ids, key=lambda place: (-len(ids[place]), place)):
        if space in found:
            log.warning(
                "%d vectors of the space %s have %d numbers instead of %d and are not read; write them again",
                len(ids[space, width]),
                space,
                width,
                found[space].vectors.shape[1],
            )
            continue
        matrix = np.frombuffer(content[space, width], "<f4").astype(np.float32, copy=False)
        found[space] = NamedVectors(ids[space, width], matrix.reshape(-1, width))
    return dict(sorted(found.items()))


def _stored(connection: Connection, keys: Sequence[bytes]) -> dict[tuple[bytes, str], Row]:
    found: dict[tuple[bytes, str], Row] = {}
    for some in chunks(keys):
        query = select(item_vectors).where(item_vectors.c.item_key.in_(some))
        for row in connection.execute(query).mappings():
            vector = row["vector"]
            plain = {**row, "vector": None if vector is None else bytes(vector)}
            found[bytes(row["item_key"]), row["space"]] = plain
    return found
