import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from umc_ray.errors import DataError
from umc_ray.ingest.columns import TableFormat
from umc_ray.ingest.readers import read_rows, row_groups
from umc_ray.ingest.sources import BadRow

SAVE = "save the sheet as CSV UTF-8"


def read(path, columns=("text",), groups=None, **table):
    """Return rows as (number, values or reason)."""
    rows = read_rows(str(path), TableFormat(columns, **table), groups)
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


def test_a_key_that_a_json_object_has_twice_costs_one_row(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b", "text": "c"}\n{"text": "d"}\n')
    assert read(path)[1:] == [
        (2, "broken JSON: the key 'text' is given twice"),
        (3, {"text": "d"}),
    ]


def test_json_lines_may_have_another_encoding(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes('{"text": "süß"}\n'.encode("cp1252"))
    assert read(path, encoding="cp1252") == [(1, {"text": "süß"})]
    path.write_bytes('{"text": "süß"}\n'.encode("utf-16"))
    assert read(path) == [(1, {"text": "süß"})]


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
        read(path, optional=("nor this",))


def test_an_empty_csv_file_has_no_rows_and_is_no_error(tmp_path):
    (tmp_path / "rows.csv").touch()
    assert read(tmp_path / "rows.csv") == []


def test_a_file_without_read_permission_is_an_error_and_not_a_bad_row(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "rows.jsonl").touch()
    monkeypatch.setattr("umc_ray.ingest.text_files.locate", refuse)
    with pytest.raises(
        DataError, match=r"cannot read .*rows\.jsonl: .*Permission denied"
    ) as caught:
        read(tmp_path / "rows.jsonl")
    assert not isinstance(caught.value, BadRow)


def arrow(path, table, form):
    new = pa.ipc.new_file if form == "file" else pa.ipc.new_stream
    with pa.OSFile(str(path), "wb") as sink, new(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    return path


@pytest.mark.parametrize("form", ["file", "stream"])
def test_arrow_files_and_streams_are_read(tmp_path, form):
    table = pa.table({"text": [f"text {row}" for row in range(8)], "other": [None] * 8})
    path = arrow(tmp_path / "rows.arrow", table, form)
    assert read(path) == [(row + 1, {"text": f"text {row}"}) for row in range(8)]
    with pytest.raises(DataError, match="has no column 'body'; it has text, other"):
        read(path, ("body",))


@pytest.mark.parametrize("form", ["file", "stream"])
def test_an_arrow_file_that_breaks_off_ends_in_a_bad_row(tmp_path, form):
    path = arrow(tmp_path / "rows.arrow", pa.table({"text": ["x" * 999] * 9}), form)
    path.write_bytes(path.read_bytes()[:-2000])
    found = read(path)
    assert found[-1][1].startswith("unreadable file: ")
    assert {values["text"] for _, values in found[:-1]} <= {"x" * 999}


def test_two_columns_of_one_name_are_an_error_that_names_the_column(tmp_path):
    columns = [pa.array(["x"]), pa.array(["a"]), pa.array(["b"])]
    table = pa.Table.from_arrays(columns, ["text", "label", "label"])
    pq.write_table(table, tmp_path / "rows.parquet")
    said = r"rows\.parquet has 2 columns of the name 'label', columns 2 and 3"
    with pytest.raises(DataError, match=said):
        read(tmp_path / "rows.parquet", ("text", "label"))
    assert read(tmp_path / "rows.parquet") == [(1, {"text": "x"})]


def hugging_face(table, **features):
    document = {"info": {"features": features}}
    return table.replace_schema_metadata({"huggingface": json.dumps(document)})


CLASSES = {"names": ["neg", "pos"], "_type": "ClassLabel"}


@pytest.mark.parametrize("name", ["rows.parquet", "rows.arrow"])
@pytest.mark.parametrize(
    ("feature", "numbers", "names"),
    [
        (CLASSES, [0, 1, -1, None, 2], ["neg", "pos", None, None, 2]),
        ({"feature": CLASSES, "_type": "Sequence"}, [[0, 1], []], [["neg", "pos"], []]),
        ([CLASSES], [[1]], [["pos"]]),
        ({"dtype": "int64", "_type": "Value"}, [0, 1], [0, 1]),
    ],
)
def test_class_numbers_have_the_names_of_the_schema(tmp_path, name, feature, numbers, names):
    table = hugging_face(pa.table({"label": numbers}), label=feature)
    if name.endswith("parquet"):
        pq.write_table(table, tmp_path / name)
    else:
        arrow(tmp_path / name, table, "stream")
    found = read(tmp_path / name, ("label",), class_column="label")
    assert [values["label"] for _, values in found] == names
    unnamed = read(tmp_path / name, ("label",))
    assert [values["label"] for _, values in unnamed] == numbers


@pytest.mark.parametrize("metadata", ["", "[]", "{", '{"info": 3}', '{"info": {"features": {}}}'])
def test_a_schema_that_something_else_wrote_names_no_classes(tmp_path, metadata):
    table = pa.table({"label": [0]}).replace_schema_metadata({"huggingface": metadata})
    pq.write_table(table, tmp_path / "rows.parquet")
    found = read(tmp_path / "rows.parquet", ("label",), class_column="label")
    assert found == [(1, {"label": 0})]


@pytest.mark.parametrize(
    ("name", "head", "reason"),
    [
        ("a.csv", b"PAR1", "it is Parquet: rename it to .parquet"),
        ("a.jsonl", b"ARROW1", "it is Arrow: rename it to .arrow"),
        (
            "a.csv",
            b"PK\x03\x04",
            "it is an Excel workbook or a zip file: save the sheet as CSV UTF-8",
        ),
        ("a.csv", b"\xd0\xcf\x11\xe0", f"it is an Excel workbook: {SAVE}"),
        ("a.tsv", b"\x1f\x8b", "it is compressed with gzip: add .gz to its name"),
    ],
)
def test_a_file_that_is_no_text_is_named_after_what_it_is(tmp_path, name, head, reason):
    path = tmp_path / name
    path.write_bytes(head + b"\x08\x00binary\ntext,label\n")
    assert read(path) == [(1, f"unreadable file: {reason}")]


@pytest.mark.parametrize("array", ['[{"text": "a"}, {"text": "b"}]', '\n[\n {"text": "a"}\n]\n'])
def test_one_json_array_is_no_json_lines(tmp_path, array):
    path = tmp_path / "a.jsonl"
    path.write_text(array)
    ((_, reason),) = read(path)
    assert reason.startswith("unreadable file: it is one JSON array, not one object per line: ")
    assert reason.endswith("to_json(orient='records', lines=True)")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_first_line_of_excel_names_the_delimiter(tmp_path, end):
    path = tmp_path / "a.csv"
    path.write_text(f"\ufeffSEP=;{end}id;text{end}1;a, b{end}", newline="")
    assert read(path) == [(1, {"id": "1", "text": "a, b"})]
    path.write_text(f"sep={end}1{end}", newline="")
    assert read(path, ("sep=",)) == [(1, {"sep=": "1"})]
