"""Rows of a table as texts, from a file to the pool."""

import datetime
import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ingest.test_ingest import DOMAIN, backwards, campaign, pool_of, quarantine_of
from umc_ray.encoders.table import parse_row
from umc_ray.errors import DataError
from umc_ray.ingest import ingest as ingest_module
from umc_ray.ingest.ingest import ingest
from umc_ray.ingest.sources import BadRow
from umc_ray.ingest.table_rows import row_text
from umc_ray.storage import Storage


@pytest.fixture
def in_process(monkeypatch):
    monkeypatch.setattr(ingest_module, "stream", backwards)


def read(folder, path, columns):
    storage = Storage(str(folder / "run"))
    config = campaign({"source": str(path), "columns": columns}, backend="sheet")
    manifest = ingest(config, DOMAIN, "pool", storage)
    texts = [row["text"] for row in pool_of(storage, manifest)]
    return texts, [row["reason"] for row in quarantine_of(storage)]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (39, "n: 39"),
        (39.0, "n: 39"),
        (0.1, "n: 0.1"),
        (float(pa.scalar(0.1, pa.float32()).as_py()), "n: 0.1"),
        (1e300, "n: 1e+300"),
        (True, "n: True"),
        (Decimal("1.50"), "n: 1.50"),
        (datetime.date(2024, 2, 1), "n: 2024-02-01"),
        ("two\r\nlines\u2028or three", "n: two lines or three"),
        (" spaces ", "n: spaces"),
    ],
)
def test_a_value_is_a_line(value, shown):
    assert row_text(["n"], {"n": value}) == shown


@pytest.mark.parametrize("missing", [None, float("nan"), "", " \n"])
def test_a_missing_value_is_an_empty_one(missing):
    assert row_text(["b", "a"], {"a": 1, "b": missing, "c": 2}) == "b:\na: 1"
    with pytest.raises(BadRow, match="no value in b, c"):
        row_text(["b", "c"], {"a": 1, "b": missing})


def test_a_list_does_not_fit_in_a_line():
    with pytest.raises(BadRow, match="column a is list"):
        row_text(["a"], {"a": [1, 2]})


@given(st.dictionaries(st.from_regex(r"[a-z][a-z .(%-]{0,8}[a-z]", fullmatch=True), st.text()))
def test_what_is_written_is_read_back(values):
    try:
        text = row_text(list(values), values)
    except BadRow:
        assert not any(" ".join(value.splitlines()).strip() for value in values.values())
        return
    expected = {name: " ".join(v.splitlines()).strip() for name, v in values.items()}
    assert parse_row(text) == expected


def test_csv_jsonl_and_parquet_give_the_same_samples(in_process, tmp_path):
    (tmp_path / "a.csv").write_text("age,work,note\n39,Private,x\n,State,x\n,,only a note\n")
    rows = [{"age": 39, "work": "Private"}, {"work": "State"}, {"note": "only a note"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = pa.table({"age": [39.0, None, None], "work": ["Private", "State", None]})
    pq.write_table(table, tmp_path / "a.parquet")
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        texts, reasons = read(tmp_path / name[2:], tmp_path / name, ["age", "work"])
        assert texts == ["age: 39\nwork: Private", "age:\nwork: State"]
        assert reasons == ["empty row: no value in age, work"]


def test_a_column_that_is_not_there_is_an_error_that_names_those_that_are(in_process, tmp_path):
    (tmp_path / "a.csv").write_text("age,work\n39,Private\n")
    with pytest.raises(DataError, match="no column 'wrok'; it has age, work; did you mean 'work'"):
        read(tmp_path, tmp_path / "a.csv", ["age", "wrok"])
