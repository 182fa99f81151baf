"""Layouts whose samples are pairs of texts, read by the kinds that answer them."""

import json

import pytest

from tests.ingest.layouts.reading import write
from tests.ingest.test_ingest import backwards, oracle_of, pool_of, quarantine_of
from umc_ray.config.campaign import CampaignConfig
from umc_ray.ingest import ingest as ingest_module
from umc_ray.ingest.ingest import ingest
from umc_ray.records import DomainKey
from umc_ray.storage import Storage


@pytest.fixture
def without_ray(monkeypatch):
    monkeypatch.setattr(ingest_module, "stream", backwards)


def ingested(tmp_path, kind, source, **task):
    encoder = {"kind": "transformers", "path": "none"}
    task |= {"kind": kind, "encoder": encoder, "domains": {"domain": {"source": source}}}
    config = CampaignConfig.model_validate(
        {
            "name": "test",
            "budget": {"labels": 10, "per_round": 5},
            "annotation": {"backend": "replay"},
            "ingest": {"max_bad_share": 0.5},
            "tasks": {"task": task},
        }
    )
    storage = Storage(str(tmp_path / "run"))
    manifest = ingest(config, DomainKey("task", "domain"), "pool", storage)
    texts = [row["text"] for row in pool_of(storage, manifest)]
    labels = [row["label"] for row in oracle_of(storage, manifest)]
    return list(zip(texts, labels, strict=True)), quarantine_of(storage)


@pytest.mark.usefixtures("without_ray")
def test_questions_of_squad_are_pairs_with_spans(tmp_path):
    def question(name, start, text, **more):
        answers = [{"text": text, "answer_start": start}] if text else []
        return {"id": name, "question": f"{name}?", "answers": answers, **more}

    questions = [
        question("where", 3, "Houston", is_impossible=False),
        question("when", 0, "", is_impossible=True),
        question("off", 4, "Houston", is_impossible=False),
        question("bad", 4, "Paris", is_impossible=False),
    ]
    paragraph = {"context": "In Houston.", "qas": questions}
    document = {"version": "v2.0", "data": [{"title": "t", "paragraphs": [paragraph]}]}
    path = write(tmp_path / "train-v2.0.json", json.dumps(document))
    rows, bad = ingested(tmp_path, "extractive_qa", {"format": "squad", "path": str(path)})
    span = '{"start": 3, "text": "Houston"}'
    assert rows == [
        ("where?\0In Houston.", span),
        ("when?\0In Houston.", "(no answer)"),
        ("off?\0In Houston.", span),
    ]
    assert [each["reason"].split(":")[0] for each in bad] == ["answer not at answer_start"]


@pytest.mark.usefixtures("without_ray")
def test_sentences_of_stsb_are_pairs_with_a_score(tmp_path):
    header = (
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"
    )
    row = "0\tcaptions\tMSRvid\t2012\t1\tnone\tnone\tA plane.\tAn air plane.\t4.750"
    write(tmp_path / "STS-B" / "train.tsv", f"{header}\n{row}\n")
    source = {"format": "glue", "path": str(tmp_path / "STS-B")}
    rows, bad = ingested(tmp_path, "regression", source, range=[0, 5])
    assert (rows, bad) == ([("A plane.\0An air plane.", "4.75")], [])
