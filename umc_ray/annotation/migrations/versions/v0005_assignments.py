"""Questions that are assigned to a person, and the domains that a person is asked about."""

import sqlalchemy as sa
from alembic import op

ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "assignments",
        sa.Column("question_id", ROW_ID, sa.ForeignKey("questions.id"), primary_key=True),
        sa.Column("annotator", sa.Text, primary_key=True),
        sa.Column("assigned_by", sa.Text, nullable=False),
        sa.Column("assigned_at", sa.Float, nullable=False),
    )
    op.create_index("assignments_annotator", "assignments", ["annotator"])
    op.create_table(
        "skills",
        sa.Column("campaign", sa.Text, primary_key=True),
        sa.Column("annotator", sa.Text, primary_key=True),
        sa.Column("domains", sa.JSON, nullable=False),
    )
