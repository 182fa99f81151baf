"""The demo data in the cache: fetched, converted to Parquet and split, once.

    <cache>/wheels/                            the packages as downloaded
    <cache>/models/<model>/                    an encoder's files
    <cache>/demo/<version>/<task>/<domain>.parquet        the pool
    <cache>/demo/<version>/<task>/test/<domain>.parquet   held out, same columns

The version is a hash over everything that decides the content, see `_version`.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from umc_ray.demo import digits, sentiment
from umc_ray.demo.fetch import Wheel, cache_dir, fetch, new_folder
from umc_ray.demo.models import MODELS, prepare_model
from umc_ray.demo.split import Row, drop_duplicates, hold_out

logger = logging.getLogger(__name__)

REVISION = 1  # raise it when code that decides the content changes
TEST_SHARE = 0.25
TEST_ROWS = 1000  # of a domain, at most


@dataclass(frozen=True)
class DemoPaths:
    """Where the demo lies: a folder per task and per model.

    A task's folder holds `<domain>.parquet` (the pool) and `test/<domain>.parquet`.
    """

    sentiment: Path
    digits: Path
    wordllama: Path
    minilm: Path


@dataclass(frozen=True)
class Task:
    """How one task's domains are read out of its wheel."""

    wheel: Wheel
    domains: tuple[str, ...]
    schema: pa.Schema
    read_domain: Callable[[Path, str], list[Row]]
    content: Callable[[Row], object]


TASKS = {
    "sentiment": Task(
        sentiment.WHEEL,
        tuple(sentiment.SOURCES),
        sentiment.SCHEMA,
        sentiment.read_domain,
        sentiment.content,
    ),
    "digits": Task(
        digits.WHEEL, tuple(digits.SOURCES), digits.SCHEMA, digits.read_domain, digits.content
    ),
}


def prepare(cache: Path | None = None) -> DemoPaths:
    """Fetch and convert whatever the cache (default: `cache_dir()`) still lacks.

    Raises:
        DataError: a package could not be downloaded or is not what was pinned.
    """
    cache = cache or cache_dir()
    root = cache / "demo" / _version()
    tasks = {name: prepare_task(task, root / name, cache) for name, task in TASKS.items()}
    wordllama, minilm = (prepare_model(model, cache) for model in MODELS)
    return DemoPaths(tasks["sentiment"], tasks["digits"], wordllama, minilm)


def _version() -> str:
    """Hash the pinned files and every parameter of the conversion."""
    recipe = {
        "revision": REVISION,
        "wheels": [task.wheel.sha256 for task in TASKS.values()],
        "sentiment": [sentiment.NEUTRAL_MEAN],
        "digits": [digits.SIDE, digits.MARGIN, digits.PEN, digits.OVERSAMPLING],
        "test": [TEST_SHARE, TEST_ROWS],
    }
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]


def prepare_task(task: Task, folder: Path, cache: Path) -> Path:
    """Write a task's pool and test files, all or none."""
    if folder.exists():
        return folder
    wheel = fetch(task.wheel, cache)
    with new_folder(folder) as partial:
        (partial / "test").mkdir()
        for domain in task.domains:
            rows = task.read_domain(wheel, domain)
            unique = drop_duplicates(rows, task.content)
            pool, test = hold_out(unique, TEST_SHARE, TEST_ROWS)
            _write(pool, task.schema, partial / f"{domain}.parquet")
            _write(test, task.schema, partial / "test" / f"{domain}.parquet")
            counts = (len(rows), len(rows) - len(unique), len(pool), len(test))
            logger.info("%s: %d rows, %d of them duplicates; %d pool, %d test", domain, *counts)
    return folder


def _write(rows: list[Row], schema: pa.Schema, path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
