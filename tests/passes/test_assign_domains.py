import numpy as np
import pyarrow as pa

from tests.pools import FEATURES, write_part
from umc_ray.cluster.stream import run_item
from umc_ray.passes.assign_domains import AssignSummary, DomainWorker
from umc_ray.storage import Storage


def test_embeddings_of_the_sources_go_with_their_samples(tmp_path):
    storage, target = Storage(str(tmp_path / "home")), Storage(str(tmp_path / "domains"))
    part = write_part(storage, [7, 5], [[1, 0], [0, 2]])
    given = pa.array([[3.0, 0.5], [0.5, 3.0]], pa.list_(pa.float32()))
    pool = storage.read_table(part.key("pool")).append_column("embedding", given)
    storage.write_table(part.key("pool"), pool)
    centers_KD = np.array([[0, 1], [1, 0]], np.float32)
    columns = ("text", "embedding")
    run_item(
        DomainWorker(storage, FEATURES, target, ("up", "right"), centers_KD, columns, False), part
    )
    assert target.read_table("pool/right/part-00000.parquet").to_pylist() == [
        {"key": "k7", "source": "x.csv", "text": "text 7", "embedding": [3.0, 0.5]}
    ]


def test_samples_go_to_the_nearest_center_and_what_has_no_embedding_to_none(tmp_path):
    storage, target = Storage(str(tmp_path / "home")), Storage(str(tmp_path / "domains"))
    x_ND = [[1, 0], [0, 2], [np.nan, 0], [3, 1]]
    part = write_part(storage, [7, 5, 6, 9], x_ND)
    centers_KD = np.array([[0, 1], [1, 0], [-9, 0]], np.float32)
    names = ("up", "right", "left")
    worker = DomainWorker(
        storage, FEATURES, target, names, centers_KD, ("text",), has_answers=False
    )
    assert run_item(worker, part) == AssignSummary(4, (1, 2, 0))
    assigned = storage.read_table(worker.output_key(part)).to_pylist()
    assert [(row["sample_id"], row["domain"]) for row in assigned] == [
        (7, 1),
        (5, 0),
        (6, -1),
        (9, 1),
    ]
    np.testing.assert_allclose([assigned[1]["distance"], assigned[3]["distance"]], [1, 5**0.5])
    assert target.keys("") == [
        "pool/right/part-00000.parquet",
        "pool/up/part-00000.parquet",
    ]
    right = target.read_table("pool/right/part-00000.parquet").to_pylist()
    assert right == [
        {"key": "k7", "source": "x.csv", "text": "text 7"},
        {"key": "k9", "source": "x.csv", "text": "text 9"},
    ]
