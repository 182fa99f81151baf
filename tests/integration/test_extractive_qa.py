"""A campaign of questions about contexts: two rounds, released, scored and served."""

from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from tests.networks import write_text_network
from umc_ray.bulk_scoring import score_new
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.methods.text_pair import parts_of
from umc_ray.records import DomainKey
from umc_ray.release.export import write_release
from umc_ray.report.report import write_report
from umc_ray.selection.labeled import labels_so_far
from umc_ray.serving.messages import Sample
from umc_ray.storage import Storage
from umc_ray.tasks.span_answers import spans_of

pytestmark = [pytest.mark.ray, pytest.mark.slow]

LETTERS = DomainKey("reading", "letters")


def questions(n, seed):
    """Rows in SQuAD's layout: which word stands after another; some questions have no answer."""
    rng, rows = np.random.default_rng(seed), []
    for i in range(n):
        words = [f"{word}" for word in rng.permutation(tiny.PLAIN)[:12]]
        context, place = " ".join(words), int(rng.integers(11))
        asked, answer = words[place], words[place + 1]
        answers = {"text": [answer], "answer_start": [context.index(f" {answer}") + 1]}
        if i % 5 == 0:
            asked, answers = "good", {"text": [], "answer_start": []}
        rows.append(
            {"id": f"q{seed}-{i}", "question": asked, "context": context, "answers": answers}
        )
    return rows


@pytest.fixture(scope="module")
def finished(ray_cluster, tmp_path_factory):
    folder = tmp_path_factory.mktemp("qa")
    tiny.write_jsonl(folder / "train.jsonl", questions(60, seed=1))
    tiny.write_jsonl(folder / "test.jsonl", questions(20, seed=2))
    network = str(write_text_network(folder / "network"))
    values = {
        "name": "reading",
        "storage": "runs",
        "tasks": {
            "reading": {
                "kind": "extractive_qa",
                "encoder": {"kind": "transformers", "path": network, "workers": 1},
                "specialists": {
                    "reader": {"kind": "top_layers", "layers": 2, "epochs": 2},
                    "other": {"kind": "full", "epochs": 1},
                },
                "domains": {
                    "letters": {
                        "source": "train.jsonl",
                        "test": "test.jsonl",
                        "text": ["question", "context"],
                        "key": "id",
                        "label": "answers",
                    }
                },
            }
        },
        "budget": {"labels": 24, "per_round": 12},
        "annotation": {"backend": "replay"},
    }
    tiny.run_to_its_end(tiny.write_campaign(folder, values))
    return folder / "campaign.yaml"


@pytest.fixture
def run(finished):
    return Run(load_campaign(finished))


def test_it_learns_scores_and_asks_by_what_it_scored(run):
    assert len(labels_so_far(run.storage, run.folders(2))) == 24
    test = run.round_metrics(2)[-1].domains["reading/letters"].test
    assert test.n == 20
    assert {"F1 where there is an answer", "F1 where there is none"} <= {*test.figures}
    batch = run.storage.read_table("rounds/0002/batch.parquet").to_pylist()
    assert all(row["predicted"] for row in batch)
    (part,) = run.pool(LETTERS)
    scores = run.storage.read_table(part.key("rounds/0002/scores"))
    texts = run.storage.read_table(part.key("pool"), ["text"])["text"].to_pylist()
    assert scores["disagreement"].to_numpy().max() > 0
    for text, answer in zip(texts, scores["answer_1"].to_pylist(), strict=True):
        _, context = parts_of(text)
        for span in spans_of(answer):
            assert context[span.start :].startswith(span.text)


def test_it_is_reported_and_released_as_squad_has_answers(run):
    assert "F1" in Path(write_report(run)).read_text(encoding="utf-8")
    release = Storage(write_release(run, "squad"))
    rows = tiny.rows_in(release.root)
    assert len(rows) >= 24
    for row in rows:
        answers = row["label"]
        for text, start in zip(answers["text"], answers["answer_start"], strict=True):
            assert row["context"][start:].startswith(text)


def test_new_questions_are_scored_and_served_alike(run, finished, tmp_path):
    new = questions(12, seed=3)
    tiny.write_jsonl(tmp_path / "new.jsonl", new)
    score_new(run, str(tmp_path / "new.jsonl"), LETTERS, str(tmp_path / "out"))
    scored = {row["key"]: row for row in tiny.rows_in(tmp_path / "out")}
    scorer = tiny.live_scorer(finished, "reading")
    samples = [Sample(text=[row["question"], row["context"]]) for row in new]
    (found,) = scorer.predict([[scorer.validate(each) for each in samples]])
    kind = run.kinds["reading"]
    for row, prediction in zip(new, found.rows, strict=True):
        known = scored[row["id"]]
        assert prediction.scored.label == kind.value(known["answer_1"])
        assert prediction.scored.certainty == pytest.approx(known["prob_1"], abs=1e-3)
