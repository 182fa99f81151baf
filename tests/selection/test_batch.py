"""Suffixes: N samples, D embedding dimension."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tests.pools import DOMAIN, FEATURES, write_pool
from umc_ray.config.campaign import SelectionConfig
from umc_ray.errors import StoreError
from umc_ray.methods.identity import uniform
from umc_ray.methods.rarity import UNANSWERED
from umc_ray.methods.scoring import top_m
from umc_ray.methods.selection import Candidates, select
from umc_ray.passes.score import score_schema
from umc_ray.records import (
    BATCH,
    CANDIDATES,
    LABELS,
    RANDOM_ORDERS,
    DomainKey,
    embeddings_array,
)
from umc_ray.selection import batch
from umc_ray.selection.batch import DomainBatchSpec, choose, choose_domain
from umc_ray.selection.gather import gather
from umc_ray.selection.group_floor import GroupFloor
from umc_ray.selection.random_orders import AUDIT, RANDOM, random_orders_key
from umc_ray.selection.selection_test import SelectionVerdict
from umc_ray.storage import Storage
from umc_ray.tasks.classification import Classification
from umc_ray.tasks.multi_label import MultiLabel

SIZES, ALL = (12, 1, 7), 20
CLASSES = ("bad", "good", "mixed")
KIND, SEVERAL = Classification(CLASSES), MultiLabel(CLASSES)


class World:
    """A domain of three parts with draws and, if wanted, scores."""

    def __init__(self, folder, domain_key=DOMAIN):
        self.storage, self.domain_key = Storage(str(folder)), domain_key
        self.parts = write_pool(self.storage, SIZES, domain_key=domain_key)
        tables = [self.storage.read_table(part.key(FEATURES)) for part in self.parts]
        self.place = {
            i.as_py(): (part.name, row)
            for part, table in zip(self.parts, tables, strict=True)
            for row, i in enumerate(table["sample_id"])
        }
        self.ids_N = np.array(list(self.place))
        self.x_ND = np.concatenate([embeddings_array(table["embedding"]) for table in tables])
        self.write_draws()

    def order(self, purpose):
        return self.ids_N[np.argsort(uniform(self.ids_N, 0, purpose))].tolist()

    def write_draws(self):
        rows = [
            {"purpose": purpose, "part": self.place[i][0], "row": self.place[i][1], "sample_id": i}
            for purpose in (AUDIT, RANDOM)
            for i in self.order(purpose)
        ]
        draws = pa.Table.from_pylist(rows, schema=RANDOM_ORDERS)
        self.storage.write_table(random_orders_key(self.domain_key, 100), draws)

    def write_scores(self, taken=(), kind=KIND):
        """Give every sample scores and a random acquisition; returns the latter by id."""
        rng = np.random.default_rng(1)
        values = dict(zip(self.ids_N.tolist(), rng.random(ALL).astype(np.float32), strict=True))
        for part in self.parts:
            mine = [i for i in self.ids_N.tolist() if self.place[i][0] == part.name]
            schema = score_schema(kind)
            measures = dict.fromkeys(kind.measures_about, 0)
            scores = [{**measures, **thought(i, kind)} for i in mine]
            table = pa.Table.from_pylist(scores, schema=schema)
            self.storage.write_table(part.key("rounds/0001/scores"), table)
            top = [
                self.candidate(i, values[i])
                for i in sorted(mine, key=lambda i: -values[i])
                if i not in taken
            ]
            table = pa.Table.from_pylist(top, schema=CANDIDATES)
            self.storage.write_table(part.key("rounds/0001/top"), table)
        return values

    def candidate(self, i, acquisition):
        part, row = self.place[i]
        named = {
            "task": self.domain_key.task,
            "domain": self.domain_key.domain,
            "part": part,
            "row": row,
        }
        return {**named, "sample_id": i, "acquisition": acquisition}

    def spec(self, labels, audits=0, asked=(), scores=None, kind=KIND):
        return DomainBatchSpec(
            domain_key=self.domain_key,
            kind=kind,
            labels=labels,
            audits=audits,
            parts=self.parts,
            features=FEATURES,
            order_size=100,
            queried=np.sort(np.array(asked, dtype=np.int64)),
            scores=scores,
            seed=3,
        )

    def choose(self, *arguments, selection=None, **named):
        selection = selection or SelectionConfig()
        return choose_domain(self.spec(*arguments, **named), selection, self.storage)


def thought(i, kind):
    """What the ensemble is made to think of a sample."""
    if kind == SEVERAL:
        best = {"predicted": [0, 2], "certainty": 0.4, "nearest": i % 3, "nearest_prob": 0.45}
    else:
        best = {"label_1": i % 3, "prob_1": 0.6, "label_2": (i + 1) % 3, "prob_2": 0.25}
    return {"sample_id": i, **best, "disagreement": 0.125}


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def ids(table):
    return table["sample_id"].to_pylist()


def test_audits_are_the_next_of_their_order(world):
    order = world.order(AUDIT)
    found = world.choose(5, audits=3, asked=[order[1]])
    assert found.schema == BATCH
    assert ids(found)[:3] == [order[0], order[2], order[3]]
    assert found["audit"].to_pylist() == [True] * 3 + [False] * 2
    assert set(found["why"].to_pylist()[:3]) == {"drawn at random, to measure accuracy"}


@pytest.mark.parametrize("strategy", ["random", "top", "cluster"])
@pytest.mark.parametrize("scores", [None, "rounds/0001"])
def test_nothing_is_chosen_twice(world, strategy, scores):
    asked = world.ids_N[::3].tolist()
    world.write_scores(taken=asked)
    found = world.choose(
        9, audits=4, asked=asked, scores=scores, selection=SelectionConfig(strategy=strategy)
    )
    assert len(set(ids(found))) == 9
    assert not set(ids(found)) & set(asked)


@pytest.mark.parametrize("scores", [None, "rounds/0001"])
def test_when_all_that_is_left_is_asked_for_all_of_it_is_chosen(world, scores):
    asked = world.ids_N[:13].tolist()
    world.write_scores(taken=asked)
    found = world.choose(7, audits=2, asked=asked, scores=scores)
    assert sorted(ids(found)) == sorted(world.ids_N[13:].tolist())


def test_random_selection_follows_its_order(world):
    found = world.choose(4, selection=SelectionConfig(strategy="random"))
    assert ids(found) == world.order(RANDOM)[:4]
    assert set(found["why"].to_pylist()) == {"drawn at random"}


WORSE = SelectionVerdict(of="posts", n=90, selected=54, random=63, p=0.004, harmful=True)


@pytest.mark.parametrize(
    ("harmful", "fallback", "is_random"),
    [(True, "random", True), (False, "random", False), (True, "never", False)],
)
def test_where_selection_was_worse_the_batch_is_drawn_at_random(
    world, harmful, fallback, is_random
):
    world.write_scores()
    spec = replace(
        world.spec(5, 2, scores="rounds/0001"), selection_test=replace(WORSE, harmful=harmful)
    )
    found = choose_domain(spec, SelectionConfig(fallback=fallback), world.storage)
    audits = set(world.order(AUDIT)[:2])
    drawn = [i for i in world.order(RANDOM) if i not in audits][:3]
    assert (ids(found)[2:] == drawn) == is_random
    reasons = found["why"].to_pylist()
    assert reasons[:2] == ["drawn at random, to measure accuracy"] * 2
    assert [
        why.startswith("drawn at random: of 90 random samples of posts, ") for why in reasons
    ] == [
        False,
        False,
        *[is_random] * 3,
    ]


def test_a_domain_without_a_model_begins_with_typical_samples_of_a_draw(world, monkeypatch):
    monkeypatch.setattr(batch, "COLD_CANDIDATES", 1)
    found = world.choose(2, selection=SelectionConfig(candidates_per_label=4))
    drawn = world.order(RANDOM)[:8]
    rows = [world.ids_N.tolist().index(i) for i in drawn]
    pool = Candidates(np.array(drawn), np.zeros(8, np.float32), world.x_ND[rows].astype(np.float32))
    assert ids(found) == [drawn[row] for row in select("herding", pool, 2, seed=3)]
    assert found["predicted"].to_pylist() == [None] * 2
    assert "there is no model yet" in found["why"][0].as_py()


def test_an_active_batch_is_picked_from_the_most_informative_of_all_parts(world):
    values = world.write_scores()
    audit = world.order(AUDIT)[0]
    selection = SelectionConfig(strategy="cluster", candidates_per_label=3)
    found = world.choose(4, audits=1, scores="rounds/0001", selection=selection)
    left_N = world.ids_N[world.ids_N != audit]
    values_N = np.array([values[i] for i in left_N.tolist()], np.float32)
    best = top_m(values_N, left_N, 9)
    rows = [world.ids_N.tolist().index(i) for i in left_N[best].tolist()]
    pool = Candidates(left_N[best], values_N[best], world.x_ND[rows].astype(np.float32))
    expected = left_N[best][select("cluster", pool, 3, seed=3)]
    assert ids(found) == [audit, *expected.tolist()]


def test_a_batch_covers_what_earlier_rounds_did_not(world):
    values = world.write_scores()
    asked = world.ids_N[:5].tolist()
    earlier = pa.Table.from_pylist([world.candidate(i, 0.0) for i in asked], schema=BATCH)
    world.storage.write_table("rounds/0001/batch.parquet", earlier)
    spec = replace(world.spec(4, asked=asked, scores="rounds/0001"), rounds=("rounds/0001",))
    found = choose_domain(spec, SelectionConfig(strategy="herding"), world.storage)
    left_N, x_ND = world.ids_N[5:], world.x_ND.astype(np.float32)
    acquisition_N = np.array([values[i] for i in left_N.tolist()], np.float32)
    pool = Candidates(left_N, acquisition_N, x_ND[5:])
    picks = select("herding", pool, 4, seed=3, labeled_embeddings=x_ND[:5])
    assert ids(found) == left_N[picks].tolist()
    assert picks.tolist() != select("herding", pool, 4, seed=3).tolist()


def test_a_batch_says_what_the_ensemble_thinks_and_where_the_embeddings_are(world):
    world.write_scores()
    found = world.choose(3, scores="rounds/0001", selection=SelectionConfig(strategy="top"))
    for row in found.to_pylist():
        i = row["sample_id"]
        assert (row["predicted"], row["confidence"]) == (CLASSES[i % 3], pytest.approx(0.6))
        assert row["why"] == (
            f"{CLASSES[i % 3]} and {CLASSES[(i + 1) % 3]} are 35 points apart, the specialists "
            "disagree by 0.12 bit; among the most informative of posts by margin"
        )
    table = gather(world.storage, world.parts, FEATURES, found, ["sample_id", "embedding"])
    assert table["sample_id"].to_pylist() == ids(found)
    rows = [world.ids_N.tolist().index(i) for i in ids(found)]
    np.testing.assert_array_equal(embeddings_array(table["embedding"]), world.x_ND[rows])


def test_a_batch_of_several_labels_says_which_are_predicted_and_which_is_least_sure(world):
    world.write_scores(kind=SEVERAL)
    found = world.choose(3, audits=1, scores="rounds/0001", kind=SEVERAL)
    assert found["predicted"].to_pylist() == ["bad | mixed"] * 3
    assert found["confidence"].to_pylist() == [pytest.approx(0.4)] * 3
    for row in found.to_pylist()[1:]:
        assert row["why"] == (
            f"{CLASSES[row['sample_id'] % 3]} is the least certain label (45 %), the specialists "
            "disagree by 0.12 bit; among the most informative of posts by margin"
        )


def test_a_rare_answer_of_earlier_rounds_guides_what_comes(world):
    values = world.write_scores(kind=SEVERAL)
    asked = world.ids_N[:6].tolist()
    rows = [world.candidate(i, 0.0) for i in asked]
    labels = ["bad", "bad | good", "bad", "(none)", "bad"]
    answered = [{**row, "label": label} for row, label in zip(rows, labels, strict=False)]
    storage = world.storage
    storage.write_table("rounds/0001/batch.parquet", pa.Table.from_pylist(rows, schema=BATCH))
    storage.write_table("rounds/0001/labels.parquet", pa.Table.from_pylist(answered, schema=LABELS))
    spec = world.spec(4, asked=asked, scores="rounds/0001", kind=SEVERAL)
    spec = replace(spec, rounds=("rounds/0001",))
    found = choose_domain(spec, SelectionConfig(strategy="rare"), storage)
    left_N, x_ND = world.ids_N[6:], world.x_ND.astype(np.float32)
    order = sorted(range(14), key=lambda row: (-values[left_N[row]], left_N[row]))
    acquisition_N = np.array([values[i] for i in left_N[order].tolist()], np.float32)
    picks = select(
        "rare",
        Candidates(left_N[order], acquisition_N, x_ND[6:][order]),
        4,
        seed=3,
        labeled_embeddings=x_ND[:6],
        labeled_answers=np.array([0, 1, 0, 3, 0, UNANSWERED]),  # 3: no label at all
    )
    assert ids(found) == left_N[order][picks].tolist()


FLOOR = GroupFloor(("sex",), share=0.5, smallest=2)


def write_sexes(world, few):
    """Have a few samples be of one sex, one of a third, and the others of another."""
    single = next(i for i in world.ids_N.tolist() if i not in few)
    for part in world.parts:
        own = [i for i in world.ids_N.tolist() if world.place[i][0] == part.name]
        sexes = ["f" if i in few else "x" if i == single else "m" for i in own]
        world.storage.write_table(part.key("kept"), pa.table({"sex": sexes}))


@pytest.mark.parametrize("strategy", ["top", "cluster"])
def test_a_group_has_its_floor_though_it_is_not_among_the_candidates(world, strategy):
    values = world.write_scores()
    ranked = sorted(values, key=lambda i: -values[i])
    write_sexes(world, ranked[-4:])
    spec = replace(world.spec(4, scores="rounds/0001"), group_floor=FLOOR)
    selection = SelectionConfig(strategy=strategy, candidates_per_label=2)
    found = choose_domain(spec, selection, world.storage)
    assert len(set(ids(found))) == 4
    assert set(ids(found)[2:]) <= set(ranked[-4:])
    if strategy == "top":
        assert ids(found) == [*ranked[:2], *ranked[-4:-2]]
    why = found["why"].to_pylist()
    assert [each.endswith("its group has a least share of the batch") for each in why] == [
        False, False, True, True
    ]  # fmt: skip


def test_a_group_has_its_floor_in_the_first_batch_and_audits_do_not_count(world):
    audits = world.order(AUDIT)[:2]
    few = [*audits, *[i for i in world.order(RANDOM) if i not in audits][-3:]]
    write_sexes(world, few)
    spec = replace(world.spec(6, audits=2), group_floor=FLOOR)
    found = choose_domain(spec, SelectionConfig(), world.storage)
    assert ids(found)[:2] == audits
    assert len(set(ids(found)[2:]) & set(few)) >= 2


def test_a_group_gets_no_more_than_there_is(world):
    world.write_scores()
    write_sexes(world, world.ids_N[:2].tolist())
    spec = replace(
        world.spec(8, asked=world.ids_N[:1].tolist(), scores="rounds/0001"), group_floor=FLOOR
    )
    found = choose_domain(spec, SelectionConfig(strategy="top"), world.storage)
    assert len(set(ids(found))) == 8
    assert world.ids_N[1] in ids(found)


def test_a_share_of_nothing_is_an_empty_batch(world):
    assert world.choose(0).num_rows == 0
    assert world.choose(0).schema == BATCH


@pytest.mark.ray
def test_the_batch_is_all_shares_in_their_order(world, tmp_path, ray_cluster):
    other = World(tmp_path, DomainKey("mood", "news"))
    specs = [other.spec(2, 1), world.spec(0), world.spec(3, 1)]
    found = choose(specs, SelectionConfig(), world.storage)
    expected = [choose_domain(spec, SelectionConfig(), world.storage) for spec in specs]
    assert found == pa.concat_tables(expected)
    assert found["domain"].to_pylist() == ["news"] * 2 + ["posts"] * 3


def test_rows_are_gathered_in_the_order_of_the_picks(world):
    picks = np.random.default_rng(5).permutation(world.ids_N)[:9].tolist()
    table = pa.Table.from_pylist([world.candidate(i, 0.0) for i in picks], schema=CANDIDATES)
    found = gather(world.storage, world.parts, "pool", table, ["sample_id", "text"])
    assert found.to_pylist() == [{"sample_id": i, "text": f"text {i}"} for i in picks]
    nothing = gather(world.storage, world.parts, "pool", table[:0], ["text"])
    assert (nothing.num_rows, nothing.column_names) == (0, ["text"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"row": 10_000}, r"row 10000 of pool/.* is not sample s\d+ that was chosen there"),
        ({"sample_id": -1}, r"is not sample s-1 that was chosen there"),
        ({"part": "gone"}, r"pool of .* has no part gone with row \d+, 1 of 3 rows"),
    ],
)
def test_never_another_sample_in_the_place_of_a_pick(world, change, said):
    rows = [world.candidate(i, 0.0) for i in world.ids_N[:3].tolist()]
    table = pa.Table.from_pylist([*rows[:2], {**rows[2], **change}], schema=CANDIDATES)
    with pytest.raises(StoreError, match=said):
        gather(world.storage, world.parts, "pool", table, ["text"])
