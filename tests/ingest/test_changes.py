import logging

import pytest

from tests.ingest.test_ingest import DOMAIN, backwards, campaign
from umc_ray.ingest import ingest as ingest_module
from umc_ray.ingest.changes import files_read, shared_files
from umc_ray.ingest.ingest import ingest
from umc_ray.records import DomainKey
from umc_ray.storage import Storage

ROWS = '{"text": "one"}\n{"text": "two"}\n'


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(ingest_module, "stream", backwards)
    (tmp_path / "data").mkdir()
    for name in ("a", "b"):
        (tmp_path / f"data/{name}.jsonl").write_text(ROWS.replace("one", name))
    return campaign({"source": f"{tmp_path}/data/*.jsonl", "text": "text"}, backend="sheet")


def said(config, tmp_path, caplog):
    """Start again; returns the warnings."""
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        manifest = ingest(config, DOMAIN, "pool", Storage(str(tmp_path / "run")))
    assert manifest.rows == 3  # whatever changed, the pool is what was read
    return [record.getMessage() for record in caplog.records]


def test_nothing_is_said_of_sources_that_are_as_they_were(config, tmp_path, caplog):
    assert said(config, tmp_path, caplog) == []
    assert said(config, tmp_path, caplog) == []


def test_what_sources_gained_and_lost_is_said_at_each_start(config, tmp_path, caplog):
    said(config, tmp_path, caplog)
    (tmp_path / "data/c.jsonl").write_text(ROWS)
    (tmp_path / "data/a.jsonl").write_text(ROWS + '{"text": "appended"}\n')
    (tmp_path / "data/b.jsonl").unlink()
    for _ in range(2):
        new, changed, gone = said(config, tmp_path, caplog)
        assert new.startswith(f"{DOMAIN} pool: source files new and not in the pool; to add them, ")
        assert new.endswith(f": {tmp_path}/data/c.jsonl")
        assert "changed since they were read" in changed
        assert changed.endswith(f": {tmp_path}/data/a.jsonl")
        assert gone.endswith(f"gone; the pool keeps what was read: {tmp_path}/data/b.jsonl")


def test_sources_that_moved_are_the_same(config, tmp_path, caplog):
    said(config, tmp_path, caplog)
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    (line,) = said(config, tmp_path, caplog)
    assert "does not exist" in line or "matches no file" in line
    moved = campaign({"source": f"{tmp_path}/elsewhere/*.jsonl", "text": "text"}, backend="sheet")
    assert said(moved, tmp_path, caplog) == []
    (tmp_path / "elsewhere/a.jsonl").write_text(ROWS * 2)
    (line,) = said(moved, tmp_path, caplog)
    assert line.endswith("changed since they were read; the pool keeps what was read: a.jsonl")


def test_another_source_is_never_ignored(config, tmp_path, caplog):
    said(config, tmp_path, caplog)
    (tmp_path / "more.jsonl").write_text(ROWS)
    sources = [f"{tmp_path}/data/a.jsonl", f"{tmp_path}/more.jsonl"]
    other = campaign({"source": sources, "text": "text"}, backend="sheet")
    new, gone = said(other, tmp_path, caplog)
    assert "new and not in the pool" in new
    assert new.endswith("more.jsonl")
    assert "gone" in gone
    assert gone.endswith("b.jsonl")


def test_files_that_two_domains_were_read_from_are_found_in_the_run_directory(config, tmp_path):
    storage = Storage(str(tmp_path / "run"))
    ingest(config, DOMAIN, "pool", storage)
    read = files_read(storage, "pool", str(DOMAIN))
    assert read == [f"{tmp_path}/data/a.jsonl", f"{tmp_path}/data/b.jsonl"]
    domain, again, more = config.domains()[DOMAIN], DomainKey("task", "x"), DomainKey("more", "x")
    files = {DOMAIN: read, again: [read[1]], more: read}
    (line,) = shared_files(dict.fromkeys(files, domain), files)
    assert line.startswith(f"task/domain and task/x both read {tmp_path}/data/b.jsonl: each sample")
