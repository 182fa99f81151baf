"""Every record of a table becomes a sample, a duplicate or a row in quarantine."""

import csv
import gzip
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ingest.test_csv_files import python_records
from tests.ingest.test_ingest import DOMAIN, backwards, campaign, pool_of, quarantine_of
from umc_ray.errors import DataError
from umc_ray.ingest import ingest as ingest_module
from umc_ray.ingest.ingest import ingest
from umc_ray.methods.unicode_text import comparable, is_blank
from umc_ray.storage import Storage

LIMIT = 150_000  # characters of a text: more than Python's reader takes by default
PIECES = (
    "a",
    "b",
    " ",
    "ä",
    "é",
    "€",
    '"',
    '""',
    "'",
    ",",
    ";",
    "|",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\\",
)
UNICODE = ("\0", "\u200b", "\u00a0", "\u2028", "\x1c", "猫", "e\u0301", "\U0001f600", "\ufeff")


@dataclass(frozen=True)
class Table:
    """The bytes of a file, and the options that read it."""

    content: bytes
    encoding: str
    options: dict[str, str]

    def records(self):
        """Read as Python does; None where it cannot."""
        text = self.content.decode(self.encoding, "surrogateescape")
        return python_records(text, self.options.get("delimiter", ","))


@st.composite
def tables(draw):
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"]))
    delimiter = draw(st.sampled_from([",", ";", "\t", "|"]))
    pieces = PIECES if encoding == "cp1252" else PIECES + UNICODE
    cells = st.lists(st.sampled_from(pieces), max_size=6).map("".join)
    rows = draw(st.lists(st.lists(cells, min_size=2, max_size=2), min_size=2, max_size=9))
    lines = [draw(written(row, delimiter)) for row in [["id", "text"], *rows]]
    size = draw(st.sampled_from([0, 0, 0, LIMIT - 1, LIMIT, LIMIT + 1, 2 * LIMIT]))
    if size:
        line = 'a line, and no "row"; ' * 50 + "\r\n"
        long = (line * (size // len(line) + 1))[:size]
        place = draw(st.integers(1, len(lines)))
        lines.insert(place, draw(written(["long", long], delimiter, careful=True)))
    content = "".join(lines).encode(encoding)
    if encoding.startswith("utf-8") and draw(st.integers(0, 3)):
        cut = draw(st.integers(len(lines[0].encode(encoding)), len(content)))
        content = content[:cut] + draw(st.sampled_from([b"\xff", b"\xc3", b'"'])) + content[cut:]
    options = {} if delimiter == "," else {"delimiter": delimiter}
    if encoding in ("utf-16-be", "cp1252"):
        options["encoding"] = encoding
    return Table(content, encoding, options)


@st.composite
def written(draw, row, delimiter, careful=False):
    """Write a row as a careful program does, or without a thought for quotes."""
    how = draw(st.sampled_from(["careful", "all quoted", "careful" if careful else "careless"]))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    if how == "careless" and row != ["id", "text"]:
        return delimiter.join(row) + end
    special = (delimiter, '"', "\n", "\r")
    cells = [
        '"' + cell.replace('"', '""') + '"'
        if how == "all quoted" or any(each in cell for each in special)
        else cell
        for cell in row
    ]
    return delimiter.join(cells) + end


def is_sample(record):
    if record is None or len(record) != 2:
        return False
    text = record[1]
    lost = any("\ud800" <= char <= "\udfff" for char in text)
    return not (lost or is_blank(text) or "\0" in text or len(text) > LIMIT)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.data_too_large])
@given(tables(), st.booleans())
def test_rows_in_are_samples_and_duplicates_and_quarantine(tmp_path_factory, table, is_zipped):
    folder = tmp_path_factory.mktemp("hostile")
    path = folder / ("rows.csv.gz" if is_zipped else "rows.csv")
    path.write_bytes(gzip.compress(table.content, 1) if is_zipped else table.content)
    domain = {"source": str(path), "text": "text", **table.options}
    limits = {"max_bad_share": 1.0, "max_text_chars": LIMIT}
    config, storage = campaign(domain, backend="sheet", **limits), Storage(str(folder / "run"))
    _, *records = table.records()
    texts = [record[1] for record in records if is_sample(record)]
    kept = list({comparable(text): text for text in reversed(texts)}.values())[::-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest_module, "stream", backwards)
        if not texts:
            with pytest.raises(DataError, match=f"no usable row among {len(records)}: "):
                ingest(config, DOMAIN, "pool", storage)
            return
        manifest = ingest(config, DOMAIN, "pool", storage)
    assert manifest.rows + manifest.duplicates + manifest.bad == len(records)
    assert (manifest.rows, manifest.bad) == (len(kept), len(records) - len(texts))
    assert len(quarantine_of(storage)) == manifest.bad
    assert sorted(row["text"] for row in pool_of(storage, manifest)) == sorted(kept)


def test_the_reference_reads_careful_tables_as_pythons_csv_module_does():
    text = 'id,text\r\n1,"a\nb"\r\r\n2,"say ""hi"""\n'
    plain = [record for record in csv.reader(text.splitlines(keepends=True)) if record]
    assert python_records(text, ",") == plain
