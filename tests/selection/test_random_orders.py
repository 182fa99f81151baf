import numpy as np
import pyarrow as pa
import pytest

from tests.pools import DOMAIN, write_part
from umc_ray.records import RANDOM_ORDERS, DomainKey
from umc_ray.selection.random_orders import (
    AUDIT,
    RANDOM,
    audit_prefix,
    make_random_orders,
    order_of,
    random_orders_key,
)
from umc_ray.storage import Storage

IDS = np.random.default_rng(0).permutation(1000)[:30]


@pytest.fixture
def draw(ray_cluster, tmp_path):
    """Draw from ids that lie in parts of given sizes."""

    def draw(size, parts=(30,), seed=0):
        storage = Storage(str(tmp_path / f"{size}-{parts}-{seed}"))
        pieces = np.split(IDS, np.cumsum(parts)[:-1])
        written = [
            write_part(storage, ids.tolist(), name=f"part-{i:05d}") for i, ids in enumerate(pieces)
        ]
        assert make_random_orders(storage, written, size, seed) == 1
        return storage.read_table(random_orders_key(DOMAIN, size))

    return draw


def order(draws, purpose):
    return order_of(draws, purpose)["sample_id"].to_pylist()


@pytest.mark.ray
def test_a_smaller_draw_is_the_head_of_a_larger_one(draw):
    large, small = draw(100), draw(7)
    for purpose in (AUDIT, RANDOM):
        assert sorted(order(large, purpose)) == sorted(IDS.tolist())
        assert order(small, purpose) == order(large, purpose)[:7]
    assert order(large, AUDIT) != order(large, RANDOM)
    assert order(draw(100, seed=1), AUDIT) != order(large, AUDIT)


@pytest.mark.ray
def test_how_a_pool_is_cut_does_not_change_its_draws(draw):
    pieces = (1, 11, 18)
    found = draw(10, pieces)
    assert order(found, AUDIT) == order(draw(10), AUDIT)
    starts = dict(zip(("part-00000", "part-00001", "part-00002"), (0, 1, 12), strict=True))
    for row in found.to_pylist():
        assert IDS[starts[row["part"]] + row["row"]] == row["sample_id"]


@pytest.mark.ray
def test_each_domain_is_drawn_once(ray_cluster, tmp_path):
    storage, other = Storage(str(tmp_path)), DomainKey("mood", "news")
    first = write_part(storage, [1, 2])
    second = write_part(storage, [3], domain_key=other)
    assert make_random_orders(storage, [first], 5, 0) == 1
    assert make_random_orders(storage, [first, second], 5, 0) == 1
    assert make_random_orders(storage, [first, second], 5, 0) == 0
    assert order(storage.read_table(random_orders_key(other, 5)), AUDIT) == [3]


@pytest.mark.parametrize(
    ("asked", "found"),
    [([], []), ([4, 2], []), ([7], [7]), ([4, 7], [7, 4]), ([2, 4, 7, 9], [7, 4, 9, 2])],
)
def test_the_audit_set_is_the_longest_asked_head_of_its_order(asked, found):
    ids = [7, 4, 9, 2]
    columns = [[AUDIT] * 4 + [RANDOM] * 4, ["p"] * 8, list(range(8)), ids + ids[::-1]]
    arrays = [pa.array(c, t) for c, t in zip(columns, RANDOM_ORDERS.types, strict=True)]
    draws = pa.Table.from_arrays(arrays, schema=RANDOM_ORDERS)
    assert audit_prefix(draws, np.array(asked, np.int64)).tolist() == found
