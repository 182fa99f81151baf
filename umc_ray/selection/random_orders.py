"""Fixed random orders of each domain's samples, drawn before anything is known about them.

The audit set is the longest prefix of the audit order that people were asked about. It is a uniform
sample of the pool whatever else was selected, and a sample in it that was labeled before costs
nothing again. The other order serves random selection and the candidates of a cold start.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import ray

from umc_ray.methods.identity import uniform
from umc_ray.records import RANDOM_ORDERS, DomainKey, IntArray, Part
from umc_ray.storage import Storage

AUDIT = "audit"
RANDOM = "random"

POOL_ROWS = b"pool_rows"
"""In the metadata of stored orders: how many samples they were drawn from."""


def random_orders_key(domain_key: DomainKey, size: int) -> str:
    """Name the table of a domain's random orders."""
    return f"random_orders/{size}/{domain_key}.parquet"


def make_random_orders(storage: Storage, parts: Sequence[Part], size: int, seed: int) -> int:
    """Store the first `size` samples of each domain's orders, domains in parallel.

    Orders of a pool that has grown since are drawn again, with the new samples among the others.
    """
    keys = sorted({part.domain_key for part in parts})
    draw = ray.remote(_random_orders_of_domain)
    own = [[part for part in parts if part.domain_key == key] for key in keys]
    stored = storage.keys("random_orders")
    missing = [each for each in own if not _is_drawn(storage, stored, each, size)]
    ray.get([draw.remote(storage, each, size, seed) for each in missing])
    return len(missing)


def _is_drawn(storage: Storage, stored: Sequence[str], parts: Sequence[Part], size: int) -> bool:
    """Return whether the orders of a domain are there; deletes those of a smaller pool."""
    domain_key, drawn = parts[0].domain_key, False
    for key in (key for key in stored if key.endswith(f"/{domain_key}.parquet")):
        drawn_from = (storage.read_schema(key).metadata or {}).get(POOL_ROWS)
        if drawn_from != _pool_rows(parts):
            storage.delete_file(key)
        elif key == random_orders_key(domain_key, size):
            drawn = True
    return drawn


def _pool_rows(parts: Sequence[Part]) -> bytes:
    return str(sum(part.rows for part in parts)).encode()


def _random_orders_of_domain(storage: Storage, parts: Sequence[Part], size: int, seed: int) -> None:
    """Draw both orders of a domain, part by part: memory does not grow with the domain."""
    orders = [_random_order(storage, parts, size, seed, purpose) for purpose in (AUDIT, RANDOM)]
    table = pa.concat_tables(orders).replace_schema_metadata({POOL_ROWS: _pool_rows(parts)})
    storage.write_table(random_orders_key(parts[0].domain_key, size), table)


def _random_order(
    storage: Storage, parts: Sequence[Part], size: int, seed: int, purpose: str
) -> pa.Table:
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
    return pa.Table.from_arrays(columns, schema=RANDOM_ORDERS)


def order_of(orders: pa.Table, purpose: str) -> pa.Table:
    """Return one of the orders of a domain's random orders."""
    rows = np.flatnonzero(np.asarray(orders["purpose"].to_pylist()) == purpose)
    return orders.take(pa.array(rows))


def audit_prefix(orders: pa.Table, queried_ids: IntArray) -> IntArray:
    """Return the ids of the audit set: the longest queried prefix of the audit order."""
    return labeled_prefix(orders, AUDIT, queried_ids)


def labeled_prefix(orders: pa.Table, purpose: str, queried_ids: IntArray) -> IntArray:
    """Return the ids of the longest prefix of an order that people were asked about."""
    ids_N: IntArray = order_of(orders, purpose)["sample_id"].to_numpy()
    missing = np.flatnonzero(~np.isin(ids_N, queried_ids))
    return ids_N[: missing[0]] if len(missing) else ids_N
