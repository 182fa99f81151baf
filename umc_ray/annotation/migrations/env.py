"""Run by alembic: migrate over the connection and in the transaction that it was handed."""

from alembic import context

connection = context.config.attributes["connection"]
# a migration that fails half way takes everything back, on SQLite too
context.configure(connection=connection, transactional_ddl=True, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
