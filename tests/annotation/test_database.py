import sqlite3
from contextlib import closing

import pytest

from umc_ray.annotation import database
from umc_ray.annotation.store import AnnotationStore, Question
from umc_ray.errors import StoreError

QUESTIONS = [Question("camp", 1, "tone", "mail", i) for i in range(2000)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "labels.db"


@pytest.fixture
def store(path):
    store = AnnotationStore(f"sqlite:///{path}")
    store.submit(QUESTIONS[:3])
    yield store
    store.close()


def test_a_full_disk_says_what_is_saved_and_what_to_do(store, path):
    with store.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        connection.rollback()
    with pytest.raises(StoreError) as raised:
        store.submit(QUESTIONS)
    assert str(raised.value) == (
        f"annotation database sqlite:///{path}: database or disk is full; what was acknowledged "
        "before is stored, and nothing of this step: free some space and run again"
    )
    assert isinstance(raised.value.__cause__, sqlite3.OperationalError)
    assert store.progress("camp") == (0, 3)


def test_a_damaged_database_is_named_when_it_is_opened(store, path):
    store.close()
    content = bytearray(path.read_bytes())
    content[:16] = b"no database here"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=rf"cannot open .*{path}: file is not a database.*restore"):
        AnnotationStore(f"sqlite:///{path}")


def test_a_damaged_page_is_named_when_it_is_read(store, path):
    store.submit(QUESTIONS)
    store.close()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreError, match=rf"annotation database .*{path}: .*malformed.*put a copy"):
        AnnotationStore(f"sqlite:///{path}").questions("camp")


def test_tables_that_are_gone_are_an_error_of_the_store(store):
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE events")
    with pytest.raises(StoreError, match=r"no such table: events.*when the database answers"):
        store.answers("camp")


@pytest.fixture
def read_only(monkeypatch):
    """A disk that can only be read; root may write wherever the rights forbid it."""
    monkeypatch.setattr(database.os, "access", lambda path, mode: False)


def test_a_database_on_a_disk_that_can_only_be_read_is_read(store, path, read_only):
    store.close()
    with closing(AnnotationStore(f"sqlite:///{path}")) as again:
        assert again.progress("camp") == (0, 3)
        assert [each.name for each in path.parent.iterdir()] == [path.name]
        with pytest.raises(StoreError, match=r"readonly.*make the file and its folder writable"):
            again.submit(QUESTIONS)


def test_what_a_process_has_written_and_not_yet_moved_into_the_file_is_read(store, path, read_only):
    store.submit(QUESTIONS)
    assert path.with_name("labels.db-wal").stat().st_size > 0
    with closing(AnnotationStore(f"sqlite:///{path}")) as other:
        assert other.progress("camp") == (0, len(QUESTIONS))


def test_a_database_that_cannot_be_opened_says_where_to_look(path):
    path.symlink_to(path.parent / "gone" / "labels.db")
    with pytest.raises(StoreError, match=r"unable to open database file.*look whether"):
        AnnotationStore(f"sqlite:///{path}")
