import csv
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from umc_ray.errors import DataError
from umc_ray.ingest.readers import read_rows, row_groups
from umc_ray.ingest.sources import BadRow


def read(path, columns=("text",), optional=(), groups=None):
    """Return rows as (number, values or reason)."""
    rows = read_rows(str(path), columns, optional, 1000, groups)
    return [
        (number, str(values) if isinstance(values, BadRow) else values) for number, values in rows
    ]


def test_a_broken_json_line_costs_one_row(tmp_path):
    lines = [
        b'\xef\xbb\xbf{"text": "byte order mark"}',
        b'{"text": "cut o',
        b"",
        b'["a list"]',
        b'{"text": "nested", "deep": ' + b"[" * 100_000,
        b'{"text": "' + "gr\xfc\xdfe".encode("latin-1") + b'"}',
        b'{"text": "last, without a newline"}',
    ]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join(lines))
    found = dict(read(path))
    assert list(found) == [1, 2, 4, 5, 6, 7]
    assert found[1] == {"text": "byte order mark"}
    assert found[2].startswith("broken JSON: Unterminated string")
    assert found[4] == "broken JSON: not an object"
    assert found[5].startswith("broken JSON: ")
    assert found[6] == {"text": "gr\udcfc\udcdfe"}
    assert found[7] == {"text": "last, without a newline"}


def test_a_broken_csv_record_costs_one_row_even_if_its_quote_never_closes(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(
        b"id,text\r\n"
        b'1,"two\r\nlines, ""quoted"""\r\n'
        b"\r\n"
        b"2,too,many\r\n"
        b'3,"open\r\n'
        b'4,"closed"\r\n'
        b'5,"open until the end\r\n'
        b"6,last"
    )
    assert read(path) == [
        (1, {"id": "1", "text": 'two\r\nlines, "quoted"'}),
        (2, "broken CSV: 3 fields, the header has 2"),
        (3, "broken CSV: ',' expected after '\"'"),
        (4, {"id": "4", "text": "closed"}),
        (5, "broken CSV: unexpected end of data"),
        (6, {"id": "6", "text": "last"}),
    ]


def test_an_unclosed_quote_ends_when_the_field_gets_too_long(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('text\n"open\n' + "another line\n" * 20_000)
    found = read(path)
    assert found[0] == (1, "broken CSV: field larger than field limit (131072)")
    assert found[1:] == [(row, {"text": "another line"}) for row in range(2, 20_002)]


def test_fields_of_a_compressed_tsv_file_are_separated_by_tabs(tmp_path):
    path = tmp_path / "rows.TSV.gz"
    path.write_bytes(gzip.compress(b"id\ttext\n1\ta, b\n") + gzip.compress(b"2\tc\n"))
    assert [values["text"] for _, values in read(path)] == ["a, b", "c"]


def test_a_truncated_compressed_file_yields_its_rows_and_one_bad_row(tmp_path):
    path = tmp_path / "rows.jsonl.gz"
    lines = [json.dumps({"text": f"{row * 2654435761 % 2**32:x}"}) for row in range(20_000)]
    path.write_bytes(gzip.compress("\n".join(lines).encode(), 1)[:-1000])
    found = read(path)
    assert len(found) > 1000
    assert found[-2] == (len(found) - 1, json.loads(lines[len(found) - 2]))
    assert found[-1] == (len(found), "unreadable file: Truncated compressed stream")


def parquet(path, texts, **options):
    pq.write_table(pa.table({"text": texts, "other": list(range(len(texts)))}), path, **options)
    return path


def test_parquet_rows_keep_their_numbers_when_only_some_groups_are_read(tmp_path):
    path = parquet(
        tmp_path / "rows.parquet", [f"text {row}" for row in range(10)], row_group_size=4
    )
    assert row_groups(str(path)) == [4, 4, 2]
    whole = read(path)
    assert whole == [(row + 1, {"text": f"text {row}"}) for row in range(10)]
    assert read(path, groups=range(1)) + read(path, groups=range(1, 3)) == whole


def test_a_parquet_file_without_a_footer_is_one_bad_row(tmp_path):
    path = parquet(tmp_path / "rows.parquet", ["a", "b"])
    path.write_bytes(path.read_bytes()[:-20])
    assert row_groups(str(path)) == []
    [(number, reason)] = read(path)
    assert number == 1
    assert reason.startswith("unreadable file: Parquet magic bytes not found")


def test_a_parquet_file_that_breaks_in_the_middle_keeps_the_rows_before(tmp_path):
    texts = [f"{row * 2654435761 % 2**32:x}" for row in range(3000)]
    path = parquet(tmp_path / "rows.parquet", texts, row_group_size=1000, use_dictionary=False)
    data = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    data[start : start + 200] = bytes(200)
    path.write_bytes(data)
    found = read(path)
    assert [values for _, values in found[:-1]] == [{"text": text} for text in texts[:1000]]
    assert found[-1][0] == 1001
    assert found[-1][1].startswith("unreadable file: ")


def test_a_parquet_string_that_is_not_utf_8_costs_one_row(tmp_path):
    texts = pa.array([b"a", b"\xff", b"c"]).view(pa.string())
    found = read(parquet(tmp_path / "rows.parquet", texts))
    assert [values for _, values in found[::2]] == [{"text": "a"}, {"text": "c"}]
    assert found[1][1].startswith("not UTF-8: ")


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_a_missing_column_is_an_error_that_names_the_columns_found(tmp_path, name):
    path = tmp_path / name
    if name.endswith("csv"):
        path.write_text("body,label\nx,y\n")
    else:
        pq.write_table(pa.table({"body": ["x"], "label": ["y"]}), path)
    with pytest.raises(DataError, match=r"has no column 'text'; it has body, label"):
        read(path, optional=["nor this"])


def test_an_empty_csv_file_has_no_rows_and_is_no_error(tmp_path):
    (tmp_path / "rows.csv").touch()
    assert read(tmp_path / "rows.csv") == []


def test_a_file_without_read_permission_is_an_error_and_not_a_bad_row(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "rows.jsonl").touch()
    monkeypatch.setattr("umc_ray.ingest.readers.locate", refuse)
    with pytest.raises(
        DataError, match=r"cannot read .*rows\.jsonl: .*Permission denied"
    ) as caught:
        read(tmp_path / "rows.jsonl")
    assert not isinstance(caught.value, BadRow)


fields = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@given(st.lists(st.tuples(fields, fields), min_size=1, max_size=8))
def test_csv_fields_survive_a_round_trip(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("id", "text"), *records])
    assert [values for _, values in read(path)] == [{"id": a, "text": b} for a, b in records]
