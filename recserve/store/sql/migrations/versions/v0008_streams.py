"""Numbers of exposures, in the order in which they were stored."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_COLUMNS = (
    "recommendation_id, user_hash, user_id, bundle, scenario, timestamp, items, since, experiment, arm, "
    "shadow, degraded"
)


def upgrade() -> None:
    """Number the rows by their times; the number takes the place of the id as the primary key."""
    for name in ("user_hash", "timestamp"):
        op.drop_index(f"ix_exposures_{name}", "exposures")
    op.rename_table("exposures", "exposures_before")
    if op.get_bind().dialect.name == "postgresql":
        # Its index has the name that the new table's is to have.
        op.drop_constraint("pk_exposures", "exposures_before")
    op.create_table(
        "exposures",
        sa.Column("seq", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("recommendation_id", sa.String(200), nullable=False),
        sa.Column("user_hash", sa.BigInteger),
        sa.Column("user_id", sa.Text),
        sa.Column("bundle", sa.Text, nullable=False),
        sa.Column("scenario", sa.Text, nullable=False),
        sa.Column("timestamp", sa.BigInteger, nullable=False),
        sa.Column("items", sa.Text, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("experiment", sa.Text),
        sa.Column("arm", sa.Text),
        sa.Column("shadow", sa.Boolean, nullable=False),
        sa.Column("degraded", sa.Text),
        sa.PrimaryKeyConstraint("seq", name="pk_exposures"),
        sa.UniqueConstraint("recommendation_id", name="uq_exposures_recommendation_id"),
        sqlite_autoincrement=True,
    )
    op.execute(
        f"INSERT INTO exposures ({_COLUMNS}) SELECT {_COLUMNS} FROM exposures_before "
        "ORDER BY timestamp, recommendation_id"
    )
    op.drop_table("exposures_before")
    for name in ("user_hash", "timestamp"):
        op.create_index(f"ix_exposures_{name}", "exposures", [name])
    op.execute("UPDATE meta SET value = '8' WHERE name = 'schema_version'")
