"""When a session, a token or an invitation was made."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; it is empty for keys that exist already."""
    op.add_column("keys", sa.Column("created_at", sa.Float))
