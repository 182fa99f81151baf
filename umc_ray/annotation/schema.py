"""The tables of the annotation store, and the function that opens its database.

questions   one row per campaign, task and sample to annotate
events      what annotators and reviewers did, in order; append-only
leases      which annotator holds which question, and until when
assignments which question is reserved for which person
skills      which domains people are asked about
accounts    user names, roles and password hashes
keys        digests of browser sessions and API tokens
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
    Select,
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
    true,
)
from sqlalchemy.exc import ArgumentError, DBAPIError

from umc_ray.annotation.migrations.upgrade import upgrade
from umc_ray.atomic import make_private, others_can_read
from umc_ray.errors import StoreError

BUSY_TIMEOUT_S = 60  # how long to wait for the SQLite write lock or for a free connection
CONNECTIONS = 16  # size of the connection pool

METADATA = MetaData()
ROW_ID = BigInteger().with_variant(Integer, "sqlite")  # SQLite autoincrements only INTEGER keys

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
    Column("given", Integer, nullable=False, default=0),  # number of effective answers
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

# Kinds of events: answer, and extra where nobody needed one any more; undo; the remarks flag and
# note; of reviewers review, reopen (their undo), and reask.
EVENTS = Table(
    "events",
    METADATA,
    Column("id", ROW_ID, primary_key=True),
    Column("question_id", ROW_ID, ForeignKey("questions.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("annotator", Text, nullable=False),
    Column("client_key", Text, nullable=False),
    Column("label", Text),
    Column("reason", Text),  # of a skip or a flag; the text of a note
    Column("seconds", Float),  # active working time, measured by the page
    Column("held_s", Float),  # from claim to answer, measured by the store
    Column("late", Boolean, nullable=False, default=False),  # the lease had expired
    Column("guideline", Text),  # version of the guidelines that were shown
    Column("seen", Boolean),  # whether the model's suggestion was shown
    Column("bulk", Text),  # name of the group that was answered as a whole
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

REVIEWER = "review/"
"""Before the name of a reviewer who holds a case; names of accounts have no slash."""

ASSIGNMENTS = Table(
    "assignments",
    METADATA,
    Column("question_id", ROW_ID, ForeignKey("questions.id"), primary_key=True),
    Column("annotator", Text, primary_key=True),
    Column("assigned_by", Text, nullable=False),
    Column("assigned_at", Float, nullable=False),
)
Index("assignments_annotator", ASSIGNMENTS.c.annotator)

SKILLS = Table(
    "skills",
    METADATA,
    Column("campaign", Text, primary_key=True),
    Column("annotator", Text, primary_key=True),
    Column("domains", JSON, nullable=False),  # task/domain; none: all
)

ACCOUNTS = Table(
    "accounts",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("password", Text, nullable=False),  # argon2 hash
    Column("active", Boolean, nullable=False, default=True),
    Column("created_at", Float, nullable=False),
)

KEYS = Table(
    "keys",
    METADATA,
    Column("digest", Text, primary_key=True),  # the key itself is not stored
    Column("account", Text, ForeignKey("accounts.name"), nullable=False),
    Column("kind", Text, nullable=False),  # session, token, invitation
    Column("expires_at", Float),
    Column("created_at", Float),
)
Index("keys_account", KEYS.c.account)


@cache  # building the expression takes as long as running the query
def effective() -> ColumnElement[bool]:
    """Return the condition for answers that count: neither undone nor replaced by their author."""
    return and_(EVENTS.c.kind == "answer", ~_superseded_by("answer", "undo"))


def answered_by(annotator: str) -> ColumnElement[bool]:
    """Return the condition for questions that a person has answered."""
    own = EVENTS.c.question_id == QUESTIONS.c.id, EVENTS.c.annotator == annotator
    return exists().where(*own, effective())


@cache
def standing() -> ColumnElement[bool]:
    """Return the condition for answers that stand: those that count, and extra ones."""
    own = EVENTS.c.kind.in_(("answer", "extra"))
    return and_(own, ~_superseded_by("answer", "extra", "undo"))


def of_kind(kind: str) -> ColumnElement[bool]:
    """Return the condition for events of a kind: of extra answers and reviews, those that stand."""
    stands = {"extra": standing(), "review": ~_superseded_by("reopen")}.get(kind, true())
    return and_(EVENTS.c.kind == kind, stands)


def _superseded_by(*kinds: str) -> ColumnElement[bool]:
    """Return the condition for events after which their author did something else."""
    later = EVENTS.alias("later")
    return exists().where(
        later.c.question_id == EVENTS.c.question_id,
        later.c.annotator == EVENTS.c.annotator,
        later.c.id > EVENTS.c.id,
        later.c.kind.in_(kinds),
    )


def events_with_questions() -> Select[Any]:
    """Select events joined with their questions; the column `id` is the question's."""
    event_columns = [column for column in EVENTS.c if column.name != "id"]
    return select(QUESTIONS, *event_columns).join(EVENTS, EVENTS.c.question_id == QUESTIONS.c.id)


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
        except DBAPIError as error:
            masked = engine.url.render_as_string()  # without the password
            raise StoreError(f"cannot open annotation database {masked}: {error.orig}") from error
        on_failure.pop_all()
    return engine


def lock_campaign(connection: Connection, campaign: str) -> None:
    """Block other submissions to a campaign until the transaction ends."""
    if connection.dialect.name == "postgresql":  # SQLite allows one writer at a time anyway
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(campaign))))


def _engine(url: str) -> Engine:
    target = make_url(url)
    pool = {"pool_size": CONNECTIONS, "max_overflow": 0, "pool_timeout": BUSY_TIMEOUT_S}
    if target.get_backend_name() != "sqlite":
        return create_engine(target, pool_pre_ping=True, **pool)
    if target.database in (None, "", ":memory:"):
        pool = {}
    else:
        _make_file(Path(str(target.database)).absolute())
    engine = create_engine(target, connect_args={"timeout": BUSY_TIMEOUT_S}, **pool)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_file(path: Path) -> None:
    """Create the file of a database, which holds digests of passwords, for its owner alone.

    Raises:
        StoreError: everybody on this machine can read it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    make_private(path)
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


def _begin_sqlite(connection: Connection) -> None:
    reads_only = connection.get_execution_options().get("reads_only", False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")
