"""Experiments, and which of them an exposure belongs to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the table and its counter, and columns that no exposure of before has anything in."""
    op.create_table(
        "experiments",
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
    )
    with op.batch_alter_table("exposures") as exposures:
        exposures.add_column(sa.Column("experiment", sa.Text))
        exposures.add_column(sa.Column("arm", sa.Text))
        exposures.add_column(sa.Column("shadow", sa.Boolean))
    op.execute(sa.text("UPDATE exposures SET shadow = :no").bindparams(sa.bindparam("no", False, sa.Boolean)))
    with op.batch_alter_table("exposures") as exposures:
        exposures.alter_column("shadow", existing_type=sa.Boolean(), nullable=False)
    op.execute("INSERT INTO counters (name, value) VALUES ('experiments', 0)")
    op.execute("UPDATE meta SET value = '5' WHERE name = 'schema_version'")
