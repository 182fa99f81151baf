"""Suffixes: S specialists, N samples, D embedding dimension, C classes."""

import numpy as np
import pytest
import torch

from tests.pools import DOMAIN, FEATURES, write_ensemble, write_part, write_pool
from umc_ray.cluster.stream import run_item
from umc_ray.errors import StoreError
from umc_ray.methods import heads
from umc_ray.methods.scoring import acquisition, score, top_m
from umc_ray.passes import score as score_pass
from umc_ray.passes.score import ScoreWorker, score_table
from umc_ray.records import SCORES, embeddings_array
from umc_ray.specialists.ensemble import Ensemble, EnsembleRef, load_ensemble
from umc_ray.storage import Storage


def head(kind, seed, d=4, classes=3):
    generator = torch.Generator().manual_seed(seed)
    first = heads.start(kind, 1, d, classes, 5, seed)
    return {k: v + torch.randn(v.shape, generator=generator) for k, v in first.items()}


HEADS = {
    "posts": (head("linear", 1), 1.0),
    "inner": (head("mlp", 2), 0.5),
    "generalist": (head("linear", 3), 2.0),
}
X_ND = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float16)


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path))


def probabilities(x_ND):
    """Each specialist computed alone."""
    x = torch.from_numpy(x_ND.astype(np.float32))
    return torch.stack([(heads.forward(h, x)[0] / t).softmax(-1) for h, t in HEADS.values()])


def test_an_ensemble_is_its_specialists_one_by_one(storage):
    models = Ensemble([h for h, _ in HEADS.values()], [t for _, t in HEADS.values()])
    torch.testing.assert_close(models.probabilities(X_ND), probabilities(X_ND))
    stored = load_ensemble(storage, write_ensemble(storage, HEADS))
    torch.testing.assert_close(stored.probabilities(X_ND), probabilities(X_ND))


def test_an_ensemble_that_is_missing_is_an_error(storage):
    with pytest.raises(StoreError, match=r"cannot read models/none/a/model\.safetensors"):
        load_ensemble(storage, EnsembleRef("models/none", ("a",), "v1"))


def test_a_reference_survives_json():
    ref = EnsembleRef("models/mood/0001", ("a", "b"), "v1")
    assert EnsembleRef.from_json(ref.to_json()) == ref


def scored(storage, parts, asked=(), top=0, name="margin"):
    ref = write_ensemble(storage, HEADS)
    worker = ScoreWorker(
        storage=storage,
        table="rounds/0001",
        ensembles={"mood": ref},
        features={"mood": FEATURES},
        excluded={DOMAIN: np.sort(np.array(asked, dtype=np.int64))},
        acquisition=name,
        top=top,
    )
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
    assert (summary["rows"], summary["open"]) == (7, 5)
    assert summary["uncertainty"] == pytest.approx(float(unsure_N.sum()), abs=1e-5)


def test_tests_have_scores_and_no_candidates(storage):
    part = write_part(storage, list(range(7)), X_ND, split="test")
    scored(storage, [part], top=3)
    assert storage.exists(part.key("rounds/0001/scores"))
    assert not storage.exists(part.key("rounds/0001/top"))


def test_blocks_do_not_change_scores(storage, monkeypatch):
    part = write_part(storage, list(range(7)), X_ND)
    scored(storage, [part])
    whole = storage.read_table(part.key("rounds/0001/scores"))
    monkeypatch.setattr(score_pass, "BLOCK_ROWS", 3)
    scored(storage, [part])
    pieces = storage.read_table(part.key("rounds/0001/scores"))
    for name in SCORES.names:
        np.testing.assert_allclose(whole[name].to_numpy(), pieces[name].to_numpy(), atol=1e-6)


def test_a_score_table_names_the_best_two_classes():
    probs_SNC = torch.tensor([[[0.2, 0.5, 0.3], [0.9, 0.0, 0.1]], [[0.4, 0.1, 0.5], [0.9, 0, 0.1]]])
    table = score_table(np.array([5, 3]), score(probs_SNC))
    assert table.schema == SCORES
    first, second = table.to_pylist()
    assert (first["sample_id"], first["label_1"], first["label_2"]) == (5, 2, 0)
    assert (first["prob_1"], first["prob_2"]) == (pytest.approx(0.4), pytest.approx(0.3))
    assert first["margin"] == pytest.approx(0.1)
    assert first["confidence"] == pytest.approx(0.5)
    assert (second["label_1"], second["label_2"]) == (0, 2)
    assert (second["disagreement"], second["mutual_information"]) == (0, 0)
