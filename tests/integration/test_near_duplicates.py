"""A campaign over posts that are all there twice, the second time with their words turned round."""

import pytest

from tests.tiny import campaign, texts, write_campaign, write_csv
from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign

pytestmark = pytest.mark.ray


def turned(text):
    return " ".join(reversed(text.split()))


def test_one_label_pays_for_two_samples_and_only_audits_ask_again(ray_cluster, tmp_path):
    rows = texts(40, seed=3)
    values = campaign(
        tmp_path,
        budget={"labels": 40, "per_round": 20, "audit": 0.5},
        near_duplicates={"similarity": 0.999},
        annotation={"backend": "replay"},
    )
    write_csv(tmp_path / "posts.csv", rows + [{**r, "text": turned(r["text"])} for r in rows])
    domains = values["tasks"]["mood"]["domains"]
    values["tasks"]["mood"]["domains"] = {"posts": domains["posts"]}
    run = Run(load_campaign(write_campaign(tmp_path, values)))
    run_campaign(run)

    pool = {}
    for part in run.parts:
        for row in run.storage.read_table(part.key("pool")).to_pylist():
            pool[row["sample_id"]] = row["text"]
    known, taken, again = {}, set(), 0
    for number in (1, 2):
        folder = f"rounds/{number:04d}"
        for row in run.storage.read_table(f"{folder}/batch.parquet").to_pylist():
            again += row["sample_id"] in taken
            assert row["audit"] or row["sample_id"] not in taken
        for row in run.storage.read_table(f"{folder}/labels.parquet").to_pylist():
            known[row["sample_id"]] = row["label"]
        found = run.storage.read_table(f"{folder}/near_duplicates.parquet").to_pylist()
        for row in found:
            assert pool[row["sample_id"]] == turned(pool[row["label_of"]])
            assert row["label"] == known[row["label_of"]]
            assert row["sample_id"] not in {*known, *taken}
            taken.add(row["sample_id"])
    assert again  # or the audits have measured nothing
    assert run.storage.read_json("rounds/0002/metrics.json")["near_duplicates"] == {
        "mood/posts": {
            "samples": len(taken),
            "audits": again,
            "wrong": 0,
            "low": 0.0,
            "high": pytest.approx(1 - 0.025 ** (1 / again)),
        }
    }
    scored = run.storage.read_json("rounds/0002/scores.json")["domains"]["mood/posts"]
    assert scored["open"] == 80 - len(known.keys() | taken)
