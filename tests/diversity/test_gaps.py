"""A pool of four patterns, of which one has no labels. Suffixes: N samples, D dimension."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from umc_ray.diversity.find_gaps import GapSpec, find
from umc_ray.diversity.gaps import (
    AuditErrors,
    keep_ids,
    read_centers,
)
from umc_ray.methods.identity import sample_ids
from umc_ray.passes.gap_candidates import GapsOfDomain, GapWorker
from umc_ray.passes.score import score_schema
from umc_ray.records import LABELS, POOL, DomainKey, Part, embeddings_column
from umc_ray.selection.gap_share import GapShare, candidates_of, search_gaps
from umc_ray.storage import Storage
from umc_ray.tasks.classification import Classification

KEY, FEATURES, ROUND = DomainKey("topic", "news"), "features/topic/f", "rounds/0001"
KIND = Classification(("a", "b"))
WORDS = ("apple", "brick", "cloud", "drums")
MISSING, EACH, ROWS = 3, 150, 200


class World:
    """Three parts whose rows are samples of the four patterns in turn."""

    def __init__(self, folder, sure_of_missing=0.55):
        self.storage = Storage(str(folder))
        n = len(WORDS) * EACH
        self.patterns_N = np.arange(n) % len(WORDS)
        self.ids_N = sample_ids(KEY.task, KEY.domain, "pool", [str(i) for i in range(n)])
        rng = np.random.default_rng(0)
        self.x_ND = x_ND = 10 * np.eye(len(WORDS), 6)[self.patterns_N] + rng.normal(size=(n, 6))
        self.sure_N = np.where(self.patterns_N == MISSING, sure_of_missing, 0.95)
        self.parts = tuple(Part("pool", KEY, f"{start:05d}", ROWS) for start in range(0, n, ROWS))
        for part, rows in self.pieces():
            self.write(part, rows, x_ND[rows].astype(np.float16))

    def pieces(self):
        return [(part, slice(int(part.name), int(part.name) + ROWS)) for part in self.parts]

    def write(self, part, rows, x_ND):
        ids = self.ids_N[rows]
        texts = [f"{WORDS[each]} and others" for each in self.patterns_N[rows]]
        pool = [
            {"sample_id": i, "key": str(i), "source": "s", "text": text, "aliases": []}
            for i, text in zip(ids.tolist(), texts, strict=True)
        ]
        self.storage.write_table(part.key("pool"), pa.Table.from_pylist(pool, schema=POOL))
        features = {"sample_id": ids, "embedding": embeddings_column(x_ND)}
        self.storage.write_table(part.key(FEATURES), pa.table(features))
        scores = [
            {**dict.fromkeys(KIND.measures_about, 0.0), "sample_id": i, "margin": 2 * sure - 1}
            | {"label_1": 0, "prob_1": sure, "label_2": 1, "prob_2": 1 - sure}
            for i, sure in zip(ids.tolist(), self.sure_N[rows].tolist(), strict=True)
        ]
        table = pa.Table.from_pylist(scores, schema=score_schema(KIND))
        self.storage.write_table(part.key(f"{ROUND}/scores"), table)

    def keep(self, groups):
        """Write columns beside the pool: the group of each pattern, in turn."""
        for part, rows in self.pieces():
            columns = {
                name: [values[i % len(values)] for i in self.patterns_N[rows].tolist()]
                for name, values in groups.items()
            }
            self.storage.write_table(part.key("kept"), pa.table(columns))

    def target(self, per_pattern):
        """Write a target set of as many samples of each pattern, in one part."""
        rows = [np.flatnonzero(self.patterns_N == i)[:n] for i, n in enumerate(per_pattern)]
        rows = np.concatenate(rows)
        part = Part("target", KEY, "00000", len(rows))
        self.write(part, rows, self.x_ND[rows].astype(np.float16))
        return (part,)

    def labels(self, per_pattern):
        rows = [np.flatnonzero(self.patterns_N == i)[:n] for i, n in enumerate(per_pattern)]
        answer = {"label": "a", "votes": 1, "round": 1}
        return pa.Table.from_pylist(
            [self.place(row) | answer for row in np.concatenate(rows).tolist()], schema=LABELS
        )

    def place(self, row):
        part = f"{row // ROWS * ROWS:05d}"
        place = {"task": KEY.task, "domain": KEY.domain, "part": part, "row": row % ROWS}
        return place | {"sample_id": int(self.ids_N[row])}

    def spec(self, per_pattern=(40, 40, 40, 0), **changes):
        spec = GapSpec(
            domain_key=KEY,
            kind=KIND,
            parts=self.parts,
            features=FEATURES,
            scores=f"{ROUND}/scores",
            labels=self.labels(per_pattern),
            audits=None,
            words_in="text",
        )
        return replace(spec, **changes)

    def patterns_of(self, ids):
        known = dict(zip(self.ids_N.tolist(), self.patterns_N.tolist(), strict=True))
        return {known[each] for each in ids}


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_a_pattern_without_labels_is_found_and_described(world):
    found = find(world.spec(), world.storage)
    (gap,) = found.open
    assert world.patterns_of(gap.members) == {MISSING}
    assert (gap.labeled, gap.share, gap.expected) == (0, pytest.approx(0.25), pytest.approx(30))
    assert gap.words == [WORDS[MISSING]]
    assert gap.predicted == {"a": 1.0}
    assert gap.error == pytest.approx(0.45, abs=0.01)
    assert found.reference == len(world.ids_N)
    assert found.visible_share == pytest.approx(30 / 120)
    assert found.diversity.classes.value == 0  # one of two has all labels
    assert found.diversity.clusters.value < found.diversity.random_clusters.value
    assert found.diversity.new is None  # there was one round


def test_labels_are_compared_with_the_target_set_where_there_is_one(world):
    even = world.spec((30, 30, 30, 30))
    target = world.target((10, 10, 10, 150))
    found = find(replace(even, target=target), world.storage)
    assert (found.of, found.reference) == ("target", 180)
    assert find(even, world.storage).of == "pool"
    few = world.spec((40, 40, 40, 12), target=target)  # its share of the pool would be 30
    (gap,) = find(few, world.storage).open
    assert world.patterns_of(gap.members) == {MISSING}
    assert gap.expected == pytest.approx(132 * gap.share)
    part_rows = {name for name, _ in gap.places}
    assert part_rows == {"00000"}
    away = world.spec((30, 30, 30, 0), target=world.target((0, 0, 0, 50)))
    assert find(away, world.storage).coverage.value == 0


def test_a_pattern_that_was_passed_over_because_it_is_easy_does_not_matter(tmp_path):
    world = World(tmp_path, sure_of_missing=0.99)
    found = find(world.spec(), world.storage)
    assert len(found.gaps) == 1
    assert found.open == []


def test_audit_samples_show_that_models_are_wrong_where_they_are_sure(tmp_path):
    world = World(tmp_path, sure_of_missing=0.99)
    labels = world.labels((40, 40, 40, 3))
    ids = labels["sample_id"].to_pylist()
    audits = AuditErrors(ids[:-3:4] + ids[-3:], [0.0] * 30 + [1.0] * 3)
    found = find(world.spec(labels=labels, audits=audits), world.storage)
    (gap,) = found.open
    assert gap.audits == 3
    assert gap.error > gap.mean_error


def test_audits_that_are_wrong_in_a_pattern_with_labels_make_a_gap(world):
    labels = world.labels((40, 40, 40, 40))
    ids = labels["sample_id"].to_pylist()
    audits = AuditErrors(ids[::2], [0.0] * 60 + [1.0] * 20)
    found = find(world.spec(labels=labels, audits=audits), world.storage)
    (gap,) = found.open
    assert world.patterns_of(gap.members) == {MISSING}
    assert (gap.found_by, gap.audits, gap.labeled) == ("errors", 20, 40)
    assert gap.missing == gap.expected == pytest.approx(40)
    assert found.sought == [gap]
    assert (found.audits, 3 <= found.visible_audits <= 8) == (80, True)
    assert found.gaps == find(replace(world.spec(labels=labels, audits=audits)), world.storage).gaps


def test_groups_and_intersections_with_too_few_labels_are_gaps(world):
    world.keep({"sex": ("f", "m"), "age": ("old", "old", "young", "young")})
    spec = world.spec((40, 40, 40, 0), groups=("sex", "age"))
    found = find(spec, world.storage)
    grouped = [gap for gap in found.open if gap.group]
    assert [gap.group for gap in grouped] == ["sex × age: m × young"]
    (gap,) = grouped
    assert (gap.labeled, gap.expected) == (0, pytest.approx(30))
    assert world.patterns_of(gap.members) == {MISSING}
    assert gap not in found.sought
    again = find(replace(spec, before=tuple(found.gaps)), world.storage)
    assert [each.id for each in again.gaps] == [each.id for each in found.gaps]
    target = find(replace(spec, target=world.target((9, 9, 9, 9))), world.storage)
    assert not any(gap.group for gap in target.gaps)  # of its samples nobody knows them


def test_labels_everywhere_leave_no_gap(world):
    assert find(world.spec((30, 30, 30, 30)), world.storage).gaps == []
    assert find(world.spec((0, 0, 0, 0)), world.storage).gaps == []


def test_a_gap_keeps_its_id_while_it_is_there(world):
    (first,) = find(world.spec(), world.storage).gaps
    grown = find(world.spec((60, 60, 60, 4), before=(replace(first, id="known"),)), world.storage)
    assert [each.id for each in grown.gaps] == ["known"]
    assert len(world.storage.keys("clusters")) == 1  # they are made once
    other = replace(first, id="other", members=[-1, -2])
    assert [each.id for each in keep_ids([first], [other])] == [first.id]


def test_candidates_of_a_gap_lie_in_it_and_are_the_most_informative(world):
    found = find(world.spec(), world.storage)
    (gap,) = found.gaps
    world.sure_N[np.flatnonzero(world.patterns_N == MISSING)[70:75]] = 0.5
    for part, rows in world.pieces():
        scores = world.storage.read_table(part.key(f"{ROUND}/scores"))
        margin = pa.array((2 * world.sure_N[rows] - 1).astype(np.float32))
        place = scores.schema.get_field_index("margin")
        world.storage.write_table(
            part.key(f"{ROUND}/scores"), scores.set_column(place, "margin", margin)
        )
    taken = world.ids_N[np.flatnonzero(world.patterns_N == MISSING)[70:72]]
    worker = GapWorker(
        storage=world.storage,
        round=ROUND,
        domains={
            KEY: GapsOfDomain(
                read_centers(world.storage, found.centers),
                dict.fromkeys(gap.clusters, gap.id),
                {"b": "label b"},
            )
        },
        kinds={KEY.task: KIND},
        features={KEY.task: FEATURES},
        excluded={KEY: np.sort(taken)},
        acquisition="margin",
        top=10,
    )
    for part in world.parts:
        table, summary = worker.process(part)
        world.storage.write_table(worker.output_key(part), table)
        assert summary.rows == ROWS
    table = f"{ROUND}/gaps"
    best = candidates_of(world.storage, world.parts, table, gap.id, taken[:0], 5)
    assert world.patterns_of(best["sample_id"].to_pylist()) == {MISSING}
    unsure = set(world.ids_N[np.flatnonzero(world.patterns_N == MISSING)[72:75]].tolist())
    assert set(best["sample_id"].to_pylist()[:3]) == unsure

    new = Part("pool", KEY, "99999", ROWS)  # joined the pool after its scores were made
    rule = GapShare({gap.id: 0.2, "gone": 0.1}, {gap.id: 4.0, "gone": 2.0}, table)
    picked = search_gaps(
        rule, world.storage, (*world.parts, new), taken, 20, 50, lambda table, n: table.slice(0, n)
    )
    assert len(picked.picks) == 4  # what it lacks, less than the share of 6
    assert set(picked.gaps.values()) == {gap.id}
