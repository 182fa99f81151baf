"""Read whole JSON files, as annotation tools and published datasets write them."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from umc_ray.ingest.columns import TableFormat, Values, check_columns
from umc_ray.ingest.readers import Rows
from umc_ray.ingest.sources import BadRow
from umc_ray.ingest.text_files import open_text


def read_json(uri: str, encoding: str | None) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return what is in a JSON file, or a BadRow if it is broken. It is in memory as a whole."""
    try:
        with open_text(uri, "", encoding) as text:
            return json.load(text)
    except BadRow as error:
        return error
    except (ValueError, RecursionError) as error:
        return BadRow("unreadable file", f"broken JSON: {error}")


def json_rows(
    uri: str, table: TableFormat, row_of: Callable[[Mapping[str, Any]], Values | BadRow]
) -> Rows:
    """Yield the rows that the objects of a JSON list stand for.

    Raises:
        DataError: none of them has a wanted column.
    """
    found = read_json(uri, table.encoding)
    if not isinstance(found, list):
        problem = BadRow("unreadable file", "it is not a JSON list")
        yield 1, found if isinstance(found, BadRow) else problem
        return
    rows = [
        row_of(each) if isinstance(each, Mapping) else BadRow("broken JSON", "not an object")
        for each in found
    ]
    usable = [row for row in rows if not isinstance(row, BadRow)]
    if usable:
        check_columns(uri, table, list(dict.fromkeys(name for row in usable for name in row)))
    yield from enumerate(rows, start=1)


def records_of(value: object) -> list[Mapping[str, Any]]:
    """Return the objects in a list; none if it is no list."""
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
