"""A campaign on embeddings that its sources came with: it is run and scored, but not served."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import tiny
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.records import embeddings_array
from umc_ray.storage import Storage

pytestmark = [pytest.mark.ray, pytest.mark.long]

BAD_ROWS = {7: None, 30: [1.0] * 5, 60: [float("nan")] * 6}


def rows(n, seed, bad=()):
    """Texts whose words say nothing: only the first number of the embedding tells the label."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        good = bool(rng.integers(2))
        vector = rng.normal(size=6)
        vector[0] = 4 if good else -4
        embedding = BAD_ROWS[i] if i in bad else vector.tolist()
        label = "good" if good else "bad"
        found.append({"text": f"word{i % 40} x{seed}x{i}", "label": label, "vector": embedding})
    return found


@pytest.fixture
def campaign(tmp_path):
    values = tiny.campaign(tmp_path, budget={"labels": 20, "per_round": 20})
    pq.write_table(pa.Table.from_pylist(rows(90, 1, BAD_ROWS)), tmp_path / "pool.parquet")
    tiny.write_jsonl(tmp_path / "test.jsonl", rows(60, 2))
    values["tasks"]["mood"]["encoder"] = {"kind": "given", "dimension": 6}
    values["tasks"]["mood"]["domains"] = {
        "posts": {
            "source": "pool.parquet",
            "test": "test.jsonl",
            "text": "text",
            "label": "label",
            "embedding": "vector",
        }
    }
    return tiny.write_campaign(tmp_path, values)


@pytest.mark.slow
def test_a_campaign_on_given_embeddings(campaign, tmp_path, umc_here):
    code, said = umc_here("check", campaign)
    assert code == 0, said
    assert "embeddings  6 numbers each" in said
    for reason in ("missing embedding", "wrong dimension", "not finite"):
        assert f"1 x {reason}" in said
    code, said = umc_here("run", campaign)
    assert code == 0, said
    run = Run(load_campaign(campaign))
    check_features(run)
    assert run.round_metrics(1)[0].test_utility > 0.95
    batch = run.storage.read_table("rounds/0001/batch.parquet")
    assert len(batch) == 20

    pq.write_table(pa.Table.from_pylist(rows(30, 3)), tmp_path / "new.parquet")
    code, said = umc_here(
        *("score", campaign, tmp_path / "new.parquet"),
        *("--domain", "mood/posts", "--output", tmp_path / "out"),
    )
    assert code == 0, said
    output = Storage(str(tmp_path / "out"))
    scored = [r for k in output.keys("") for r in output.read_table(k).to_pylist()]
    right = [row["label_1"] == new["label"] for row, new in zip(scored, rows(30, 3), strict=True)]
    assert np.mean(right) > 0.9

    tiny.write_csv(tmp_path / "plain.csv", rows(5, 4))
    code, said = umc_here(
        *("score", campaign, tmp_path / "plain.csv"),
        *("--domain", "mood/posts", "--output", tmp_path / "none"),
    )
    assert code == 1
    assert "plain.csv has no column 'vector'" in said


def check_features(run):
    """The features are the vectors of the table, at length one; the pool keeps the texts."""
    given = {row["text"]: row["vector"] for row in rows(90, 1)}
    (name,) = run.features["mood"].values()
    seen = 0
    for part in run.pools:
        pool = run.storage.read_table(part.key("pool"))
        vectors_ND = np.array([given[text] for text in pool["text"].to_pylist()])
        found_ND = embeddings_array(run.storage.read_table(part.key(name))["embedding"])
        lengths_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
        np.testing.assert_allclose(found_ND, vectors_ND / lengths_N1, atol=1e-3)
        seen += len(pool)
    assert seen == 90 - len(BAD_ROWS)


def test_a_request_has_no_embedding_so_the_campaign_is_not_served(campaign, umc_here):
    code, said = umc_here("serve", campaign)
    assert code == 1
    assert "tiny cannot be served: task mood reads embeddings" in said
    assert "`umc score`" in said
