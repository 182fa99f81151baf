"""Embeddings are directions in the plane, given as angles in degrees."""

from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pytest

from tests.pools import DOMAIN, FEATURES, write_part
from umc_ray.config.campaign import NearDuplicatesConfig
from umc_ray.methods.certificates import exact_interval
from umc_ray.records import BATCH, LABELS, NEAR_DUPLICATES, DomainKey
from umc_ray.selection.near_duplicates import (
    Check,
    check,
    effective,
    propagate_labels,
    propagated,
    with_near_duplicates,
)
from umc_ray.storage import Storage

NEWS = DomainKey("mood", "news")
RULES = NearDuplicatesConfig(similarity=0.98)  # 11.5 degrees
ROUNDS = ["rounds/0001", "rounds/0002", "rounds/0003"]


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path))


def directions(angles):
    radians = np.radians(angles)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float16)


def write_round(storage, folder, asked, places=MappingProxyType({})):
    """Store what people said: arm, id, label (None: nobody could) and whether an audit.

    Places: part and row of the samples whose embeddings are read, by id.
    """
    rows = [
        {
            "task": domain_key.task,
            "domain": domain_key.domain,
            **dict(zip(("part", "row"), places.get(i, (None, None)), strict=True)),
            "sample_id": i,
            "audit": audit,
            "label": label,
        }
        for domain_key, i, label, audit in asked
    ]
    names = {"batch": BATCH, "labels": LABELS}
    tables = {"batch": rows, "labels": [row for row in rows if row["label"] is not None]}
    for name, schema in names.items():
        table = pa.Table.from_pylist(tables[name], schema=schema)
        storage.write_table(f"{folder}/{name}.parquet", table)


def write_taken(storage, folder, labels, domain_key=DOMAIN):
    rows = [
        {"task": domain_key.task, "domain": domain_key.domain, "sample_id": i, "label": label}
        for i, label in labels.items()
    ]
    table = pa.Table.from_pylist(rows, schema=NEAR_DUPLICATES)
    storage.write_table(f"{folder}/near_duplicates.parquet", table)


@pytest.mark.ray
def test_open_samples_take_over_the_nearest_new_label_of_their_domain(storage, ray_cluster):
    parts = [
        write_part(storage, [1, 2, 3, 4], directions([0, 5, 20, 90])),
        write_part(storage, [5, 6, 7], directions([8, 170, 95]), "part-00001"),
        write_part(storage, [11, 12], directions([0, 90]), domain_key=NEWS),
        write_part(storage, [21], directions([0]), split="test"),
    ]
    places = {
        int(i): (part.name, row)
        for part in parts
        if part.split == "pool"
        for row, i in enumerate(storage.read_table(part.key("pool"))["sample_id"].to_pylist())
    }
    before = [(DOMAIN, 6, "good", False), (NEWS, 12, "bad", False)]
    write_round(storage, ROUNDS[0], before, places)
    write_taken(storage, ROUNDS[0], {})
    asked = [(DOMAIN, 1, "bad", False), (DOMAIN, 3, "good", True), (DOMAIN, 4, None, False)]
    write_round(storage, ROUNDS[1], asked, places)
    closed = {DOMAIN: np.array([1, 3, 4, 6]), NEWS: np.array([12])}
    done = []
    for _ in range(2):  # the second time, all parts are there
        found = propagate_labels(
            storage, ROUNDS[:2], parts, {"mood": FEATURES}, closed, RULES, done.append
        )
    assert sum(done) == 7
    rows = found.select(["part", "row", "sample_id", "label", "label_of"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("part-00000", 1, 2, "bad", 1),
        ("part-00001", 0, 5, "bad", 1),
    ]
    expected = np.cos(np.radians([5, 8]))
    np.testing.assert_allclose(found["similarity"].to_numpy(), expected, atol=1e-3)


def test_audits_and_no_other_answers_tell_how_many_are_wrong(storage):
    write_round(storage, ROUNDS[0], [])
    write_taken(storage, ROUNDS[0], {1: "bad", 2: "good", 3: "good", 4: "good", 5: "bad"})
    asked = [
        (DOMAIN, 1, "bad", True),
        (DOMAIN, 2, "bad", True),
        (DOMAIN, 3, "bad", False),  # chosen: harder than most
        (DOMAIN, 4, None, True),
        (DOMAIN, 9, "good", True),  # took nothing over
    ]
    write_round(storage, ROUNDS[1], asked)
    low, high = exact_interval(1, 2)
    found = check(storage, ROUNDS[:2])
    assert found == {"mood/posts": Check(samples=5, audits=2, wrong=1, low=low, high=high)}


def test_a_domain_with_too_many_wrong_ones_gives_its_labels_back(storage):
    write_round(storage, ROUNDS[0], [])
    write_taken(storage, ROUNDS[0], {1: "bad", 2: "bad", 3: "bad"})
    write_taken(storage, ROUNDS[1], {11: "bad", 12: "bad"}, NEWS)
    write_round(storage, ROUNDS[1], [(DOMAIN, 1, "good", True), (NEWS, 11, "good", True)])
    closed = {DOMAIN: np.array([1]), NEWS: np.array([11])}
    found = with_near_duplicates(storage, ROUNDS[:2], closed, RULES)
    assert {domain_key: ids.tolist() for domain_key, ids in found.items()} == {
        DOMAIN: [1, 2, 3],
        NEWS: [11, 12],
    }

    write_round(storage, ROUNDS[2], [(DOMAIN, 2, "good", True)])  # two of two: 16 % at least
    assert propagated(storage, ROUNDS)["sample_id"].to_pylist() == [1, 2, 3, 11, 12]
    assert effective(storage, ROUNDS, RULES)["sample_id"].to_pylist() == [11, 12]
    found = with_near_duplicates(storage, ROUNDS, closed, RULES)
    assert {domain_key: ids.tolist() for domain_key, ids in found.items()} == {
        DOMAIN: [1],
        NEWS: [11, 12],
    }
    part = write_part(storage, [3], directions([0]))
    taken = propagate_labels(storage, ROUNDS, [part], {"mood": FEATURES}, closed, RULES)
    assert len(taken) == 0


def test_rounds_of_an_older_release_have_none(storage):
    write_round(storage, ROUNDS[0], [(DOMAIN, 1, "good", True)])
    assert check(storage, ROUNDS[:1]) == {}
    found = with_near_duplicates(storage, ROUNDS[:1], {DOMAIN: np.array([1])}, RULES)
    assert found[DOMAIN].tolist() == [1]
