"""Read the rows of samples that are known by their part and row."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from umc_ray.errors import StoreError
from umc_ray.records import Part
from umc_ray.seals import REMEDY
from umc_ray.storage import Storage


def gather(
    storage: Storage,
    parts: Sequence[Part],
    table: str,
    picks: pa.Table,
    columns: list[str] | None = None,
) -> pa.Table:
    """Read the rows of a table that belong to picks (columns part and row) of one domain.

    The rows are in the order of the picks; columns: all, or some of them.

    Raises:
        StoreError: a pick is in none of the parts, or another sample is in its place.
    """
    names = np.asarray(picks["part"].to_pylist(), dtype=np.str_)
    unknown = np.flatnonzero(~np.isin(names, [part.name for part in parts]))
    if len(unknown):
        lost = picks.slice(int(unknown[0]), 1).to_pylist()[0]
        raise StoreError(
            f"{table} of {storage.root} has no part {lost['part']} with row {lost['row']}, "
            f"{len(unknown)} of {len(picks)} rows are missing; {REMEDY}"
        )
    found, positions = [], []
    for part in parts:
        mine = np.flatnonzero(names == part.name)
        if len(mine):
            found.append(_rows_in(storage, part.key(table), picks.take(pa.array(mine)), columns))
            positions.append(mine)
    if not found:
        return storage.read_table(parts[0].key(table), columns)[:0]
    return pa.concat_tables(found).take(pa.array(np.argsort(np.concatenate(positions))))


def _rows_in(storage: Storage, key: str, picks: pa.Table, columns: list[str] | None) -> pa.Table:
    """Read the rows of picks from the file of their part.

    Raises:
        StoreError: another sample is in the place of one.
    """
    wanted = None if columns is None else list(dict.fromkeys([*columns, "sample_id"]))
    content, rows = storage.read_table(key, wanted), picks["row"].to_numpy()
    is_there = rows < len(content)
    if {"sample_id"} <= {*content.column_names} & {*picks.column_names}:
        ids = content["sample_id"].take(pa.array(rows, mask=~is_there))
        is_there &= ids.to_numpy() == picks["sample_id"].to_numpy()
    if not is_there.all():
        lost = picks.filter(pa.array(~is_there)).slice(0, 1).to_pylist()[0]
        raise StoreError(
            f"row {lost['row']} of {key} in {storage.root} is not sample "
            f"s{lost.get('sample_id')} that was chosen there; {REMEDY}"
        )
    found = content.take(pa.array(rows)).replace_schema_metadata()
    return found if columns is None else found.select(columns)
