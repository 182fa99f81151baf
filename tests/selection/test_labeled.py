import numpy as np
import pyarrow as pa
import pytest

from tests.pools import write_features, write_part
from umc_ray.methods.rarity import UNANSWERED
from umc_ray.records import BATCH, LABELS, RANDOM_ORDERS, STANDINGS, DomainKey
from umc_ray.selection.gather import gather
from umc_ray.selection.labeled import (
    examples_by_task,
    labeled_so_far,
    labels_so_far,
    read_embeddings,
)
from umc_ray.selection.random_orders import AUDIT, RANDOM, random_orders_key
from umc_ray.storage import Storage
from umc_ray.tasks.classification import Classification
from umc_ray.tasks.multi_label import MultiLabel

POSTS, NEWS, SCANS = (
    DomainKey("mood", "posts"),
    DomainKey("mood", "news"),
    DomainKey("shapes", "scans"),
)
KINDS = {
    "mood": Classification(("bad", "good")),
    "shapes": Classification(("circle", "square", "star")),
}
WORDS, EDGES = "features/words", "features/edges"
FEATURES = {"mood": {"words": WORDS}, "shapes": {"edges": EDGES}}
ASKED = {POSTS: np.array([3, 5, 9]), NEWS: np.array([5, 7]), SCANS: np.array([4])}
AUDITS = {POSTS: [9, 3, 8, 5], NEWS: [1, 5, 7], SCANS: [4]}
OTHERS = {POSTS: [8, 5, 3, 9], NEWS: [7, 1, 5], SCANS: [4]}
POOLS = {POSTS: [[1, 9, 2], [8, 5, 3]], NEWS: [[7, 6], [5, 1]], SCANS: [[4]]}
"""Of each domain, the ids in the parts of its pool."""


class World:
    """Two rounds: mood has labels in both, shapes in the second; 6 of news was skipped."""

    def __init__(self, folder):
        self.storage = Storage(str(folder))
        self.parts = [
            self.write(key, f"part-{number}", ids)
            for key, pieces in POOLS.items()
            for number, ids in enumerate(pieces)
        ]
        self.write_round(1, [(POSTS, 9, "good"), (NEWS, 7, "bad"), (POSTS, 3, "bad")])
        self.write_round(2, [(SCANS, 4, "star"), (POSTS, 5, "good"), (NEWS, 6, None)])
        for domain_key, order in AUDITS.items():
            rows = [
                {"purpose": purpose, "part": "p", "row": 0, "sample_id": i}
                for purpose, ids in ((AUDIT, order), (RANDOM, OTHERS[domain_key]))
                for i in ids
            ]
            table = pa.Table.from_pylist(rows, schema=RANDOM_ORDERS)
            self.storage.write_table(random_orders_key(domain_key, 10), table)

    def write(self, key, name, ids):
        part = write_part(self.storage, ids, name=name, domain_key=key)
        rows = [embedding(key, i) for i in ids]
        write_features(self.storage, part, ids, rows, WORDS if key.task == "mood" else EDGES)
        return part

    def place(self, key, i):
        (found,) = [
            {"part": f"part-{number}", "row": ids.index(i)}
            for number, ids in enumerate(POOLS[key])
            if i in ids
        ]
        return {"task": key.task, "domain": key.domain, **found, "sample_id": i}

    def write_round(self, number, asked):
        batch = [self.place(key, i) for key, i, _ in asked]
        labels = [
            {**self.place(key, i), "label": label, "round": number, "agreement": i / 10}
            for key, i, label in sorted(asked, key=lambda each: -each[1])
            if label is not None
        ]
        folder, storage = f"rounds/{number:04d}", self.storage
        storage.write_table(f"{folder}/batch.parquet", pa.Table.from_pylist(batch, schema=BATCH))
        storage.write_table(f"{folder}/labels.parquet", pa.Table.from_pylist(labels, schema=LABELS))

    def examples(self, rounds, asked=ASKED, features=FEATURES, kinds=KINDS):
        return examples_by_task(self.storage, rounds, asked, 10, self.parts, features, kinds)

    def labeled(self, rounds, key):
        own = [part for part in self.parts if part.domain_key == key]
        (table,) = FEATURES[key.task].values()
        return labeled_so_far(self.storage, rounds, own, table, KINDS[key.task])


def embedding(key, i):
    return [i, len(key.domain)] if key.task == "mood" else [i, 0, 1]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


ROUNDS = ["rounds/0001", "rounds/0002"]


def test_each_task_learns_from_its_labels_of_all_rounds(world):
    sets = world.examples(ROUNDS)
    assert list(sets) == ["mood", "shapes"]
    mood, shapes = sets.values()
    assert mood.ids_N.tolist() == [9, 7, 3, 5]
    assert mood.texts_N == ("good", "bad", "bad", "good")
    assert mood.targets.tolist() == [1, 0, 0, 1]
    assert mood.domains_N.tolist() == ["posts", "news", "posts", "posts"]
    assert mood.features["words"].tolist() == [[9, 5], [7, 4], [3, 5], [5, 5]]
    assert mood.audit_N.tolist() == [True, False, True, False]
    assert mood.random_N.tolist() == [True, True, True, False]  # 7 came first in the other order
    assert mood.rounds_N.tolist() == [1, 1, 1, 2]
    assert mood.agreement_N == pytest.approx([0.9, 0.7, 0.3, 0.5])
    assert (shapes.ids_N.tolist(), shapes.targets.tolist()) == ([4], [2])
    assert shapes.features["edges"].tolist() == [[4, 0, 1]]
    assert mood.features["words"].dtype == np.float32


def test_examples_have_the_embeddings_of_each_encoder_of_their_task(world):
    for part in world.parts:
        ids = world.storage.read_table(part.key("pool"))["sample_id"].to_pylist()
        write_features(world.storage, part, ids, [[-i, 2, 3] for i in ids], "features/large")
    features = {**FEATURES, "mood": {"words": WORDS, "large": "features/large"}}
    mood = world.examples(ROUNDS, features=features)["mood"]
    assert mood.features["words"].tolist() == [[9, 5], [7, 4], [3, 5], [5, 5]]
    assert mood.features["large"].tolist() == [[-9, 2, 3], [-7, 2, 3], [-3, 2, 3], [-5, 2, 3]]


def made(sample_id, label, exemplars, row):
    return {
        "task": "mood",
        "domain": "posts",
        "part": "synthetic-a",
        "row": row,
        "sample_id": sample_id,
        "label": label,
        "round": 2,
        "agreement": 1.0,
        "made_for": "good",
        "exemplars": exemplars,
    }


def test_synthetic_samples_follow_the_real_ones_and_are_held_out_with_their_exemplar(world):
    ids = [50, 51, 52, 53, 54]
    part = write_part(world.storage, ids, name="synthetic-a", domain_key=POSTS, split="synthetic")
    write_features(world.storage, part, ids, [embedding(POSTS, i) for i in ids], WORDS)
    rows = [
        made(50, "good", [5], 0),  # made from a labeled sample
        made(51, None, [5], 1),  # rejected
        made(52, "bad", [5, 7], 2),  # made from two samples that were selected
        made(53, "bad", [5, 3], 3),  # and one of which is an audit sample
        made(54, "bad", [9, 3], 4),  # made from two audit samples
    ]
    found = examples_by_task(
        world.storage,
        ROUNDS,
        ASKED,
        10,
        [*world.parts, part],
        FEATURES,
        KINDS,
        {"mood": "text"},
        synthetic=pa.Table.from_pylist(rows, STANDINGS),
        synthetic_weight=0.5,
    )
    mood = found["mood"]
    assert mood.ids_N.tolist() == [9, 7, 3, 5, 50, 52, 53]
    assert mood.texts_N[4:] == ("good", "bad", "bad")
    assert mood.features["words"][4:].tolist() == [[50, 5], [52, 5], [53, 5]]
    assert mood.payloads_N[4:] == ("text 50", "text 52", "text 53")
    assert not mood.audit_N[4:].any()
    assert not mood.random_N[4:].any()
    assert mood.synthetic.origins_N.tolist() == [9, 7, 3, 5, 5, 52, 3]
    assert mood.synthetic.weights_N.tolist() == [1, 1, 1, 1, 0.5, 0.5, 0.5]
    assert mood.real.ids_N.tolist() == world.examples(ROUNDS)["mood"].ids_N.tolist()
    assert found["shapes"].real.ids_N.tolist() == [4]


def test_examples_of_several_labels_have_a_target_per_label(world):
    kind = MultiLabel(("art", "law"))
    world.write_round(1, [(POSTS, 9, "art | law"), (NEWS, 7, "(none)"), (POSTS, 3, "law")])
    mood = world.examples(ROUNDS[:1], kinds={**KINDS, "mood": kind})["mood"]
    assert mood.texts_N == ("art | law", "(none)", "law")
    assert mood.targets.tolist() == [[1, 1], [0, 0], [0, 1]]


def test_a_task_without_labels_is_left_out(world):
    assert list(world.examples(ROUNDS[:1])) == ["mood"]


def test_labels_of_rounds_stand_in_their_order(world):
    labels = labels_so_far(world.storage, ROUNDS)
    assert labels["round"].to_pylist() == [1, 1, 1, 2, 2]


def test_embeddings_of_many_domains_stand_in_the_order_of_the_places(world):
    asked = [(POSTS, 3), (NEWS, 7), (POSTS, 9), (NEWS, 1), (POSTS, 8)]
    places = pa.Table.from_pylist([world.place(*each) for each in asked])
    mood = [part for part in world.parts if part.domain_key.task == "mood"]
    found = read_embeddings(world.storage, mood, WORDS, places)
    assert found.tolist() == [embedding(*each) for each in asked]
    assert found.dtype == np.float32
    assert len(read_embeddings(world.storage, mood, WORDS, places[:0])) == 0


def test_parts_of_a_test_split_are_never_read_for_a_place_in_the_pool(world):
    ids = POOLS[POSTS][0]
    test = write_part(world.storage, ids, name="part-0", domain_key=POSTS, split="test")
    write_features(world.storage, test, ids, [[0, 0]] * 3, WORDS)
    places = pa.Table.from_pylist([world.place(POSTS, 9)])
    found = read_embeddings(world.storage, [test, *world.parts], WORDS, places)
    assert found.tolist() == [[9, 5]]


def test_what_a_domain_was_asked_about_is_known_with_its_answers(world):
    posts, news = (world.labeled(ROUNDS, domain_key) for domain_key in (POSTS, NEWS))
    assert posts.embeddings_LD.tolist() == [[9, 5], [3, 5], [5, 5]]
    assert posts.answers_L.tolist() == [1, 0, 1]
    assert news.embeddings_LD.tolist() == [[7, 4], [6, 4]]
    assert news.answers_L.tolist() == [0, UNANSWERED]  # nobody could label 6
    assert len(world.labeled(ROUNDS[:1], SCANS).answers_L) == 0
    assert len(world.labeled([], POSTS).answers_L) == 0


def test_a_round_that_is_being_answered_has_no_answers_yet(world):
    batch = world.storage.read_table("rounds/0002/batch.parquet")
    world.storage.write_table("rounds/0003/batch.parquet", batch)
    found = world.labeled(["rounds/0001", "rounds/0003"], POSTS)
    assert found.answers_L.tolist() == [1, 0, UNANSWERED]


def test_rows_are_gathered_from_any_table_of_a_domain(world):
    own = [part for part in world.parts if part.domain_key == POSTS]
    picks = pa.Table.from_pylist([world.place(POSTS, i) for i in (5, 1, 9)])
    found = gather(world.storage, own, "pool", picks, ["sample_id"])
    assert found["sample_id"].to_pylist() == [5, 1, 9]
