"""Accounts and keys; `seen` and `bulk` of an answer."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the tables and add the columns."""
    op.add_column("events", sa.Column("seen", sa.Boolean))
    op.add_column("events", sa.Column("bulk", sa.Text))
    op.create_table(
        "accounts",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("password", sa.Text, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_table(
        "keys",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("account", sa.Text, sa.ForeignKey("accounts.name"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Float),
    )
    op.create_index("keys_account", "keys", ["account"])
