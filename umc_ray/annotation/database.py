"""Open the database of an annotation store; what goes wrong with it later is a StoreError, too."""

import os
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError, DBAPIError

from umc_ray.annotation.migrations.upgrade import upgrade
from umc_ray.annotation.schema import lock_campaign
from umc_ray.atomic import make_private, others_can_read
from umc_ray.errors import StoreError

BUSY_TIMEOUT_S = 60  # how long to wait for the SQLite write lock or for a free connection
CONNECTIONS = 16  # size of the connection pool
MEMORY = ":memory:"

SAVED = "what was acknowledged before is stored, and nothing of this step"

REMEDIES = (
    ("full", "free some space and run again"),
    ("malformed", "put a copy back, or move it away and have umc restore-answers rebuild it"),
    ("not a database", "put a copy back, or move it away and have umc restore-answers rebuild it"),
    ("locked", "another process holds it: run again when that has ended"),
    ("readonly", "make the file and its folder writable, and run again"),
    ("unable to open", "look whether its folder is there, and who may read and write in it"),
)
"""What to do, by a word of the database's message."""


def open_database(url: str) -> Engine:
    """Open the database at an SQLAlchemy URL and migrate its tables to the current version.

    On SQLite a write transaction takes the write lock when it begins, so it cannot fail midway.

    Raises:
        StoreError: the URL is invalid, the database cannot be opened, or a newer umc_ray wrote it.
    """
    try:
        engine = _engine(url)
    except (ArgumentError, ImportError) as error:
        raise StoreError(
            f"{url!r} is not the URL of an annotation database, such as "
            f"sqlite:////runs/labels.db: {error}"
        ) from error
    with ExitStack() as on_failure:
        on_failure.callback(engine.dispose)
        try:
            with engine.begin() as connection:
                lock_campaign(connection, "schema")
                upgrade(connection)
        except (DBAPIError, StoreError) as error:
            said = error if isinstance(error, StoreError) else _error(engine, error.orig)
            raise StoreError(f"cannot open annotation database: {said}") from error
        on_failure.pop_all()
    event.listen(engine, "handle_error", _as_store_error)
    return engine


def file_of(url: str) -> Path | None:
    """Return the file of an SQLite database; None of any other one, and of what is no URL."""
    try:
        target = make_url(url)
    except ArgumentError:
        return None
    is_file = target.get_backend_name() == "sqlite" and target.database not in (None, "", MEMORY)
    return Path(str(target.database)).absolute() if is_file else None


def _engine(url: str) -> Engine:
    target = make_url(url)
    pool = {"pool_size": CONNECTIONS, "max_overflow": 0, "pool_timeout": BUSY_TIMEOUT_S}
    if target.get_backend_name() != "sqlite":
        return create_engine(target, pool_pre_ping=True, **pool)
    path, begin = file_of(url), "BEGIN IMMEDIATE"
    if path is None:
        pool = {}
    else:
        _make_file(path)
        if _is_read_only(path):
            target, begin = (
                make_url(f"sqlite:///file:{quote(str(path))}?{_as_it_is(path)}"),
                "BEGIN",
            )
    engine = create_engine(target, connect_args={"timeout": BUSY_TIMEOUT_S}, **pool)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", partial(_begin_sqlite, begin=begin))
    return engine


def _is_read_only(path: Path) -> bool:
    """Whether nothing can be written, as in a backup: then a database can still be read."""
    return not all(os.access(each, os.W_OK) for each in (path, path.parent))


def _as_it_is(path: Path) -> str:
    """Return the name by which SQLite writes nothing beside a file, unless it is in use."""
    log = Path(f"{path}-wal")
    is_in_use = log.exists() and log.stat().st_size > 0
    return f"file:{quote(str(path))}?mode=ro&uri=true{'' if is_in_use else '&immutable=1'}"


def _make_file(path: Path) -> None:
    """Create the file of a database, which holds digests of passwords, for its owner alone.

    Raises:
        StoreError: it cannot be made, or everybody on this machine can read it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        make_private(path)
    except OSError as error:
        raise StoreError(f"cannot make annotation database {path}: {error.strerror}") from error
    if path.is_dir():
        raise StoreError(
            f"cannot open annotation database: {path} is a folder: name a file, or move it away"
        )
    if others_can_read(path):
        raise StoreError(
            f"everybody on this machine can read {path}, which has answers and digests of "
            f"passwords: chmod 600 {path}"
        )


def _set_up_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - untyped DBAPI
    """Make acknowledged answers survive a power failure and allow reads during a write."""
    connection.isolation_level = None  # transactions are begun here, not by the driver
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection, begin: str) -> None:
    reads_only = connection.get_execution_options().get("reads_only", False)
    connection.exec_driver_sql("BEGIN" if reads_only else begin)


def _as_store_error(context: ExceptionContext) -> StoreError | None:
    """Return what is raised in the place of a database's error; a lost connection is replaced."""
    if context.is_pre_ping or context.engine is None:
        return None
    return _error(context.engine, context.original_exception)


def _error(engine: Engine, error: BaseException | None) -> StoreError:
    message = " ".join(str(error).split())
    remedies = (advice for word, advice in REMEDIES if word in message)
    remedy = next(remedies, "run again when the database answers")
    masked = engine.url.render_as_string()  # without the password
    return StoreError(f"annotation database {masked}: {message}; {SAVED}: {remedy}")
