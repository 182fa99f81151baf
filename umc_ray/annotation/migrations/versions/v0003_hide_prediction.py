"""Rename `blind` of a question to `hide_prediction`."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Rename the column."""
    op.alter_column("questions", "blind", new_column_name="hide_prediction")
