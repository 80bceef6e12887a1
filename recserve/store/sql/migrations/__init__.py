"""Migrations of the store, run by :func:`recserve.store.sql.migrations.schema_version.upgrade`.

Make the next one with ``alembic revision`` in mind but by hand: a module ``vNNNN_<what>.py`` in
``versions``, whose revision is ``SCHEMA_VERSION`` in four digits and which sets ``schema_version`` in the
table ``meta``. It must not import the tables of :mod:`recserve.store.sql.schema`, which move on.
"""
