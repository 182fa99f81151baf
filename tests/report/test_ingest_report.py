"""What `umc status` says of the sources."""

from tests.ingest.test_ingest import DOMAIN, backwards, campaign, texts, write_rows
from umc_ray.ingest import ingest as ingest_module
from umc_ray.ingest.ingest import ingest
from umc_ray.report.ingest_report import ingest_lines
from umc_ray.storage import Storage


def test_quarantine_and_notes_are_told_for_what_is_ingested(tmp_path, monkeypatch):
    monkeypatch.setattr(ingest_module, "stream", backwards)
    rows = [("a", "no"), ("b", "NO"), ("c", "No"), ("d", "NO"), ("e", "?"), (" ", "no"), ("", "no")]
    source = str(write_rows(tmp_path / "a.jsonl", rows))
    config, storage = campaign(texts(source, test=source)), Storage(str(tmp_path / "run"))
    assert ingest_lines(storage, config) == []
    ingest(config, DOMAIN, "test", storage)
    assert ingest_lines(storage, config) == [
        "task/domain test: 3 rows in quarantine: 2 x blank text, 1 x unknown label",
        "task/domain test: 2 x label 'NO' read as 'no'",
        "task/domain test: 1 x label 'No' read as 'no'",
    ]
