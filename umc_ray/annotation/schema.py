"""The tables of the annotation store, and how its database is opened.

questions   what people are asked, once per campaign, task and sample
events      what people did, in order; rows are only ever added
leases      who has which question on their screen, and until when
accounts    who may work here, and as what
keys        what accounts show instead of a password: sessions of browsers, tokens of programs
"""

from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
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
    and_,
    create_engine,
    event,
    exists,
    false,
    func,
    make_url,
    select,
)
from sqlalchemy.exc import ArgumentError, DBAPIError

from umc_ray.annotation.migrations.upgrade import upgrade
from umc_ray.errors import StoreError

BUSY_TIMEOUT_S = 60  # for the other writers of an SQLite file, or for a free connection
CONNECTIONS = 16  # at a time, kept open

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
    Column("gold", Text),
    Column("hide_prediction", Boolean, nullable=False),
    Column("given", Integer, nullable=False, default=0),  # answers that stand
    Column("closed", Boolean, nullable=False, default=False),
    UniqueConstraint("campaign", "task", "sample_id", name="questions_sample"),
)
OPEN = and_(
    QUESTIONS.c.given < QUESTIONS.c.votes,
    QUESTIONS.c.closed == false(),
    QUESTIONS.c.gold.is_(None),
)
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
    Column("kind", Text, nullable=False),  # answer, undo, flag, note, review
    Column("annotator", Text, nullable=False),
    Column("client_key", Text, nullable=False),
    Column("label", Text),
    Column("reason", Text),  # of a skip or a flag; the text of a note
    Column("seconds", Float),  # of active work, measured by the page
    Column("held_s", Float),  # from claim to answer, measured here
    Column("late", Boolean, nullable=False, default=False),  # its lease had run out
    Column("guideline", Text),  # version of the guidelines on the screen
    Column("seen", Boolean),  # the model's suggestion was on the screen
    Column("bulk", Text),  # the group that was answered as a whole
    Column("submitted_at", Float, nullable=False),  # seconds since 1970
    UniqueConstraint("client_key", name="events_client_key"),
)
Index("events_question", EVENTS.c.question_id, EVENTS.c.annotator, EVENTS.c.id)
Index("events_annotator", EVENTS.c.annotator, EVENTS.c.id)

LEASES = Table(
    "leases",
    METADATA,
    Column("question_id", ROW_ID, ForeignKey("questions.id"), primary_key=True),
    Column("annotator", Text, primary_key=True),
    Column("claimed_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
)

ACCOUNTS = Table(
    "accounts",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("password", Text, nullable=False),  # its argon2 hash
    Column("active", Boolean, nullable=False, default=True),
    Column("created_at", Float, nullable=False),
)

KEYS = Table(
    "keys",
    METADATA,
    Column("digest", Text, primary_key=True),  # the key itself is nowhere
    Column("account", Text, ForeignKey("accounts.name"), nullable=False),
    Column("kind", Text, nullable=False),  # session, token
    Column("expires_at", Float),
)
Index("keys_account", KEYS.c.account)


@cache  # to put it together takes as long as to ask the database
def standing() -> ColumnElement[bool]:
    """Tell the answers that count: not undone, and not replaced by the same person."""
    later = EVENTS.alias("later")
    replaced = exists().where(
        later.c.question_id == EVENTS.c.question_id,
        later.c.annotator == EVENTS.c.annotator,
        later.c.id > EVENTS.c.id,
        later.c.kind.in_(("answer", "undo")),
    )
    return and_(EVENTS.c.kind == "answer", ~replaced)


def open_database(url: str) -> Engine:
    """Open the database of an SQLAlchemy URL and bring its tables up to date.

    Writing transactions on SQLite take the write lock when they begin, so none fails half way.

    Raises:
        StoreError: not a URL, a database that cannot be opened, or one of a newer version.
    """
    try:
        engine = _engine(url)
    except (ArgumentError, ImportError) as error:
        raise StoreError(f"{url!r} does not name an annotation database: {error}") from error
    with ExitStack() as on_failure:
        on_failure.callback(engine.dispose)
        try:
            with engine.begin() as connection:
                lock_campaign(connection, "schema")
                upgrade(connection)
        except DBAPIError as error:
            shown = engine.url.render_as_string()  # without the password
            raise StoreError(f"cannot open annotation database {shown}: {error.orig}") from error
        on_failure.pop_all()
    return engine


def lock_campaign(connection: Connection, campaign: str) -> None:
    """Keep others from asking for a campaign until the transaction ends."""
    if connection.dialect.name == "postgresql":  # SQLite lets one write at a time anyway
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(campaign))))


def _engine(url: str) -> Engine:
    target = make_url(url)
    pool = {"pool_size": CONNECTIONS, "max_overflow": 0, "pool_timeout": BUSY_TIMEOUT_S}
    if target.get_backend_name() != "sqlite":
        return create_engine(target, pool_pre_ping=True, **pool)
    if target.database in (None, "", ":memory:"):
        pool = {}
    else:
        Path(str(target.database)).absolute().parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(target, connect_args={"timeout": BUSY_TIMEOUT_S}, **pool)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
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
