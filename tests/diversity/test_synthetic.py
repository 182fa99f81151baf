from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from umc_ray.diversity.generators.generator import Generated
from umc_ray.diversity.synthetic import Checked, Origin, read_origins, synthetic_parts, write_part
from umc_ray.ingest.manifest import INDEX, NOTHING, store_manifest
from umc_ray.methods.identity import content_hash, sample_ids
from umc_ray.records import DomainKey, split_of_part
from umc_ray.storage import Storage

POSTS, NEWS = DomainKey("mood", "posts"), DomainKey("mood", "news")
ORIGIN = Origin("writer", "v1", gap="g1")
REAL, TESTED = "a real text", "a text of a test"


def checked(text, key=None, label="good", **changes):
    sample = Generated(text, label, exemplars=(7, 8), prompt="write", seed=3)
    return Checked(key or f"writer/{text}", sample, **changes)


def ingested(storage, domain_key, split, text):
    words = np.frombuffer(content_hash(text.encode()), "<u8")
    columns = [[1], words[:1], words[1:], [None]]
    index = pa.table([pa.array(c, t) for c, t in zip(columns, INDEX.types, strict=True)], INDEX)
    store_manifest(storage, domain_key, split, replace(NOTHING, generation=0), index)


@pytest.fixture
def storage(tmp_path):
    """A task of two domains: one has a pool, the other a test split."""
    storage = Storage(str(tmp_path))
    ingested(storage, POSTS, "pool", REAL)
    ingested(storage, NEWS, "test", TESTED)
    return storage


def write(storage, samples, name="a", **changes):
    return write_part(storage, POSTS, name, ORIGIN, samples, [POSTS, NEWS], **changes)


def test_a_part_holds_the_samples_and_tells_where_each_comes_from(storage):
    part = write(storage, [checked("one", copy_ratio=0.5), checked(b"\x89PNG", key="two")])
    assert (part.split, part.rows, split_of_part(part.name)) == ("synthetic", 2, "synthetic")
    pool = storage.read_table(part.key("pool")).to_pylist()
    ids = sample_ids("mood", "posts", "synthetic", ["writer/one", "two"]).tolist()
    assert [row["sample_id"] for row in pool] == ids
    assert [(row["text"], row["image"]) for row in pool] == [("one", None), (None, b"\x89PNG")]
    rows = read_origins(storage, [part]).to_pylist()
    assert [row["sample_id"] for row in rows] == ids
    assert rows[0] == {
        "task": "mood",
        "domain": "posts",
        "part": "synthetic-a",
        "row": 0,
        "sample_id": ids[0],
        "gap": "g1",
        "generator": "writer",
        "version": "v1",
        "seed": 3,
        "exemplars": [7, 8],
        "prompt": "write",
        "label": "good",
        "copy_ratio": 0.5,
        "distance": None,
        "agreement": None,
        "refused": None,
    }
    assert synthetic_parts(storage, [POSTS, NEWS]) == (part,)


def test_exact_copies_are_stored_as_refused(storage):
    texts = [f" {REAL}\r\n", TESTED, "new", "new ", "bad"]
    samples = [checked(text, key=str(i)) for i, text in enumerate(texts)]
    samples[-1] = replace(samples[-1], refused="too near")
    refused = read_origins(storage, [write(storage, samples)])["refused"].to_pylist()
    assert refused == [
        "a copy of a sample of the pool",
        "a copy of a sample of a test",
        None,
        "the same was made before",
        "too near",
    ]
    again = write(storage, [checked("new", key="other")], name="b")
    assert read_origins(storage, [again])["refused"].to_pylist() == ["the same was made before"]


def test_a_kill_between_the_tables_of_a_part_loses_nothing_and_makes_nothing_twice(
    storage, monkeypatch
):
    samples, write_table = [checked("one"), checked("two")], Storage.write_table
    for survived in range(3):  # of the tables pool, oracle and synthetic
        left = iter(range(survived))

        def killed(self, key, table, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt
            write_table(self, key, table)

        monkeypatch.setattr(Storage, "write_table", killed)
        with pytest.raises(KeyboardInterrupt):
            write(storage, samples, has_answers=True)
        assert synthetic_parts(storage, [POSTS]) == ()
    monkeypatch.undo()
    part = write(storage, samples, has_answers=True)
    assert write(storage, samples, has_answers=True) == part
    assert write(storage, samples, name="later") is None  # the same names
    assert synthetic_parts(storage, [POSTS]) == (part,)
    assert len(read_origins(storage, [part])) == 2
