"""Columns of a source that a release passes through: `keep` of a domain.

Their types are those of their values: text, numbers, booleans, dates and times, and lists of these.
What Arrow has no single type for, such as objects, or numbers beside text, becomes text: JSON.
"""

import json
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

NOT_ARROW = (pa.ArrowException, OverflowError, UnicodeEncodeError)
"""What Arrow raises for values that have no common type, or none of its own."""


def kept_table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> pa.Table:
    """Return rows of values as a table of named columns."""
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return pa.table([_column(values) for values in columns], list(names))


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Put tables of the same columns together, each column in a type that holds all its values."""
    schema = common_schema([table.schema for table in tables])
    return pa.concat_tables(in_schema(table, schema) for table in tables)


def common_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return the columns of all schemas, in a type for each that holds its values everywhere."""
    names = dict.fromkeys(name for schema in schemas for name in schema.names)
    types = {
        name: [schema.field(name).type for schema in schemas if name in schema.names]
        for name in names
    }
    return pa.schema([(name, _common_type(found)) for name, found in types.items()])


def in_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Lay a table out by a common schema; columns that it lacks are empty."""
    columns = [
        _in_type(table[field.name], field.type)
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _common_type(types: Sequence[pa.DataType]) -> pa.DataType:
    """Return a type that holds the values of several types; text if there is no other."""
    schemas = [pa.schema([("x", kind)]) for kind in dict.fromkeys(types)]
    try:
        found = pa.unify_schemas(schemas, promote_options="permissive").field("x").type
    except pa.ArrowException:
        return pa.string()
    return found if _is_kept(found) else pa.string()


def _in_type(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if column.type == kind:
        return column
    return _texts(column.to_pylist()) if kind == pa.string() else pc.cast(column, kind, safe=False)


def _column(values: Sequence[object]) -> pa.Array:
    try:
        column = pa.array(values)
    except NOT_ARROW:
        return _texts(values)
    return column if _is_kept(column.type) else _texts(values)


def _is_kept(kind: pa.DataType) -> bool:
    """Return whether a kept column can be of a type; null is that of values that are missing."""
    if pa.types.is_list(kind):
        return not pa.types.is_list(kind.value_type) and _is_kept(kind.value_type)
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    is_time = pa.types.is_timestamp(kind) or kind == pa.date32()
    return is_number or is_time or kind in (pa.bool_(), pa.string(), pa.binary(), pa.null())


def _texts(values: Iterable[object]) -> pa.Array:
    return pa.array([_text(value) for value in values], pa.string())


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    is_json = isinstance(value, bool | int | float | list | dict)
    return json.dumps(value, default=str) if is_json else str(value)
