"""Whole campaigns in this process: seeds, votes, domains that come later, pools that end."""

import copy

import pytest

from tests.tiny import DOMAINS, campaign, results, texts, write_campaign, write_csv
from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.history import History
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.storage import Storage

pytestmark = pytest.mark.ray

ONE_ROUND = {"labels": 30, "per_round": 30}


def run(folder, values):
    opened = Run(load_campaign(write_campaign(folder, values)))
    return opened, run_campaign(opened)


def asked(found):
    return {(row["task"], row["domain"], row["sample_id"]) for row in found}


def test_another_seed_asks_for_other_samples(reference, other_seed):
    batch = "rounds/0001/batch.parquet"
    ours, theirs = results(other_seed.storage)[batch], results(reference.storage)[batch]
    assert len(ours) == len(theirs) == 30
    assert asked(ours) != asked(theirs)


def test_labels_are_the_majority_of_the_recorded_votes(reference):
    rows = [(row, "reviews") for row in texts(160, seed=1)]
    rows += [(row, "posts") for row in texts(120, seed=3)]
    recorded = {row["text"]: (row, domain) for row, domain in rows}
    pool = {}
    for part in reference.parts:
        for row in reference.storage.read_table(part.key("pool")).to_pylist():
            pool[row["sample_id"]] = row["text"]
    labels = [row for key, rows in results(reference.storage).items() for row in rows]
    labels = [row for row in labels if "votes" in row]
    assert len(labels) == 90
    for row in labels:
        known, domain = recorded[pool[row["sample_id"]]]
        assert row["domain"] == domain
        good = [vote > 0 for vote in known["votes"]]
        if domain == "posts":  # has a known label and no ratings
            good = [known["label"] == "good"] * 3
        assert row["label"] == ("good" if sum(good) >= 2 else "bad")
        assert row["agreement"] == pytest.approx(max(sum(good), 3 - sum(good)) / 3)
        assert (row["votes"], row["cost"]) == (3, 3.0)
    agreements = {round(row["agreement"], 2) for row in labels}
    assert agreements == {0.67, 1.0}


def test_a_domain_that_comes_later_is_another_domain_and_gets_labels(reference, tmp_path, umc_here):
    values = campaign(tmp_path, budget=ONE_ROUND)
    first, _ = run(tmp_path, values)
    before = results(first.storage)
    expected = results(reference.storage)
    assert before == {key: expected[key] for key in before}  # one seed, one selection

    later = copy.deepcopy({**values, "budget": {"labels": 60, "per_round": 30}})
    write_csv(tmp_path / "news.csv", texts(60, seed=6))
    news = {"source": "news.csv", "text": "text", "label": "label"}
    later["tasks"]["mood"]["domains"]["news"] = news
    second, outcome = run(tmp_path, later)
    assert (outcome.rounds, outcome.new_rounds) == (2, 1)
    after = results(second.storage)
    assert {key: after[key] for key in before} == before
    new = [row for row in after["rounds/0002/labels.parquet"] if row["domain"] == "news"]
    assert new
    domain_keys = second.storage.read_json("rounds/0002/metrics.json")["domains"]
    assert set(domain_keys) == {*DOMAINS, "mood/news"}
    assert domain_keys["mood/news"]["labels"] == len(new)
    assert "news" in second.storage.read_json("rounds/0002/training.json")["specialists"]["mood"]

    later["seed"] = 7
    code, manifest = umc_here("run", write_campaign(tmp_path, later))
    assert code == 1
    assert manifest.strip().startswith("error: seed is 7, but ")
    assert len(manifest.strip().splitlines()) == 1


def test_a_budget_larger_than_the_pool_ends_cleanly(tmp_path, umc_here):
    rows = texts(14, seed=7)
    values = campaign(tmp_path, budget={"labels": 100, "per_round": 10})
    write_csv(tmp_path / "posts.csv", [{**row, "label": "good"} for row in rows])  # one class
    domains = values["tasks"]["mood"]["domains"]
    values["tasks"]["mood"]["domains"] = {"posts": domains["posts"]}
    code, manifest = umc_here("run", write_campaign(tmp_path, values))
    assert code == 0
    assert "finished: no sample of the pool is open: 14 have been asked about" in manifest
    found = results(Storage(str(tmp_path / "runs/tiny")))
    labels = [row for key, rows in found.items() if "labels" in key for row in rows]
    assert len({row["sample_id"] for row in labels}) == len(labels) == 14
    code, manifest = umc_here("run", tmp_path / "campaign.yaml")
    assert code == 0
    assert "nothing to do: no sample of the pool is open: 14 have been asked about" in manifest


def test_models_of_the_last_round_are_measured_on_shifts_and_corruptions(other_seed):
    assert History.of(other_seed).robustness.keys() == {"mood/reviews"}  # the only one with a test
    found = History.of(other_seed).robustness["mood/reviews"]
    test = other_seed.round_metrics(2)[-1].domains["mood/reviews"].test
    assert (found.clean.n, found.clean.utility) == (test.n, test.utility)  # all test samples
    assert [(each.name, each.n) for each in found.shifts] == [("posts", 60)]
    worst = min(found.corruptions, key=lambda each: each.utility.value)
    assert worst.utility.value < found.clean.utility.value
    assert not other_seed.storage.exists("rounds/0001/robustness.json")
