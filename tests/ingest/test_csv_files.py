"""CSV as people have it: any field, any delimiter, any encoding, and broken quotes."""

import csv
import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umc_ray.errors import DataError
from umc_ray.ingest.columns import TableFormat
from umc_ray.ingest.readers import read_rows
from umc_ray.ingest.sources import BadRow


def read(path, content=None, columns=("text",), **table):
    """Return rows as values or reasons."""
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    rows = list(read_rows(str(path), TableFormat(columns, **table)))
    assert [number for number, _ in rows] == [*range(1, len(rows) + 1)]
    return [str(values) if isinstance(values, BadRow) else values for _, values in rows]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows.csv"


def test_a_quote_that_more_text_follows_costs_one_row(path):
    content = (
        b"id,text\r\n"
        b'1,"two\r\nlines, ""quoted"""\r\n'
        b"\r\n"
        b"2,too,many\r\n"
        b'3,"open\r\n'
        b'4,"closed"\r\n'
        b"5,last"
    )
    assert read(path, content) == [
        {"id": "1", "text": 'two\r\nlines, "quoted"'},
        "broken CSV: 3 fields, the header has 2",
        "broken CSV: ',' expected after '\"'; double a quote in a field",
        {"id": "4", "text": "closed"},
        {"id": "5", "text": "last"},
    ]


def test_after_a_quote_that_never_closes_no_line_becomes_a_sample(path):
    content = 'id,text\n1,good\n2,"open\n' + "3,a line or a row?\n" * 50_000 + "\n"
    found = read(path, content)
    assert found[0] == {"id": "1", "text": "good"}
    assert found[1] == "unclosed quote: a quote that opens here never closes; double it"
    assert (
        found[2:] == ["unclosed quote: a quote that opens above never closes; double it"] * 50_000
    )


def test_a_quoted_field_may_have_any_length_and_any_lines(path):
    long = "hello from a quoted line, which is not a row\n" * 3_200
    found = read(path, f'id,text\n1,first\n2,"{long}"\n3,last\n')
    assert [row["text"] for row in found] == ["first", long, "last"]


def test_a_field_beyond_the_bound_of_memory_is_no_sample(path, monkeypatch):
    monkeypatch.setattr("umc_ray.ingest.csv_files.MAX_FIELD_CHARS", 20)
    found = read(path, 'id,text\n1,good\n2,"' + "x\n" * 15 + '"\n3,good\n')
    assert found[0] == {"id": "1", "text": "good"}
    assert len(found) == 18
    assert all(row.startswith("unclosed quote") for row in found[1:])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_may_be_of_any_kind_and_mixed(path, end):
    content = f'text,id{end}"a{end}b",1{end}{end}c,2\r\nd,3\re,4\n'
    assert [row["text"] for row in read(path, content)] == [f"a{end}b", "c", "d", "e"]


def test_a_null_byte_stays_in_its_field(path):
    assert read(path, b"text,id\na\0b,\0\n") == [{"text": "a\0b", "id": "\0"}]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "cp1252", "shift_jis"]
)
@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_a_table_may_have_any_encoding(tmp_path, encoding, suffix):
    word = "猫" if encoding == "shift_jis" else "süß"
    content = f"id,text\r\n1,{word}\r\n".encode(encoding)
    needs_option = encoding in ("utf-16-le", "cp1252", "shift_jis")
    path = tmp_path / f"rows.{suffix}"
    options = {"encoding": encoding} if needs_option else {}
    found = read(path, gzip.compress(content) if suffix == "csv.gz" else content, **options)
    assert found == [{"id": "1", "text": word}]


def test_a_byte_order_mark_says_more_than_the_option(path):
    assert read(path, "text\nsüß\n".encode("utf-8-sig"), encoding="cp1252") == [{"text": "süß"}]


def test_bytes_that_are_not_of_the_encoding_cost_their_rows_only(path):
    assert read(path, b"text\ngood\nna\xefve\n") == [{"text": "good"}, {"text": "na\udcefve"}]
    undefined = read(path, b"text\n\x81\n\xfc\n", encoding="cp1252")
    assert undefined == [{"text": "\udc81"}, {"text": "ü"}]
    odd = "text\nab\n".encode("utf-16") + b"\x00\xdcA\x00\n\x00c\x00\n\x00"
    assert read(path, odd) == [{"text": "ab"}, {"text": "\udc00\udcdcA"}, {"text": "c"}]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_a_header_with_another_delimiter_is_an_error_that_suggests_it(path, delimiter):
    content = f"id{delimiter}text\n1{delimiter}a, b\n"
    shown = '"\\t"' if delimiter == "\t" else f'"{delimiter}"'
    with pytest.raises(DataError) as raised:
        read(path, content)
    assert str(raised.value).endswith(f"To read it, add delimiter: {shown} to the domain")
    assert read(path, delimiter=delimiter) == [{"id": "1", "text": "a, b"}]


def test_a_semicolon_table_of_excel_is_an_error_that_suggests_both_options(path):
    content = "id;text;label\r\n1;Größe 1, schön;süß\r\n".encode("cp1252")
    both = r"rows\.csv has no column 'text'; it has id;text;label.* To read it, add "
    both += r'delimiter: ";" and encoding: cp1252 to the domain'
    with pytest.raises(DataError, match=both):
        read(path, content)
    with pytest.raises(DataError, match=r'add delimiter: ";" to the domain'):
        read(path, encoding="cp1252")
    assert read(path, encoding="cp1252", delimiter=";") == [
        {"id": "1", "text": "Größe 1, schön", "label": "süß"}
    ]


def test_utf_16_without_a_mark_is_an_error_that_suggests_it(path):
    for encoding in ("utf-16-le", "utf-16-be"):
        with pytest.raises(DataError, match=f"add encoding: {encoding} to the domain"):
            read(path, "id,text\n1,abc\n".encode(encoding))


def test_a_missing_column_is_compared_with_those_that_look_like_it(path):
    with pytest.raises(DataError, match=r"no column 'text'; it has id, \\u00a0Text; did you mean"):
        read(path, "id,\u00a0Text\n1,a\n")
    with pytest.raises(DataError, match=r"it has cafe\\u0301; did you mean 'cafe\\u0301'"):
        read(path, "cafe\u0301\na\n", ("caf\u00e9",))


def test_two_columns_of_one_name_are_an_error_where_the_campaign_names_it(path):
    content = "id,text,label,label\n1,x,a,b\n"
    with pytest.raises(DataError, match="2 columns of the name 'label', columns 3 and 4: rename"):
        read(path, content, optional=("label",))
    assert read(path, "text,,\nx,,\n") == [{"text": "x", "": ""}]


def test_an_empty_file_has_no_rows_and_is_no_error(path):
    assert read(path, b"") == read(path, b"\xff\xfe") == read(path, b"\xef\xbb\xbf") == []


fields = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.tuples(fields, fields), min_size=1, max_size=8))
def test_fields_survive_a_round_trip(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("id", "text"), *records])
    assert read(path) == [{"id": a, "text": b} for a, b in records]


def python_records(text, delimiter=","):
    """Read as Python does; None where it cannot, and from the next line if quotes are closed."""
    csv.field_size_limit(1 << 30)
    lines, rows = io.StringIO(text, newline="").readlines(), []
    while lines:
        records = csv.reader(lines, delimiter=delimiter, strict=True)
        start = 0
        try:
            for record in records:
                rows += [record] if record else []
                start = records.line_num
            return rows
        except csv.Error as error:
            if str(error) == "unexpected end of data":
                return rows + [None for line in lines[start:] if line.strip("\r\n")]
            rows.append(None)
            lines = lines[start + 1 :]
    return rows


hostile = st.sampled_from(['"', '""', ",", "\n", "\r", "\r\n", "a", "b c", "\0"])


@given(st.lists(hostile, max_size=30))
def test_broken_quotes_cost_what_pythons_reader_cannot_read(tmp_path_factory, pieces):
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    text = "".join(pieces)
    found = read(path, f"text\n{text}")
    expected = python_records(text)
    assert len(found) == len(expected)
    for row, record in zip(found, expected, strict=True):
        is_good = record is not None and len(record) == 1
        assert (row == {"text": record[0]}) if is_good else isinstance(row, str)
