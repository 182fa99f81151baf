"""The tables of the annotation store, and how its database is opened.

questions   what people are asked, once per campaign, task and sample
events      what people did, in order; rows are only ever added
"""

from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.exc import ArgumentError

from umc_ray.errors import StoreError

BUSY_TIMEOUT_S = 60  # how long a writer waits for the other writers of an SQLite file

METADATA = MetaData()
ROW_ID = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers only INTEGER keys by itself

QUESTIONS = Table(
    "questions",
    METADATA,
    Column("id", ROW_ID, primary_key=True),
    Column("campaign", Text, nullable=False),
    Column("round", Integer, nullable=False),
    Column("task", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("sample_id", BigInteger, nullable=False),
    Column("votes", Integer, nullable=False),
    Column("priority", Float, nullable=False),
    Column("why", Text, nullable=False),
    Column("payload", JSON, nullable=False),
    Column("given", Integer, nullable=False, default=0),  # answers in events that count
    UniqueConstraint("campaign", "task", "sample_id"),
)
OPEN = QUESTIONS.c.given < QUESTIONS.c.votes
Index(
    "questions_open",
    QUESTIONS.c.campaign,
    QUESTIONS.c.priority.desc(),
    QUESTIONS.c.id,
    sqlite_where=OPEN,
    postgresql_where=OPEN,
)

EVENTS = Table(
    "events",
    METADATA,
    Column("id", ROW_ID, primary_key=True),
    Column("question_id", ROW_ID, ForeignKey("questions.id"), nullable=False),
    Column("kind", Text, nullable=False),  # answer
    Column("annotator", Text, nullable=False),
    Column("client_key", Text, nullable=False, unique=True),
    Column("label", Text),
    Column("reason", Text),
    Column("seconds", Float),
    Column("submitted_at", Float, nullable=False),
)
Index("events_question", EVENTS.c.question_id, EVENTS.c.annotator, EVENTS.c.id)


def open_database(url: str) -> Engine:
    """Open the database of an SQLAlchemy URL and create what is missing in it.

    Writing transactions on SQLite take the write lock when they begin, so none fails half way.

    Raises:
        StoreError: not a URL, or a database that cannot be opened.
    """
    try:
        target = make_url(url)
        if target.get_backend_name() != "sqlite":
            engine = create_engine(target, pool_pre_ping=True)
        else:
            if target.database not in (None, "", ":memory:"):
                Path(str(target.database)).absolute().parent.mkdir(parents=True, exist_ok=True)
            engine = create_engine(target, connect_args={"timeout": BUSY_TIMEOUT_S})
            event.listen(engine, "connect", _set_up_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
    except (ArgumentError, ImportError) as error:
        raise StoreError(f"cannot open annotation database {url!r}: {error}") from error
    with engine.begin() as connection:
        METADATA.create_all(connection)
    return engine


def _set_up_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - sqlite3's own
    """Keep every acknowledged answer through a power cut, and let readers read while one writes."""
    connection.isolation_level = None  # this module begins transactions, not the driver
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get("reads_only", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
