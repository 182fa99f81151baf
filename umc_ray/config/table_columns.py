"""The columns of a table that a domain may name as its samples, or as groups of them."""

from collections.abc import Sequence


def columns_problem(columns: Sequence[str], answers: Sequence[str | None]) -> str | None:
    """Say what is wrong with the names of columns, if anything is.

    Each begins a line of a sample, such as `age: 39` (ingest/table_rows.py).
    """
    for name in columns:
        if columns.count(name) > 1:
            return f"columns names {name!r} twice; name it once"
        if ":" in name or len(name.splitlines()) != 1 or name != name.strip():
            return (
                f"columns names {name!r}: a line of a sample cannot begin with a name that has a "
                "colon, a line break, or spaces at its ends; rename it in the source"
            )
        if name in answers:
            return f"columns names {name!r}, the known answer: people and models would see it"
    return None


def pair_problem(pair: Sequence[str], answers: Sequence[str | None]) -> str | None:
    """Say what is wrong with the names of the two columns of a pair of texts, if anything is.

    They are the headings of the two texts, and their columns in a release.
    """
    if len({*pair}) < len(pair):
        return f"text names {pair[0]!r} twice: a pair has two columns"
    for name in pair:
        if name in answers:
            return f"text names {name!r}, the known answer: people and models would see it"
    return None


def beside_problem(
    keep: Sequence[str], groups: Sequence[str], answers: Sequence[str | None]
) -> str | None:
    """Say what is wrong with the columns to keep and those of groups, if anything is."""
    for what, names in (("keep", keep), ("groups", groups)):
        if twice := [name for name in names if names.count(name) > 1]:
            return f"{what} names {twice[0]!r} twice; name it once"
    for name in groups:
        if name in answers:
            return f"groups names {name!r}, the known answer: a group is of what is known before it"
    return None
