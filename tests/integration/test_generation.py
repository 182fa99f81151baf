"""A campaign of texts to write: two rounds, released, scored and served."""

from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from tests.networks import write_writer
from umc_ray.bulk_scoring import score_new
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.records import DomainKey
from umc_ray.release.export import write_release
from umc_ray.report.report import write_report
from umc_ray.selection.labeled import labels_so_far
from umc_ray.serving.messages import Sample
from umc_ray.storage import Storage

pytestmark = [pytest.mark.ray, pytest.mark.slow]

WORDS = DomainKey("turning", "words")


def sentences(n, seed):
    """Words, to be written the other way round; some in two ways."""
    rng, rows = np.random.default_rng(seed), []
    for i in range(n):
        words = rng.choice(tiny.PLAIN[:12], 4).tolist()
        turned = " ".join(words[::-1])
        right = [turned, turned.replace("word", "a word")] if i % 5 == 0 else [turned]
        rows.append({"id": f"s{seed}-{i}", "text": " ".join(words), "right": right})
    return rows


@pytest.fixture(scope="module")
def finished(ray_cluster, tmp_path_factory):
    folder = tmp_path_factory.mktemp("generation")
    tiny.write_jsonl(folder / "train.jsonl", sentences(40, seed=1))
    tiny.write_jsonl(folder / "test.jsonl", sentences(20, seed=2))
    values = {
        "name": "turning",
        "storage": "runs",
        "tasks": {
            "turning": {
                "kind": "generation",
                "max_answer_bytes": 80,
                "encoder": {
                    "kind": "transformers",
                    "path": str(write_writer(folder / "network")),
                    "workers": 1,
                },
                "specialists": {
                    "memory": {"kind": "memory"},
                    "writer": {"kind": "full", "epochs": 1, "learning_rate": 0.01},
                },
                "domains": {
                    "words": {
                        "source": "train.jsonl",
                        "test": "test.jsonl",
                        "text": "text",
                        "key": "id",
                        "label": "right",
                    }
                },
            }
        },
        "budget": {"labels": 16, "per_round": 8},
        "annotation": {"backend": "replay"},
    }
    tiny.run_to_its_end(tiny.write_campaign(folder, values))
    return folder / "campaign.yaml"


@pytest.fixture
def run(finished):
    return Run(load_campaign(finished))


def test_it_learns_scores_and_asks_by_what_it_scored(run):
    assert len(labels_so_far(run.storage, run.folders(2))) == 16
    test = run.round_metrics(2)[-1].domains["turning/words"].test
    assert test.n == 20
    assert 0 < test.utility.value < 1
    assert test.signatures["BLEU"].startswith("nrefs:var|case:mixed|")
    batch = run.storage.read_table("rounds/0002/batch.parquet").to_pylist()
    assert all(row["predicted"] for row in batch)
    (part,) = run.pool(WORDS)
    scores = run.storage.read_table(part.key("rounds/0002/scores"))
    assert scores["disagreement"].to_numpy().max() > 0
    assert all(0 < len(text.encode()) <= 80 for text in scores["answer"].to_pylist())


def test_it_is_reported_and_released_with_all_right_answers(run):
    report = Path(write_report(run)).read_text(encoding="utf-8")
    assert "chrF" in report
    assert "tok:13a" in report
    release = Storage(write_release(run, "turning"))
    known = {row["id"]: row["right"] for row in sentences(40, seed=1)}
    rows = tiny.rows_in(release.root)
    assert len(rows) >= 16
    for row in rows:
        assert row["key"] not in known or row["label"] == known[row["key"]]


def test_new_samples_are_scored_and_served_alike(run, finished, tmp_path):
    new = sentences(6, seed=3)
    tiny.write_jsonl(tmp_path / "new.jsonl", new)
    score_new(run, str(tmp_path / "new.jsonl"), WORDS, str(tmp_path / "out"))
    scored = {row["key"]: row for row in tiny.rows_in(tmp_path / "out")}
    scorer = tiny.live_scorer(finished, "turning")
    samples = [Sample(text=row["text"]) for row in new]
    (found,) = scorer.predict([[scorer.validate(each) for each in samples]])
    for row, prediction in zip(new, found.rows, strict=True):
        known = scored[row["id"]]
        assert prediction.scored.label == [known["answer"]]
        assert prediction.scored.certainty == pytest.approx(known["certainty"], abs=1e-3)
