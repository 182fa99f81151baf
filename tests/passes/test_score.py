"""Suffixes: S specialists, N samples, C classes."""

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.pools import (
    DOMAIN,
    ENCODER,
    FEATURES,
    write_ensemble,
    write_features,
    write_part,
    write_pool,
)
from tests.specialists.test_ensemble import (
    HEADS,
    KIND,
    WIDE,
    WIDE_ND,
    X_ND,
    alone,
    head,
    probabilities,
)
from umc_ray.cluster.stream import run_item
from umc_ray.methods.scoring import acquisition, score, top_m
from umc_ray.passes.score import (
    PoolScores,
    ScoreWorker,
    score_parts,
    score_schema,
    score_table,
    with_probabilities,
)
from umc_ray.records import DomainKey, embeddings_array
from umc_ray.specialists import ensemble
from umc_ray.storage import Storage
from umc_ray.tasks.multi_label import MultiLabel

SCORES = pa.schema(
    [
        ("sample_id", pa.int64()),
        ("confidence", pa.float32()),
        ("disagreement", pa.float32()),
        ("score", pa.float32()),
        ("margin", pa.float32()),
        ("entropy", pa.float32()),
        ("mutual_information", pa.float32()),
        ("label_1", pa.int16()),
        ("prob_1", pa.float32()),
        ("label_2", pa.int16()),
        ("prob_2", pa.float32()),
    ]
)


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path))


def worker_of(
    storage, ref, asked=(), top=0, name="margin", kind=KIND, groups=MappingProxyType({}), **tables
):
    return ScoreWorker(
        storage=storage,
        table="rounds/0001",
        ensembles={"mood": ref},
        kinds={"mood": kind},
        features={"mood": tables or {ENCODER: FEATURES}},
        excluded={DOMAIN: np.sort(np.array(asked, dtype=np.int64))},
        acquisition=name,
        top=top,
        groups=groups,
    )


def scored(storage, parts, asked=(), top=0, name="margin"):
    worker = worker_of(storage, write_ensemble(storage, HEADS), asked, top, name)
    return [run_item(worker, part) for part in parts]


@pytest.mark.parametrize("name", ["margin", "score"])
def test_the_best_of_all_parts_are_the_best_of_the_pool(storage, name):
    parts = write_pool(storage, [40, 3, 25])
    tables = [storage.read_table(part.key(FEATURES)) for part in parts]
    ids_N = np.concatenate([table["sample_id"].to_numpy() for table in tables])
    x_ND = np.concatenate([embeddings_array(table["embedding"]) for table in tables])
    asked = ids_N[::5]
    scored(storage, parts, asked, top=6, name=name)

    tops = [storage.read_table(part.key("rounds/0001/top")).to_pylist() for part in parts]
    assert [len(top) for top in tops] == [6, 2, 6]
    rows = [row for top in tops for row in top]
    found = sorted(rows, key=lambda row: (-row["acquisition"], row["sample_id"]))[:6]
    values_N = acquisition(score(probabilities(x_ND)), name).numpy()
    open_N = ~np.isin(ids_N, asked)
    best = top_m(values_N[open_N], ids_N[open_N], 6)
    assert [row["sample_id"] for row in found] == ids_N[open_N][best].tolist()
    for row in found:
        table = tables[int(row["part"][-1])]
        assert table["sample_id"][row["row"]].as_py() == row["sample_id"]
        assert (row["task"], row["domain"]) == ("mood", "posts")


def test_a_summary_counts_what_is_open_and_how_unsure_it_is(storage):
    part = write_part(storage, list(range(7)), X_ND)
    (summary,) = scored(storage, [part], asked=[2, 4, 99])
    open_N = [0, 1, 3, 5, 6]
    unsure_N = 1 - probabilities(X_ND).mean(0).amax(1)[open_N]
    assert (summary.rows, summary.open) == (7, 5)
    assert summary.uncertainty == pytest.approx(float(unsure_N.sum()), abs=1e-5)


def test_tests_have_scores_and_no_candidates(storage):
    part = write_part(storage, list(range(7)), X_ND, split="test")
    scored(storage, [part], top=3)
    assert storage.exists(part.key("rounds/0001/scores"))
    assert not storage.exists(part.key("rounds/0001/top"))


def test_blocks_do_not_change_scores(storage, monkeypatch):
    part = write_part(storage, list(range(7)), X_ND)
    scored(storage, [part])
    whole = storage.read_table(part.key("rounds/0001/scores"))
    monkeypatch.setattr(ensemble, "BLOCK_ROWS", 3)
    scored(storage, [part])
    pieces = storage.read_table(part.key("rounds/0001/scores"))
    for name in SCORES.names:
        np.testing.assert_allclose(whole[name].to_numpy(), pieces[name].to_numpy(), atol=1e-6)


def test_a_score_table_names_the_best_two_classes():
    probs_SNC = torch.tensor([[[0.2, 0.5, 0.3], [0.9, 0.0, 0.1]], [[0.4, 0.1, 0.5], [0.9, 0, 0.1]]])
    table = score_table(KIND, np.array([5, 3]), KIND.measures(probs_SNC, {}), {})
    assert table.schema == score_schema(KIND) == SCORES
    first, second = table.to_pylist()
    assert (first["sample_id"], first["label_1"], first["label_2"]) == (5, 2, 0)
    assert (first["prob_1"], first["prob_2"]) == (pytest.approx(0.4), pytest.approx(0.3))
    assert first["margin"] == pytest.approx(0.1)
    assert first["confidence"] == pytest.approx(0.5)
    assert (second["label_1"], second["label_2"]) == (0, 2)
    assert (second["disagreement"], second["mutual_information"]) == (0, 0)


@pytest.mark.parametrize("kind", [KIND, MultiLabel(("a", "b", "c"))])
def test_the_probabilities_of_all_labels_stand_beside_the_scores(kind):
    probs_SNC = torch.tensor([[[0.2, 0.5, 0.3], [0.9, 0.0, 0.1]], [[0.4, 0.1, 0.5], [0.9, 0, 0.1]]])
    scores = pa.table({"sample_id": [5, 3]})
    found = with_probabilities(kind, scores, kind.measures(probs_SNC, {})).to_pydict()
    assert found.pop("sample_id") == [5, 3]
    assert found == {
        f"probability_{label}": pytest.approx(values)
        for label, values in zip(kind.labels, [[0.3, 0.9], [0.3, 0.0], [0.4, 0.1]], strict=True)
    }


def test_scores_of_several_labels_hold_those_above_their_thresholds(storage):
    kind, n = MultiLabel(("a", "b", "c")), len(X_ND)
    calibration = {"scales": [1.0] * 3, "shifts": [0.0] * 3}
    heads, decision = {"one": (head("linear", 1), calibration)}, {"thresholds": [0.5, 0.2, 0.8]}
    part = write_part(storage, list(range(n)), X_ND)
    worker = worker_of(storage, write_ensemble(storage, heads, decision=decision), top=2, kind=kind)
    summary = run_item(worker, part)
    table = storage.read_table(part.key("rounds/0001/scores"))
    assert table.schema.remove_metadata() == score_schema(kind)
    x = torch.from_numpy(X_ND.astype(np.float32))
    probs_NC = (x @ heads["one"][0]["weight"][0] + heads["one"][0]["bias"][0]).sigmoid()
    picked_NC = probs_NC >= torch.tensor([0.5, 0.2, 0.8])
    found = table["predicted"].to_pylist()
    assert found == [row.nonzero()[:, 0].tolist() for row in picked_NC]
    sure_N = torch.where(picked_NC, probs_NC, 1 - probs_NC).prod(1)
    np.testing.assert_allclose(table["certainty"].to_numpy(), sure_N.numpy(), rtol=1e-5)
    assert 0 < summary.uncertainty < n
    best = storage.read_table(part.key("rounds/0001/top"))["sample_id"].to_pylist()
    assert best == np.argsort(table["margin"].to_numpy())[:2].tolist()


def test_specialists_of_two_encoders_score_by_both_tables(storage):
    ids = list(range(7))
    part = write_part(storage, ids, X_ND)
    write_features(storage, part, ids, WIDE_ND, "features/large")
    ref = write_ensemble(storage, {**HEADS, **WIDE}, encoders={"wide": "large"})
    worker = worker_of(storage, ref, **{ENCODER: FEATURES, "large": "features/large"})
    run_item(worker, part)
    table = storage.read_table(part.key("rounds/0001/scores"))
    wide, last = WIDE.values()
    probs = [*probabilities(X_ND), alone(*wide, WIDE_ND), alone(*last, X_ND)]
    expected = score(torch.stack(probs))
    for name in KIND.measures_about:
        ours_N, theirs_N = table[name].to_numpy(), getattr(expected, f"{name}_N").numpy()
        np.testing.assert_allclose(ours_N, theirs_N, atol=1e-5)


def test_tables_of_encoders_that_no_specialist_reads_are_not_needed(storage):
    part = write_part(storage, list(range(7)), X_ND)
    ref = write_ensemble(storage, HEADS)
    worker = worker_of(storage, ref, **{ENCODER: FEATURES, "large": "features/not-there"})
    assert run_item(worker, part).rows == 7


@pytest.mark.ray
def test_the_pass_sums_up_pools_by_domain_and_tests_by_rows_alone(storage, ray_cluster):
    parts = write_pool(storage, [4, 6])
    test = write_part(storage, list(range(7)), X_ND, "test-0", split="test")
    asked = storage.read_table(parts[0].key(FEATURES))["sample_id"].to_numpy()[:3]
    worker = worker_of(storage, write_ensemble(storage, HEADS), asked, top=2)
    done = []
    found = score_parts(worker, [*parts, test], done.append)
    assert (found.rows, sum(done)) == (17, 17)
    assert list(found.domains) == ["mood/posts"]
    posts = found.domains["mood/posts"]
    assert (posts.rows, posts.open) == (10, 7)
    x_ND = np.concatenate(
        [embeddings_array(storage.read_table(part.key(FEATURES))["embedding"]) for part in parts]
    )
    unsure_N = 1 - probabilities(x_ND).mean(0).amax(1)[3:]
    assert posts.uncertainty == pytest.approx(float(unsure_N.mean()), abs=1e-5)
    storage.write_record("scores.json", found)
    assert storage.read_record("scores.json", PoolScores) == found


def test_a_domain_of_which_all_was_asked_has_no_uncertainty(storage, monkeypatch):
    part = write_part(storage, list(range(7)), X_ND)
    worker = worker_of(storage, write_ensemble(storage, HEADS), asked=range(7))
    monkeypatch.setattr(
        "umc_ray.passes.score.stream",
        lambda worker, items, *_: [run_item(worker, i) for i in items],
    )
    found = score_parts(worker, [part]).domains[str(DomainKey("mood", "posts"))]
    assert (found.rows, found.open, found.uncertainty) == (7, 0, 0.0)


def test_a_small_group_keeps_candidates_though_none_is_among_the_best_of_all(storage):
    part = write_part(storage, list(range(7)), X_ND)
    scored(storage, [part], top=7)
    ranked = storage.read_table(part.key("rounds/0001/top"))["sample_id"].to_pylist()
    rare = ranked[-2:]
    sexes = ["f" if i in rare else "m" for i in range(7)]
    storage.write_table(part.key("kept"), pa.table({"url": range(7), "sex": sexes}))
    worker = worker_of(storage, write_ensemble(storage, HEADS), top=2)
    run_item(replace(worker, by_group={DOMAIN: ("sex",)}), part)
    top = storage.read_table(part.key("rounds/0001/top"))
    assert top["sample_id"].to_pylist() == [*ranked[:2], *rare]
