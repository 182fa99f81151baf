"""Fixed random orders of each domain's samples, decided before anything is known of them.

The audit order pays for honesty: the audit set is the longest head of it that people were asked
about. It is a uniform sample of the pool whatever else was chosen, and a sample in it that active
selection bought earlier costs nothing again. The other order serves random selection and the
candidates of a cold start.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import ray

from umc_ray.methods.identity import uniform
from umc_ray.records import DRAWS, Arm, IntArray, Part
from umc_ray.storage import Storage

AUDIT = "audit"
RANDOM = "random"


def draws_key(arm: Arm, size: int) -> str:
    """Name the table of a domain's draws."""
    return f"draws/{size}/{arm}.parquet"


def make_draws(storage: Storage, parts: Sequence[Part], size: int, seed: int) -> int:
    """Store the first `size` samples of each domain's orders, domains in parallel."""
    arms = sorted({part.arm for part in parts})
    todo = [arm for arm in arms if not storage.exists(draws_key(arm, size))]
    draw = ray.remote(_draw_domain)
    ray.get([draw.remote(storage, [p for p in parts if p.arm == arm], size, seed) for arm in todo])
    return len(todo)


def _draw_domain(storage: Storage, parts: Sequence[Part], size: int, seed: int) -> None:
    """Draw part by part: memory does not grow with the domain."""
    orders = [_draw(storage, parts, size, seed, purpose) for purpose in (AUDIT, RANDOM)]
    storage.write_table(draws_key(parts[0].arm, size), pa.concat_tables(orders))


def _draw(storage: Storage, parts: Sequence[Part], size: int, seed: int, purpose: str) -> pa.Table:
    """Return the `size` samples of lowest random number, in its order."""
    names: IntArray = np.empty(0, np.int64)
    rows, ids, numbers = names, names, np.empty(0, np.float64)
    for index, part in enumerate(parts):
        ids_N = storage.read_table(part.key("pool"), ["sample_id"])["sample_id"].to_numpy()
        names = np.concatenate([names, np.full(len(ids_N), index)])
        rows = np.concatenate([rows, np.arange(len(ids_N))])
        ids = np.concatenate([ids, ids_N])
        numbers = np.concatenate([numbers, uniform(ids_N, seed, purpose)])
        head = np.lexsort((ids, numbers))[:size]
        names, rows, ids, numbers = names[head], rows[head], ids[head], numbers[head]
    columns = [
        pa.array([purpose] * len(ids), pa.string()),
        pa.array([parts[index].name for index in names], pa.string()),
        pa.array(rows.astype(np.int32)),
        pa.array(ids),
    ]
    return pa.Table.from_arrays(columns, schema=DRAWS)


def order_of(draws: pa.Table, purpose: str) -> pa.Table:
    """Return one of the orders of a domain's draws."""
    rows = np.flatnonzero(np.asarray(draws["purpose"].to_pylist()) == purpose)
    return draws.take(pa.array(rows))


def audit_set(draws: pa.Table, asked_ids: IntArray) -> IntArray:
    """Return the ids of the audit set: the longest head of the audit order that was asked."""
    return asked_head(draws, AUDIT, asked_ids)


def asked_head(draws: pa.Table, purpose: str, asked_ids: IntArray) -> IntArray:
    """Return the ids of the longest head of an order that was asked, whoever chose it."""
    ids_N: IntArray = order_of(draws, purpose)["sample_id"].to_numpy()
    missing = np.flatnonzero(~np.isin(ids_N, asked_ids))
    return ids_N[: missing[0]] if len(missing) else ids_N
