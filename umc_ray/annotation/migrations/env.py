"""Alembic environment: run migrations on the caller's connection, in one transaction."""

from alembic import context

connection = context.config.attributes["connection"]
# a failed migration is rolled back completely, on SQLite too
context.configure(connection=connection, transactional_ddl=True, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
