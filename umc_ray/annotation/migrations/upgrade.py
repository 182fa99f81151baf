"""Bring a database's tables to the version that this code speaks."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from umc_ray.errors import StoreError

HEAD = "0003"


def upgrade(connection: Connection) -> None:
    """Run the migrations that a database still misses, in the caller's transaction.

    Raises:
        StoreError: a newer umc_ray wrote the database.
    """
    found = _version(connection)
    if found == HEAD:
        return
    # alembic takes a third of a second to import; most databases are up to date
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent))
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    if found is not None and found not in known:
        raise StoreError(
            f"the annotation database has version {found}, this umc_ray speaks {HEAD}: "
            "use the umc_ray that wrote it, or a newer one"
        )
    command.upgrade(config, "head")


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found
