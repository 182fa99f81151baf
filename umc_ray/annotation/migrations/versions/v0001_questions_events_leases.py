"""Questions, events and leases."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "questions",
        sa.Column("id", ROW_ID, primary_key=True),
        sa.Column("campaign", sa.Text, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("domain", sa.Text, nullable=False),
        sa.Column("sample_id", sa.BigInteger, nullable=False),
        sa.Column("votes", sa.Integer, nullable=False),
        sa.Column("priority", sa.Float, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("gold", sa.Text),
        sa.Column("blind", sa.Boolean, nullable=False),
        sa.Column("given", sa.Integer, nullable=False),
        sa.Column("closed", sa.Boolean, nullable=False),
        sa.UniqueConstraint("campaign", "task", "sample_id", name="questions_sample"),
    )
    op.create_index(
        "questions_open",
        "questions",
        ["campaign", sa.text("priority DESC"), "id"],
        sqlite_where=sa.text("given < votes AND closed = 0 AND gold IS NULL"),
        postgresql_where=sa.text("given < votes AND closed = false AND gold IS NULL"),
    )
    op.create_table(
        "events",
        sa.Column("id", ROW_ID, primary_key=True),
        sa.Column("question_id", ROW_ID, sa.ForeignKey("questions.id"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("annotator", sa.Text, nullable=False),
        sa.Column("client_key", sa.Text, nullable=False),
        sa.Column("label", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("seconds", sa.Float),
        sa.Column("held_s", sa.Float),
        sa.Column("late", sa.Boolean, nullable=False),
        sa.Column("guideline", sa.Text),
        sa.Column("submitted_at", sa.Float, nullable=False),
        sa.UniqueConstraint("client_key", name="events_client_key"),
    )
    op.create_index("events_question", "events", ["question_id", "annotator", "id"])
    op.create_index("events_annotator", "events", ["annotator", "id"])
    op.create_table(
        "leases",
        sa.Column("question_id", ROW_ID, sa.ForeignKey("questions.id"), primary_key=True),
        sa.Column("annotator", sa.Text, primary_key=True),
        sa.Column("claimed_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
    )
