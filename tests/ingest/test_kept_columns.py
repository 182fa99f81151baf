"""Columns that a domain keeps, from its sources to the pool, with their types."""

import datetime
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.ingest.test_ingest import DOMAIN, backwards, campaign, table_of
from umc_ray.errors import ConfigError, DataError
from umc_ray.ingest import ingest as ingest_module
from umc_ray.ingest.ingest import ingest
from umc_ray.ingest.kept_columns import joined, kept_table
from umc_ray.records import POOL
from umc_ray.storage import Storage

NOON = datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC)


@pytest.fixture(autouse=True)
def in_process(monkeypatch):
    monkeypatch.setattr(ingest_module, "stream", backwards)


def kept_of(folder, config):
    storage = Storage(str(folder / "run"))
    manifest = ingest(config, DOMAIN, "pool", storage)
    return joined([storage.read_table(part.key("kept")) for part in manifest.parts]), manifest


def body(path, *keep):
    return {"source": str(path), "text": "body", "keep": list(keep)}


def test_kept_columns_of_parquet_have_their_types_in_every_part(tmp_path):
    count = 30
    columns = {
        "body": [f"text {i}" for i in range(count)],
        "row": list(range(count)),
        "share": [i / 2 for i in range(count)],
        "is_new": [i % 2 == 0 for i in range(count)],
        "when": pa.array([NOON] * count, pa.timestamp("ms", "UTC")),
        "tags": [["a"], []] * (count // 2),
        "author": [None] * (count - 1) + ["Ann"],
        "unused": [0] * count,
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    names = ["row", "share", "is_new", "when", "tags", "author"]
    config = campaign(body(tmp_path / "a.parquet", *names), backend="sheet", rows_per_part=7)
    kept, manifest = kept_of(tmp_path, config)
    assert len(manifest.parts) == 5
    assert dict(zip(kept.column_names, kept.schema.types, strict=True)) == {
        "row": pa.int64(),
        "share": pa.float64(),
        "is_new": pa.bool_(),
        "when": pa.timestamp("us", "UTC"),
        "tags": pa.list_(pa.string()),
        "author": pa.string(),
    }
    assert kept.to_pydict() == {name: pa.table(columns)[name].to_pylist() for name in names}


def test_csv_columns_are_text_and_duplicates_keep_the_values_of_the_first(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("body,code\none,007\ntwo,08\none,9\n")
    kept, manifest = kept_of(tmp_path, campaign(body(path, "code"), backend="sheet"))
    assert (manifest.rows, manifest.duplicates) == (2, 1)
    assert kept.to_pydict() == {"code": ["007", "08"]}


def test_values_without_a_common_type_are_text(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [{"body": "one", "x": 1, "y": {"a": [1]}}, {"body": "two", "x": "1", "y": True}]
    path.write_text("\n".join(map(json.dumps, [*rows, {"body": "three", "y": None}])))
    kept, manifest = kept_of(tmp_path, campaign(body(path, "x", "y"), backend="sheet"))
    assert kept.to_pydict() == {"x": ["1", "1", None], "y": ['{"a": [1]}', "true", None]}
    (note,) = manifest.notes
    assert str(note) == "1 x no 'x', which the domain keeps"


def test_numbers_in_one_part_and_fractions_in_another_are_fractions():
    tables = [kept_table(["x"], [[value]]) for value in (None, 1, 2.5)]
    assert joined(tables).to_pydict() == {"x": [None, 1.0, 2.5]}
    assert joined([*tables, kept_table(["x"], [["?"]])])["x"].to_pylist() == [None, "1", "2.5", "?"]


def test_a_kept_column_that_a_table_lacks_is_an_error(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("body,Author\none,Ann\n")
    with pytest.raises(DataError, match="no column 'author'; it has body, Author; did you mean"):
        kept_of(tmp_path, campaign(body(path, "author"), backend="sheet"))


def test_image_files_have_no_columns_to_keep(tmp_path):
    config = campaign({"source": str(tmp_path), "keep": ["author"]}, backend="sheet")
    with pytest.raises(ConfigError, match=r"image files have no columns .*label or keep"):
        kept_of(tmp_path, config)


def test_the_pool_is_the_same_with_and_without_kept_columns(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("body,code\n" + "".join(f"text {i},{i}\n" for i in range(30)))
    pools = []
    for name, keep in (("with", ["code"]), ("without", [])):
        storage = Storage(str(tmp_path / name))
        manifest = ingest(campaign(body(path, *keep), backend="sheet"), DOMAIN, "pool", storage)
        pools.append((manifest, table_of(storage, manifest, "pool", POOL)))
        assert bool(storage.keys("kept")) == bool(keep)
    assert pools[0] == pools[1]
