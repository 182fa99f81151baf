from contextlib import closing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from umc_ray.annotation.migrations import upgrade
from umc_ray.annotation.schema import METADATA
from umc_ray.annotation.store import AnnotationStore, Question
from umc_ray.errors import StoreError


def test_the_migrations_create_exactly_the_tables_of_the_code(store):
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
        assert context.get_current_revision() == upgrade.HEAD
        (index,) = [
            each for each in inspect(connection).get_indexes("questions") if "open" in each["name"]
        ]
    options = index["dialect_options"]
    assert any("given < votes" in str(condition) for condition in options.values())


def test_reopening_a_database_keeps_its_content(url, store):
    store.submit([Question("camp", 1, "tone", "mail", 1)])
    with closing(AnnotationStore(url)) as again:
        assert again.progress("camp") == (0, 1)


def test_a_database_of_a_newer_version_is_rejected(url, store):
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="schema version 9999, but this umc_ray"):
        AnnotationStore(url)


def test_a_failed_migration_is_rolled_back(sqlite_url, url, tmp_path):
    engine = create_engine(url)
    if url == sqlite_url:
        (tmp_path / "run").mkdir()
        (tmp_path / "run/labels.db").touch(0o600)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE leases (mine INTEGER)"))
    with pytest.raises(StoreError, match="cannot open annotation database"):
        AnnotationStore(url)
    assert inspect(engine).get_table_names() == ["leases"]
    engine.dispose()
