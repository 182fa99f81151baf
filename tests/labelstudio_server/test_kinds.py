"""Each kind of answer is asked in a real Label Studio, learned from, and suggested there."""

from contextlib import closing

import numpy as np
import pytest

from tests import tiny
from tests.integration.test_extractive_qa import questions
from tests.integration.test_generation import sentences
from tests.networks import write_text_network, write_writer
from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.errors import AwaitingAnnotations
from umc_ray.labelstudio.api import LabelStudio
from umc_ray.labelstudio.bridge import pull, push
from umc_ray.tasks.span_answers import NO_ANSWER

pytestmark = [
    pytest.mark.labelstudio,
    pytest.mark.ray,
    pytest.mark.network,
    pytest.mark.timeout(1200),
]

ASKED = 6  # in each round


def written(folder):
    """Words that are to be written the other way round; the second has two right answers."""
    rows = [{**each, "right": None} for each in sentences(30, seed=1)]
    network = str(write_writer(folder / "network"))
    task = {
        "kind": "generation",
        "max_answer_bytes": 80,
        "encoder": {"kind": "transformers", "path": network, "workers": 1},
        "specialists": {
            "memory": {"kind": "memory"},
            "writer": {"kind": "full", "epochs": 1, "learning_rate": 0.01},
        },
    }
    return task, {"text": "text", "key": "id"}, rows


def marked(folder):
    """The word after another one is to be marked; the answers of the file are not read."""
    rows = [{**each, "answers": None} for each in questions(30, seed=1)]
    network = str(write_text_network(folder / "network"))
    task = {
        "kind": "extractive_qa",
        "encoder": {"kind": "transformers", "path": network, "workers": 1},
        "specialists": {"reader": {"kind": "top_layers", "layers": 2, "epochs": 1}},
    }
    return task, {"text": ["question", "context"], "key": "id"}, rows


def compared(folder):
    """How alike two texts are, from 0 to 5."""
    tiny.write_encoder(folder / "encoder")
    rng, rows = np.random.default_rng(1), []
    for i in range(30):
        first = rng.choice(tiny.PLAIN, 5)
        same = int(rng.integers(6))
        second = [*first[:same], *rng.choice(tiny.PLAIN, 5)][:5]
        rows.append({"id": f"p{i}", "first": " ".join(first), "second": " ".join(second)})
    encoder = {"kind": "static_text", "path": "encoder", "workers": 1}
    task = {"kind": "regression", "range": [0, 5], "encoder": encoder}
    return task, {"text": ["first", "second"], "key": "id"}, rows


def text_area(data):
    text = " ".join(reversed(data["text"].split()))
    return text, {"from_name": "label", "to_name": "text", "type": "textarea"}, {"text": [text]}


def span(data):
    context, control = data["text_2"], {"to_name": "text_2"}
    words = context.split()
    if data["text"] not in words[:-1]:
        named = {**control, "from_name": "label-none", "type": "choices"}
        return NO_ANSWER, named, {"choices": [NO_ANSWER]}
    answer = words[words.index(data["text"]) + 1]
    start = context.index(f" {answer}") + 1
    value = {"start": start, "end": start + len(answer), "text": answer, "labels": ["Answer"]}
    named = {**control, "from_name": "label", "type": "labels"}
    return f'{{"start": {start}, "text": "{answer}"}}', named, value


def number(data):
    same = len({*data["text"].split()} & {*data["text_2"].split()})
    named = {"from_name": "label", "to_name": "text_2", "type": "number"}
    return str(same), named, {"number": same}


@pytest.mark.parametrize(
    ("make", "answer"), [(written, text_area), (marked, span), (compared, number)]
)
def test_two_rounds(make, answer, ray_cluster, tmp_path, label_studio, key):
    task, columns, rows = make(tmp_path)
    tiny.write_jsonl(tmp_path / "pool.jsonl", rows)
    domain = {"source": "pool.jsonl", **columns}
    values = {
        "name": make.__name__,
        "storage": "runs",
        "tasks": {"it": {**task, "domains": {"all": domain}}},
        "budget": {"labels": 3 * ASKED, "per_round": ASKED},
        "annotation": {"backend": "label_studio"},
    }
    run = Run(load_campaign(tiny.write_campaign(tmp_path, values)))
    given = {}
    with closing(run.store), LabelStudio(label_studio, key) as studio:
        for _ in range(2):
            with pytest.raises(AwaitingAnnotations):
                run_campaign(run)
            assert push(run, studio) == ASKED
            project = next(p for p in studio.projects() if p["title"] == f"{run.config.name}: it")
            for item in studio.tasks(project["id"]):
                if not item["annotations"]:
                    given[item["data"]["umc_id"]], named, value = answer(item["data"])
                    body = {"result": [{**named, "value": value}], "lead_time": 2}
                    studio._call("POST", f"/api/tasks/{item['id']}/annotations/", body)
            assert (pull(run, studio), pull(run, studio)) == (ASKED, 0)
        with pytest.raises(AwaitingAnnotations):
            run_campaign(run)
        push(run, studio)
        predicted = [
            each["result"]
            for item in studio.tasks(project["id"])
            if not item["annotations"]
            for each in item["predictions"]
        ]
        stored = {
            f"{run.config.name}/it/{each.sample_id}": each.label
            for each in run.store.answers(run.config.name)
        }
    assert len(predicted) == ASKED
    assert any(predicted)
    assert stored == given
