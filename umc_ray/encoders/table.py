"""The encoder of table rows, which learns its columns from the pool, once for each run.

What it has learned is a JSON file of the run directory. Later samples, tests, new data and the
endpoint are encoded by the same file.

Its embeddings are not scaled to length one, as those of other encoders are: the number of a column
would depend on all other columns. That costs trees up to four points of accuracy, and brings heads
nothing (benchmarks/tables.py). What compares directions scales them itself.

Suffixes: N samples, D embedding dimension.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from umc_ray.config.encoder import EncoderConfig
from umc_ray.encoders.encoder import Half
from umc_ray.errors import ConfigError
from umc_ray.methods.identity import fingerprint
from umc_ray.methods.tables import TableFit, fit_table
from umc_ray.storage import Storage

NAMED = 20
"""Columns that an error names."""


class Table:
    """Standardized numbers with ramps, and one-hot categories."""

    column = "text"

    def __init__(self, fit: TableFit) -> None:
        self.fit, self.names = fit, fit.names

    @classmethod
    def of(cls, config: EncoderConfig) -> "Table":
        """Read what the encoder has learned.

        Raises:
            ConfigError: it has not learned anything yet.
        """
        storage, key = place_of(config)
        if not storage.exists(key):
            raise ConfigError(
                f"encoder table learns its columns from the pool, and has not yet: {config.path} "
                "does not exist; start the campaign with umc run"
            )
        return cls(storage.read_record(key, TableFit))

    @classmethod
    def learned(cls, texts: Sequence[str]) -> "Table":
        """Learn from some samples.

        Raises:
            DataError: they are not rows of a table, or are all the same.
        """
        return cls(fit_table([parse_row(text) for text in texts]) if texts else TableFit(()))

    @property
    def example(self) -> str:
        """A sample that it reads."""
        return "\n".join(f"{column.name}:" for column in self.fit.columns)

    def prepare(self, payload: Any) -> Any:  # noqa: ANN401 - str or bytes, by column
        """Read the columns.

        Raises:
            ValueError: the text has none of them.
        """
        row = parse_row(payload)
        if self.names.isdisjoint(row):
            known = ", ".join(column.name for column in self.fit.columns[:NAMED])
            raise ValueError(f"no line of the form 'name: value' for any of the columns {known}")
        return row

    def encode(self, prepared: Sequence[Any]) -> Half:
        """Turn rows into numbers."""
        return np.asarray(self.fit.encode(prepared), dtype=np.float16)


def parse_row(text: str) -> dict[str, str]:
    """Return the values of a row by column, from lines such as `age: 39`."""
    lines = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, colon, value in lines if colon}


def place_of(config: EncoderConfig) -> tuple[Storage, str]:
    """Return the storage and the key of what a table encoder has learned.

    Raises:
        ConfigError: the configuration does not come from a campaign file.
    """
    if config.path is None:
        raise ConfigError(
            "encoder table has no run directory: read its campaign with load_campaign"
        )
    folder, _, key = config.path.rpartition("/")
    return Storage(folder), key


def fit_hash(config: EncoderConfig) -> str | None:
    """Return a hash of what a table encoder has learned; None if that is nothing yet."""
    if config.path is None:
        return None
    storage, key = place_of(config)
    return fingerprint(storage.read_json(key)) if storage.exists(key) else None
