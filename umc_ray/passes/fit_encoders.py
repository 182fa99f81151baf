"""Let the encoders that learn from a pool do so, once for each run directory."""

import logging
from collections.abc import Mapping, Sequence

from umc_ray.config.encoder import EncoderConfig
from umc_ray.encoders.table import Table, parse_row, place_of
from umc_ray.errors import DataError
from umc_ray.methods.tables import is_missing
from umc_ray.records import Part
from umc_ray.storage import Storage

logger = logging.getLogger(__name__)

MOST_ROWS = 100_000
"""Rows of a pool that an encoder learns from; of a larger pool, every second one, or third."""


def fit_encoders(
    encoders: Mapping[str, Mapping[str, EncoderConfig]], parts: Sequence[Part], storage: Storage
) -> None:
    """Learn what the encoders of some tasks have not learned yet.

    Args:
        encoders: by task, then by name.
        parts: of any tasks; only pools teach.
        storage: where the parts are.

    Raises:
        DataError: the samples of a task are not rows of a table.
    """
    for task, named in encoders.items():
        pools = [each for each in parts if (each.domain_key.task, each.split) == (task, "pool")]
        for name, config in named.items():
            if config.kind == "table":
                _fit_table(f"{task}/{name}", config, pools, storage)


def _fit_table(where: str, config: EncoderConfig, pools: Sequence[Part], storage: Storage) -> None:
    target, key = place_of(config)
    if target.exists(key) or not pools:
        return
    texts = _texts(pools, storage)
    try:
        table = Table.learned(texts)
    except DataError as error:
        raise DataError(f"encoder {where}: {error}") from error
    for column in _without_values(texts):
        logger.warning(
            "encoder %s: column '%s' has no value in any of %d samples; is it spelled right?",
            *(where, column, len(texts)),
        )
    target.write_record(key, table.fit)
    logger.info("encoder %s: learned %d columns", where, len(table.fit.columns))


def _texts(pools: Sequence[Part], storage: Storage) -> list[str]:
    """Return the samples of all parts, or evenly many of each; forgotten ones have no text."""
    step = -(-sum(part.rows for part in pools) // MOST_ROWS)
    tables = (storage.read_table(part.key("pool"), ["text"]) for part in pools)
    texts = [text for table in tables for text in table["text"].to_pylist()[::step]]
    return [text for text in texts if text is not None]


def _without_values(texts: Sequence[str]) -> list[str]:
    """Name the columns that are empty in all rows."""
    empty: dict[str, bool] = {}
    for text in texts:
        for name, value in parse_row(text).items():
            empty[name] = empty.get(name, True) and is_missing(value)
    return [name for name, is_empty in empty.items() if is_empty]
