"""Groups of samples, from the columns of a source."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.ingest.test_ingest import DOMAIN, backwards, campaign
from umc_ray.errors import DataError
from umc_ray.ingest import ingest as ingest_module
from umc_ray.ingest.groups import MISSING, count_groups, read_groups
from umc_ray.ingest.ingest import ingest
from umc_ray.ingest.manifest import is_ingested, load_manifest
from umc_ray.records import POOL
from umc_ray.storage import Storage


@pytest.fixture(autouse=True)
def in_process(monkeypatch):
    monkeypatch.setattr(ingest_module, "stream", backwards)


def brought_in(folder, domain, split="pool"):
    storage = Storage(str(folder / "run"))
    backend = "replay" if "label" in domain else "sheet"
    return storage, ingest(campaign(domain, backend=backend), DOMAIN, split, storage).parts


def domain(path, *groups, **more):
    return {"source": str(path), "text": "body", "groups": list(groups), **more}


def test_groups_are_texts_beside_the_samples_and_missing_values_are_a_group(tmp_path):
    rows = [
        {"body": "one", "sex": "f ", "smokes": True, "ward": 3.0},
        {"body": "two", "sex": "", "smokes": None, "ward": 4.0},
        {"body": "three"},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    storage, (part,) = brought_in(tmp_path, domain(tmp_path / "a.jsonl", "sex", "smokes", "ward"))
    assert {
        name: found.tolist() for name, found in read_groups(storage, part, ["sex"]).items()
    } == {"sex": ["f", MISSING, MISSING]}
    assert count_groups(storage, [part], ["smokes", "ward"]) == {
        ("true", "3"): 1,
        (MISSING, "4"): 1,
        (MISSING, MISSING): 1,
    }
    assert storage.read_table(part.key("pool")).schema.names == POOL.names


def test_a_column_of_kept_ones_is_stored_once(tmp_path):
    pq.write_table(pa.table({"body": ["one"], "sex": ["f"], "url": ["u"]}), tmp_path / "a.parquet")
    given = domain(tmp_path / "a.parquet", "sex", keep=["url", "sex"])
    storage, (part,) = brought_in(tmp_path, given)
    assert storage.read_schema(part.key("kept")).names == ["url", "sex"]


def test_groups_of_tests_must_be_there(tmp_path):
    (tmp_path / "pool.csv").write_text("body,sex,y\none,f,yes\n")
    (tmp_path / "test.csv").write_text("body,y\ntwo,yes\n")
    given = domain(tmp_path / "pool.csv", "sex", label="y", test=str(tmp_path / "test.csv"))
    with pytest.raises(DataError, match="has no column 'sex'; it has body, y"):
        brought_in(tmp_path, given, "test")
    (tmp_path / "test.csv").write_text("body,sex,y\ntwo,m,yes\n")
    storage, (part,) = brought_in(tmp_path, given, "test")
    assert read_groups(storage, part, ["sex"])["sex"].tolist() == ["m"]


def test_a_target_set_needs_groups_and_no_labels(tmp_path):
    (tmp_path / "pool.csv").write_text("body,sex,y\none,f,yes\n")
    (tmp_path / "target.csv").write_text("body,sex,y\none,f,\ntwo,m,odd\n,,\n")
    given = domain(tmp_path / "pool.csv", "sex", label="y", target=str(tmp_path / "target.csv"))
    storage, (part,) = brought_in(tmp_path, given, "target")
    assert storage.read_table(part.key("pool"))["text"].to_pylist() == ["one", "two"]
    assert not storage.exists(part.key("oracle"))
    assert load_manifest(storage, DOMAIN, "target").reasons == {"blank text": 1}
    assert campaign(given).domains()[DOMAIN].splits == ("pool", "target")
    _, (pool,) = brought_in(tmp_path, given)  # what is in both stays in both
    assert pool.rows == 1


def test_amounts_are_no_groups_and_bind_no_run(tmp_path):
    columns = {"body": [f"text {i}" for i in range(60)], "age": range(60), "sex": ["f", "m"] * 30}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"'age' has 60 values, such as 0, 1, 10, .* age_band"):
        brought_in(tmp_path, domain(tmp_path / "a.parquet", "sex", "age"))
    assert not is_ingested(Storage(str(tmp_path / "run")), DOMAIN)  # so the file may be mended
    storage, parts = brought_in(tmp_path, domain(tmp_path / "a.parquet", "sex"))
    assert count_groups(storage, parts, ["sex"]) == {("f",): 30, ("m",): 30}
