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


def random_orders_key(domain_key: DomainKey, size: int) -> str:
    """Name the table of a domain's random orders."""
    return f"random_orders/{size}/{domain_key}.parquet"


def make_random_orders(storage: Storage, parts: Sequence[Part], size: int, seed: int) -> int:
    """Store the first `size` samples of each domain's orders, domains in parallel."""
    keys = sorted({part.domain_key for part in parts})
    missing = [key for key in keys if not storage.exists(random_orders_key(key, size))]
    draw = ray.remote(_random_orders_of_domain)
    own = [[part for part in parts if part.domain_key == key] for key in missing]
    ray.get([draw.remote(storage, each, size, seed) for each in own])
    return len(missing)


def _random_orders_of_domain(storage: Storage, parts: Sequence[Part], size: int, seed: int) -> None:
    """Draw both orders of a domain, part by part: memory does not grow with the domain."""
    orders = [_random_order(storage, parts, size, seed, purpose) for purpose in (AUDIT, RANDOM)]
    storage.write_table(random_orders_key(parts[0].domain_key, size), pa.concat_tables(orders))


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
