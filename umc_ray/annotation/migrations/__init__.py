"""The versions of the annotation store's tables, as alembic revisions."""
