import numpy as np
import pyarrow as pa
import pytest

from umc_ray.methods.rarity import UNANSWERED
from umc_ray.records import BATCH, LABELS, RANDOM_ORDERS, DomainKey
from umc_ray.selection.labeled import labeled_so_far, labels_so_far, training_sets
from umc_ray.selection.random_orders import AUDIT, RANDOM, random_orders_key
from umc_ray.storage import Storage

POSTS, NEWS, SCANS = (
    DomainKey("mood", "posts"),
    DomainKey("mood", "news"),
    DomainKey("shapes", "scans"),
)
ASKED = {POSTS: np.array([3, 5, 9]), NEWS: np.array([5, 7]), SCANS: np.array([4])}
AUDITS = {POSTS: [9, 3, 8, 5], NEWS: [1, 5, 7], SCANS: [4]}
OTHERS = {POSTS: [8, 5, 3, 9], NEWS: [7, 1, 5], SCANS: [4]}


@pytest.fixture
def storage(tmp_path):
    """Two rounds: mood has labels in both, shapes in the second; 5 of news was skipped."""
    storage = Storage(str(tmp_path))
    write_round(storage, 1, [(POSTS, 9, 1), (NEWS, 7, 0), (POSTS, 3, 0)])
    write_round(storage, 2, [(SCANS, 4, 2), (POSTS, 5, 1), (NEWS, 6, None)])
    for domain_key, order in AUDITS.items():
        rows = [
            {"purpose": purpose, "part": "p", "row": 0, "sample_id": i}
            for purpose, ids in ((AUDIT, order), (RANDOM, OTHERS[domain_key]))
            for i in ids
        ]
        storage.write_table(
            random_orders_key(domain_key, 10), pa.Table.from_pylist(rows, schema=RANDOM_ORDERS)
        )
    return storage


def embedding(domain_key, i):
    return np.array(
        [i, len(domain_key.domain)] if domain_key.task == "mood" else [i, 0, 1], np.float16
    )


def write_round(storage, number, asked):
    batch = [
        {
            "task": domain_key.task,
            "domain": domain_key.domain,
            "sample_id": i,
            "embedding": embedding(domain_key, i).tobytes(),
        }
        for domain_key, i, _ in asked
    ]
    labels = [
        {
            "task": domain_key.task,
            "domain": domain_key.domain,
            "sample_id": i,
            "label": label,
            "round": number,
            "agreement": i / 10,
        }
        for domain_key, i, label in sorted(asked, key=lambda each: -each[1])
        if label is not None
    ]
    folder = f"rounds/{number:04d}"
    storage.write_table(f"{folder}/batch.parquet", pa.Table.from_pylist(batch, schema=BATCH))
    storage.write_table(f"{folder}/labels.parquet", pa.Table.from_pylist(labels, schema=LABELS))


def test_each_task_learns_from_its_labels_of_all_rounds(storage):
    sets = training_sets(storage, ["rounds/0001", "rounds/0002"], ASKED, 10)
    assert list(sets) == ["mood", "shapes"]
    mood, shapes = sets.values()
    assert mood.ids_N.tolist() == [9, 7, 3, 5]
    assert mood.labels_N.tolist() == [1, 0, 0, 1]
    assert mood.domains_N.tolist() == ["posts", "news", "posts", "posts"]
    assert mood.embeddings_ND.tolist() == [[9, 5], [7, 4], [3, 5], [5, 5]]
    assert mood.audit_N.tolist() == [True, False, True, False]
    assert mood.random_N.tolist() == [True, True, True, False]  # 7 came first in the other order
    assert mood.rounds_N.tolist() == [1, 1, 1, 2]
    assert mood.agreement_N == pytest.approx([0.9, 0.7, 0.3, 0.5])
    assert (shapes.ids_N.tolist(), shapes.labels_N.tolist()) == ([4], [2])
    assert shapes.embeddings_ND.tolist() == [[4, 0, 1]]
    assert mood.embeddings_ND.dtype == np.float32


def test_a_task_without_labels_is_left_out(storage):
    assert list(training_sets(storage, ["rounds/0001"], ASKED, 10)) == ["mood"]


def test_labels_of_rounds_stand_in_their_order(storage):
    labels = labels_so_far(storage, ["rounds/0001", "rounds/0002"])
    assert labels["round"].to_pylist() == [1, 1, 1, 2, 2]


def test_what_a_domain_was_asked_about_is_known_with_its_answers(storage):
    rounds = ["rounds/0001", "rounds/0002"]
    posts, news = (labeled_so_far(storage, rounds, domain_key) for domain_key in (POSTS, NEWS))
    assert posts.embeddings_LD.tolist() == [[9, 5], [3, 5], [5, 5]]
    assert posts.answers_L.tolist() == [1, 0, 1]
    assert news.embeddings_LD.tolist() == [[7, 4], [6, 4]]
    assert news.answers_L.tolist() == [0, UNANSWERED]  # nobody could label 6
    assert len(labeled_so_far(storage, rounds[:1], SCANS).answers_L) == 0
    assert len(labeled_so_far(storage, [], POSTS).answers_L) == 0


def test_a_round_that_is_being_answered_has_no_answers_yet(storage):
    batch = storage.read_table("rounds/0002/batch.parquet")
    storage.write_table("rounds/0003/batch.parquet", batch)
    found = labeled_so_far(storage, ["rounds/0001", "rounds/0003"], POSTS)
    assert found.answers_L.tolist() == [1, 0, UNANSWERED]
