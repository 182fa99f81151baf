"""Whole rounds of what the tests of single parts cannot show together."""

import numpy as np
import pytest

from tests import tiny
from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.criteria import criteria_after
from umc_ray.campaign.documents import RoundMetrics, Training
from umc_ray.campaign.gaps import gaps_after
from umc_ray.campaign.publish import load_published, read_published
from umc_ray.passes.score import read_features

pytestmark = [pytest.mark.ray, pytest.mark.slow]

TAGS = ["good", "long", "loud"]


def tagged(rows, seed):
    """Give rows any number of tags; good is known from the words, loud from one of them."""
    long_N = np.random.default_rng(seed).random(len(rows)) < 0.4
    for row, is_long in zip(rows, long_N, strict=True):
        loud = "great" in row["text"] or "sad" in row["text"]
        having = {"good": row["label"] == "good", "long": is_long, "loud": loud}
        row["tags"] = [tag for tag in TAGS if having[tag]]
        if is_long:
            row["text"] += " word1 word2 word3" * 3
    return rows


@pytest.fixture(scope="module")
def run(ray_cluster, tmp_path_factory):
    """Two rounds of two tasks: classes, by two encoders, and any number of tags."""
    folder = tmp_path_factory.mktemp("kinds")
    values = tiny.campaign(folder, budget={"labels": 120, "per_round": 60})
    tiny.write_encoder(folder / "second", seed=5)
    tiny.write_jsonl(folder / "tagged.jsonl", tagged(tiny.texts(160, seed=7), 0))
    tiny.write_jsonl(folder / "tagged_test.jsonl", tagged(tiny.texts(60, seed=8), 1))
    mood = values["tasks"]["mood"]
    first = mood.pop("encoder")
    mood["encoders"] = {"first": first, "second": {**first, "path": "second"}}
    mood["selection_encoder"] = "second"
    source = {"source": "tagged.jsonl", "test": "tagged_test.jsonl", "text": "text"}
    values["tasks"]["tags"] = {
        "kind": "multi_label",
        "labels": TAGS,
        "encoder": first,
        "domains": {"posts": {**source, "label": "tags"}},
    }
    values["near_duplicates"] = {"similarity": 0.95}
    run = tiny.Finished(tiny.write_campaign(folder, values)).run
    assert run_campaign(run).rounds == 2
    return run


def test_labels_are_text_of_their_kind_and_lie_where_they_say(run):
    for folder in ("rounds/0001", "rounds/0002"):
        labels = run.storage.read_table(f"{folder}/labels.parquet").to_pylist()
        assert {row["task"] for row in labels} == {"mood", "tags"}
        assert len(run.storage.read_table(f"{folder}/remarks.parquet")) == 0
        for row in labels:
            assert run.kinds[row["task"]].parse(row["label"]) == row["label"]
            key = f"pool/pool/{row['task']}/{row['domain']}/{row['part']}.parquet"
            assert run.storage.read_table(key)["sample_id"][row["row"]].as_py() == row["sample_id"]


def test_the_known_labels_came_back(run):
    labels = run.storage.read_table("rounds/0001/labels.parquet").to_pylist()
    known = {}
    for part in run.pools:
        oracle = run.storage.read_table(part.key("oracle"))
        known |= dict(
            zip(oracle["sample_id"].to_pylist(), oracle["label"].to_pylist(), strict=True)
        )
    tags = [row for row in labels if row["task"] == "tags"]
    assert [row["label"] for row in tags] == [known[row["sample_id"]] for row in tags]
    assert {row["label"].count("|") for row in tags} >= {0, 1}
    assert {row["votes"] for row in tags} == {3}


def test_each_encoder_of_a_task_has_specialists_of_its_own(run):
    training = run.storage.read_record("rounds/0002/training.json", Training)
    assert training.ensembles["mood"].specialists == (
        *("reviews", "posts", "generalist"),
        *("second-reviews", "second-posts", "second-generalist"),
        "side-by-side",
    )
    assert training.ensembles["tags"].specialists == ("posts",)  # one domain, one encoder
    temperature = training.specialists["mood"]["second-posts"].calibration
    assert temperature.keys() == {"temperature"}
    assert training.specialists["tags"]["posts"].calibration.keys() == {"scales", "shifts"}


def test_quality_is_measured_by_what_each_kind_calls_for(run):
    metrics = run.storage.read_record("rounds/0002/metrics.json", RoundMetrics)
    assert metrics.labels == 120
    reviews, tags = (metrics.domains[name].test for name in ("mood/reviews", "tags/posts"))
    assert reviews.utility.value > 0.8
    assert reviews.n == 40
    assert reviews.figures.keys() >= {"balanced accuracy", "macro F1", "recall of good"}
    assert tags.figures.keys() == {"micro F1", "macro F1", "exact match"}
    assert (tags.n, tags.confusion) == (60, None)
    assert tags.utility.value > 0.5
    assert tags.figures["exact match"].value <= tags.utility.value
    tested = [reviews.utility.value, tags.utility.value]
    assert metrics.test_utility == pytest.approx(np.mean(tested))


def test_a_later_batch_says_what_was_predicted_in_the_words_of_the_kind(run):
    batch = run.storage.read_table("rounds/0002/batch.parquet").to_pylist()
    for row in batch:
        assert run.kinds[row["task"]].parse(row["predicted"]) == row["predicted"]
    chosen = [row for row in batch if not row["audit"]]
    assert any("is the least certain label" in row["why"] for row in chosen)
    assert any("points apart" in row["why"] for row in chosen)


def test_what_is_published_gives_the_scores_that_are_stored(run):
    publication = load_published(run.storage, run.config, read_published(run.storage))
    assert publication.ensembles["mood"].reads == ("first", "second")
    for part in run.parts:
        task = part.domain_key.task
        ensemble = publication.ensembles[task]
        _, rows = read_features(run.storage, part, run.features[task])
        found = ensemble.measures(rows, part.domain_key.domain)
        stored = run.storage.read_table(part.key("rounds/0002/scores"))
        for name in run.kinds[task].measures_about:
            values_N = stored[name].to_numpy()
            np.testing.assert_allclose(found.columns[name].numpy(), values_N, atol=1e-5)
        predicted, _ = run.kinds[task].predicted(stored)
        decision = ensemble.decision_in(part.domain_key.domain)
        assert predicted == run.kinds[task].predict(found.mean_NC, decision)


def test_a_run_that_is_started_again_computes_nothing(run):
    events = run.storage.read_bytes("events.jsonl")
    again = type(run)(run.config)
    assert run_campaign(again).new_rounds == 0
    more = run.storage.read_bytes("events.jsonl")[len(events) :].decode().splitlines()
    assert [line for line in more if "rounds/" in line] == []


def test_criteria_are_those_of_the_worst_domain(run):
    last = run.finished_rounds
    metrics = run.round_metrics(last)[-1]
    found = criteria_after(run, last, metrics)
    gaps = gaps_after(run, last).domains
    assert gaps.keys() == metrics.domains.keys()
    assert found.coverage == min(each.coverage.low for each in gaps.values())
    figures = metrics.domains["mood/reviews"].test.figures
    assert found.worst_recall <= min(figures[f"recall of {x}"].low for x in ("bad", "good"))
    assert found.equalized_odds is None  # no domain names groups
