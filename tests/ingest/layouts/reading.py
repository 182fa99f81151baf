"""Read a dataset as ingest does: recognize it, list the files of a split, read their rows."""

from collections import Counter

from umc_ray.ingest.columns import TableFormat
from umc_ray.ingest.layouts.layout import Asked
from umc_ray.ingest.layouts.registry import recognize
from umc_ray.ingest.sources import BadRow


def read(path, *columns, use="pool", notes=None, class_column=None, **asked):
    """Return the rows of a split: values, or the reason why there are none."""
    layout = recognize(str(path), Asked(use, **asked))
    table, counts = TableFormat(columns, class_column=class_column), Counter()
    rows = [
        str(values) if isinstance(values, BadRow) else values
        for uri in layout.paths
        for _, values in layout.read_rows(uri, table, None, counts)
    ]
    if notes is not None:
        notes.update(counts)
    return rows


def about(path, use="pool", **asked):
    """Return what a source is recognized as; None: plain files."""
    layout = recognize(str(path), Asked(use, **asked))
    return None if layout is None else layout.about


def picked(rows, *columns):
    """Return some columns of rows."""
    return [row if isinstance(row, str) else tuple(row[name] for name in columns) for row in rows]


def write(path, text):
    """Write a text file, with the folders to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path
