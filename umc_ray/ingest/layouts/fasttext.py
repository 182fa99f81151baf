"""fastText's supervised format: lines such as `__label__sport __label__news the text`.

Source: fastText documentation, "Text classification"
"""

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar, Self

from umc_ray.errors import DataError
from umc_ray.ingest.columns import TableFormat, Values, check_columns
from umc_ray.ingest.layouts.labels import COLUMNS, with_labels
from umc_ray.ingest.layouts.layout import Asked, Layout, by_split
from umc_ray.ingest.layouts.place import Place
from umc_ray.ingest.readers import Rows
from umc_ray.ingest.sources import TEXT_FILES, BadRow
from umc_ray.ingest.text_files import lines, open_text

PREFIX = "__label__"


@dataclass(frozen=True)
class FastText(Layout):
    """Text files with labels at the beginning of each line."""

    name: ClassVar[str] = "fasttext"
    suffixes: ClassVar[tuple[str, ...]] = TEXT_FILES
    has_lists: ClassVar[bool] = True

    @classmethod
    def mark(cls, place: Place) -> str | None:
        """Recognize text files that begin with a label."""
        for file in place.first_files(*TEXT_FILES):
            if _has_labels(file):
                return f"{PREFIX} in {file.name}"
        return None

    @classmethod
    def at(cls, place: Place, asked: Asked) -> Self:
        """Find the files of a split, or take one file."""
        if place.is_file:
            return cls.of_file(place)
        files = [file for file in place.files(*TEXT_FILES) if _has_labels(file)]
        if not files:
            raise DataError(f"{place.uri} has no text file that begins with {PREFIX}")
        return cls.of_split(place, asked, by_split(file.name for file in files))

    def read_rows(
        self, uri: str, table: TableFormat, groups: range | None, notes: Counter[str]
    ) -> Rows:
        """Yield the text of each line with its labels."""
        check_columns(uri, table, ("text", *COLUMNS))
        try:
            with open_text(uri, "\n", table.encoding) as text:
                for number, line in enumerate(lines(text), start=1):
                    if line.strip():
                        yield number, _row(line.rstrip("\r\n"))
        except BadRow as error:
            yield 1, error


def _has_labels(file: Place) -> bool:
    return file.first_line().startswith(PREFIX)


def _row(line: str) -> Values | BadRow:
    labels, rest = [], line.lstrip()
    while rest.startswith(PREFIX):
        label, *others = rest.split(maxsplit=1)
        rest = others[0] if others else ""
        labels.append(label.removeprefix(PREFIX))
    if "" in labels:
        return BadRow("broken label", f"{PREFIX} without a name")
    return with_labels({"text": rest}, labels)
