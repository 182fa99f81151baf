"""A question says whether the page hides the prediction."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Rename a column; answers stay as they are."""
    op.alter_column("questions", "blind", new_column_name="hide_prediction")
