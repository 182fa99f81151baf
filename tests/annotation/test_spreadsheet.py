import csv
import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from umc_ray.annotation.spreadsheet import MAX_CELL, read_records, write_records


@settings(max_examples=50)
@given(st.lists(st.text(), min_size=1, max_size=4))
@example([" ="])
@example(["'=1", "''@", "' -", "'"])
@example(["'" * 20_000])
def test_no_written_cell_is_a_formula_and_every_cell_is_read_back(cells):
    columns = [f"c{i}" for i in range(len(cells))]
    data = write_records(columns, [cells])
    (raw,) = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))[1:] or [[]]
    assert not any(cell.lstrip()[:1] in tuple("=+-@＝＋－＠") for cell in raw)
    back = [row for _, row in read_records(data, columns, "x.csv")]
    plain = [cell.strip() for cell in cells]
    if any(plain):
        assert back == [dict(zip(columns, plain, strict=True))]


@pytest.mark.parametrize("start", list("=+-@＝＋－＠"))
def test_formula_starts_are_neutralized_even_after_spaces(start):
    text = write_records(["a"], [[f" {start}1+1"]]).decode("utf-8-sig")
    assert text == f"a\r\n' {start}1+1\r\n"


def test_long_cells_are_truncated_to_the_limit_of_spreadsheet_programs():
    (_, row) = read_records(write_records(["a"], [["x" * 200_000]]), ["a"], "x.csv")[0]
    assert row["a"] == "x" * MAX_CELL


def test_line_numbers_account_for_multiline_cells():
    data = write_records(["a"], [["one\ntwo\nthree"], ["x"]])
    assert [line for line, _ in read_records(data, ["a"], "x.csv")] == [2, 5]


def test_other_tables_are_read_as_they_are():
    found = read_records(b"a,b\r\n'-1, =x \r\n", ["a", "b"], "x.csv", guarded=False)
    assert found == [(2, {"a": "'-1", "b": " =x "})]


def test_a_cell_of_any_length_is_read():
    data = f"a\n{'x' * 200_000}\n".encode()
    assert read_records(data, ["a"], "x.csv")[0][1]["a"] == "x" * 200_000
