"""A campaign on pairs of texts whose answers are numbers: run, reported, released and scored."""

from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from umc_ray.bulk_scoring import score_new
from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.methods.text_pair import parts_of
from umc_ray.records import DomainKey
from umc_ray.release.export import write_release
from umc_ray.report.report import write_report
from umc_ray.serving.messages import Sample
from umc_ray.serving.scorer import InvalidSample
from umc_ray.storage import Storage

pytestmark = [pytest.mark.ray, pytest.mark.slow]

HEADLINES = DomainKey("similar", "headlines")
WORDS = 4


def rows(n, seed):
    """Two texts each, as similar as the share of words that they have in common, from 0 to 5."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        words = rng.permutation(tiny.PLAIN)[: 2 * WORDS].tolist()
        common = int(rng.integers(WORDS + 1))
        second = rng.permutation([*words[:common], *words[WORDS : 2 * WORDS - common]]).tolist()
        score = round(5 * common / WORDS, 2)
        found.append(
            {"id": f"{seed}-{i}", "first": " ".join(words[:WORDS]), "second": " ".join(second)}
            | {"score": score}
        )
    return found


def write(path, found):
    tiny.write_csv(path, found, columns=found[0])


@pytest.fixture(scope="module")
def campaign(ray_cluster, made_once):
    def fill(folder):
        tiny.write_encoder(folder / "encoder")
        bad = {"id": "half", "first": "word1 word2", "second": " ", "score": 1}
        far = {"id": "far", "first": "word1", "second": "word2", "score": 5.5}
        write(folder / "pool.csv", [*rows(240, 1), bad, far])
        write(folder / "test.csv", rows(100, 2))
        domain = {
            "source": "pool.csv",
            "test": "test.csv",
            "text": ["first", "second"],
            "key": "id",
            "label": "score",
        }
        values = {
            "name": "similar",
            "storage": "runs",
            "tasks": {
                "similar": {
                    "kind": "regression",
                    "range": [0, 5],
                    "encoder": {"kind": "static_text", "path": "encoder", "workers": 1},
                    "domains": {"headlines": domain},
                    "specialists": {"linear": {"kind": "linear"}, "trees": {"kind": "trees"}},
                }
            },
            "budget": {"labels": 140, "per_round": 70},
            "annotation": {"backend": "replay"},
            "ingest": {"rows_per_part": 120},
        }
        run_campaign(Run(load_campaign(tiny.write_campaign(folder, values))))

    return made_once("pairs", fill) / "campaign.yaml"


@pytest.fixture
def run(campaign):
    return Run(load_campaign(campaign))


def test_both_texts_are_stored_and_a_row_without_one_is_in_quarantine(run):
    texts = {
        row["key"]: row["text"]
        for part in run.pools
        for row in run.storage.read_table(part.key("pool")).to_pylist()
    }
    assert len(texts) == 240
    for row in rows(240, 1)[:20]:
        assert parts_of(texts[row["id"]]) == (row["first"], row["second"])
    reasons = [
        row["reason"]
        for key in run.storage.keys("quarantine")
        for row in run.storage.read_table(key).to_pylist()
    ]
    assert sorted(reasons)[0] == "blank text: second"
    assert "'5.5' is not a number from 0 to 5" in sorted(reasons)[1]


def test_the_numbers_are_learned(run):
    found = run.round_metrics(2)[-1].domains["similar/headlines"].test
    assert found.correlations["Pearson"].value > 0.6
    assert found.correlations["Spearman"].low > 0.4
    assert found.errors["RMSE"].value < 1.5
    assert found.ece < 0.15
    assert found.utility.value > 0.75


def test_the_report_shows_both_texts_and_the_errors(run):
    html = Path(write_report(run)).read_text(encoding="utf-8")
    assert "Pearson" in html
    assert "RMSE" in html
    assert "first: word" in html


def test_a_release_has_both_texts_and_the_number(run):
    release = Storage(write_release(run, "pairs"))
    found = [row for row in tiny.rows_in(release.root) if "predicted" in row]
    assert len(found) >= 140
    assert all(len(row["first"].split()) == WORDS for row in found)
    assert all(isinstance(row["label"], float) and 0 <= row["label"] <= 5 for row in found)
    assert not any("text" in row for row in found)
    assert "first" in release.read_bytes("README.md").decode()


def test_new_pairs_are_scored_and_served_alike(run, campaign, tmp_path):
    new = rows(40, 3)
    write(tmp_path / "new.csv", new)
    assert score_new(run, str(tmp_path / "new.csv"), HEADLINES, str(tmp_path / "out")).rows == 40
    by_key = {row["key"]: row for row in tiny.rows_in(tmp_path / "out")}
    errors = [abs(by_key[row["id"]]["predicted"] - row["score"]) for row in new]
    assert np.mean(errors) < 1.2

    scorer = tiny.live_scorer(campaign, "similar")
    samples = [Sample(text=[row["first"], row["second"]]) for row in new]
    payloads = [scorer.validate(sample) for sample in samples]
    (found,) = scorer.predict([payloads])
    for row, prediction in zip(new, found.rows, strict=True):
        assert prediction.scored.label == pytest.approx(by_key[row["id"]]["predicted"], abs=1e-3)
        assert prediction.scored.probabilities == {}
    for wrong in (Sample(text="one text"), Sample(text=["one", " "])):
        assert isinstance(scorer.validate(wrong), InvalidSample)
    assert "two texts" in scorer.validate(Sample(text="one")).reason
