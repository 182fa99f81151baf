"""Migrate a database to the schema version that this code expects."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from umc_ray.errors import StoreError

HEAD = "0005"


def upgrade(connection: Connection) -> None:
    """Run pending migrations in the caller's transaction.

    Raises:
        StoreError: a newer umc_ray wrote the database.
    """
    version = _version(connection)
    if version == HEAD:
        return
    # imported here because alembic takes 0.3 s to import and most databases are up to date
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent))
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    if version is not None and version not in known:
        raise StoreError(
            f"the annotation database has schema version {version}, but this umc_ray only knows "
            f"versions up to {HEAD}: upgrade umc_ray"
        )
    command.upgrade(config, "head")


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    query = text("SELECT version_num FROM alembic_version")
    version: str | None = connection.execute(query).scalar()
    return version
