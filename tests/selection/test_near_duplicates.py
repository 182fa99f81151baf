"""Embeddings are directions in the plane, given as angles in degrees."""

import numpy as np
import pyarrow as pa
import pytest

from tests.pools import DOMAIN, FEATURES, write_part
from umc_ray.config.campaign import NearDuplicatesConfig
from umc_ray.methods.certificates import exact_interval
from umc_ray.records import BATCH, LABELS, NEAR_DUPLICATES, DomainKey
from umc_ray.selection.near_duplicates import (
    near_duplicate_metrics,
    propagate_labels,
    propagated,
    standing,
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


def write_round(storage, folder, asked):
    """Store what people said: arm, id, angle, label (None: nobody could) and whether an audit."""
    rows = [
        {
            "task": domain_key.task,
            "domain": domain_key.domain,
            "sample_id": i,
            "embedding": directions([angle])[0].tobytes(),
            "audit": audit,
            "label": label,
        }
        for domain_key, i, angle, label, audit in asked
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
    write_round(storage, ROUNDS[0], [(DOMAIN, 6, 170, 1, False), (NEWS, 12, 90, 0, False)])
    write_taken(storage, ROUNDS[0], {})
    asked = [(DOMAIN, 1, 0, 0, False), (DOMAIN, 3, 20, 1, True), (DOMAIN, 4, 90, None, False)]
    write_round(storage, ROUNDS[1], asked)
    closed = {DOMAIN: np.array([1, 3, 4, 6]), NEWS: np.array([12])}
    done = []
    for _ in range(2):  # the second time, all parts are there
        found = propagate_labels(
            storage, ROUNDS[:2], parts, {"mood": FEATURES}, closed, RULES, done.append
        )
    assert sum(done) == 7
    rows = found.select(["part", "row", "sample_id", "label", "label_of"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("part-00000", 1, 2, 0, 1),
        ("part-00001", 0, 5, 0, 1),
    ]
    expected = np.cos(np.radians([5, 8]))
    np.testing.assert_allclose(found["similarity"].to_numpy(), expected, atol=1e-3)


def test_audits_and_no_other_answers_tell_how_many_are_wrong(storage):
    write_round(storage, ROUNDS[0], [])
    write_taken(storage, ROUNDS[0], {1: 0, 2: 1, 3: 1, 4: 1, 5: 0})
    asked = [
        (DOMAIN, 1, 0, 0, True),
        (DOMAIN, 2, 0, 0, True),
        (DOMAIN, 3, 0, 0, False),  # chosen: harder than most
        (DOMAIN, 4, 0, None, True),
        (DOMAIN, 9, 0, 1, True),  # took nothing over
    ]
    write_round(storage, ROUNDS[1], asked)
    low, high = exact_interval(1, 2)
    found = near_duplicate_metrics(storage, ROUNDS[:2])
    assert found == {
        "mood/posts": {"samples": 5, "audits": 2, "wrong": 1, "low": low, "high": high}
    }


def test_a_domain_with_too_many_wrong_ones_gives_its_labels_back(storage):
    write_round(storage, ROUNDS[0], [])
    write_taken(storage, ROUNDS[0], {1: 0, 2: 0, 3: 0})
    write_taken(storage, ROUNDS[1], {11: 0, 12: 0}, NEWS)
    write_round(storage, ROUNDS[1], [(DOMAIN, 1, 0, 1, True), (NEWS, 11, 0, 1, True)])
    closed = {DOMAIN: np.array([1]), NEWS: np.array([11])}
    found = with_near_duplicates(storage, ROUNDS[:2], closed, RULES)
    assert {domain_key: ids.tolist() for domain_key, ids in found.items()} == {
        DOMAIN: [1, 2, 3],
        NEWS: [11, 12],
    }

    write_round(storage, ROUNDS[2], [(DOMAIN, 2, 0, 1, True)])  # two of two: 16 % at least
    assert propagated(storage, ROUNDS)["sample_id"].to_pylist() == [1, 2, 3, 11, 12]
    assert standing(storage, ROUNDS, RULES)["sample_id"].to_pylist() == [11, 12]
    found = with_near_duplicates(storage, ROUNDS, closed, RULES)
    assert {domain_key: ids.tolist() for domain_key, ids in found.items()} == {
        DOMAIN: [1],
        NEWS: [11, 12],
    }
    part = write_part(storage, [3], directions([0]))
    taken = propagate_labels(storage, ROUNDS, [part], {"mood": FEATURES}, closed, RULES)
    assert len(taken) == 0


def test_rounds_of_an_older_release_have_none(storage):
    write_round(storage, ROUNDS[0], [(DOMAIN, 1, 0, 1, True)])
    assert near_duplicate_metrics(storage, ROUNDS[:1]) == {}
    found = with_near_duplicates(storage, ROUNDS[:1], {DOMAIN: np.array([1])}, RULES)
    assert found[DOMAIN].tolist() == [1]
