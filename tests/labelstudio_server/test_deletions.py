"""Annotations that are changed and deleted in a real Label Studio, whatever its clock says."""

from contextlib import closing

import pytest

from tests.labelstudio_server.conftest import new_key
from tests.web.worlds import TEXT, ask, write_world
from umc_ray.labelstudio.api import LabelStudio
from umc_ray.labelstudio.bridge import pull, push

pytestmark = [pytest.mark.labelstudio, pytest.mark.network, pytest.mark.timeout(1200)]


@pytest.fixture(params=["label_studio", "late_label_studio"])
def studio(request):
    url = request.getfixturevalue(request.param)
    with LabelStudio(url, new_key(url)) as studio:
        yield studio
        for project in studio.projects():
            studio._call("DELETE", f"/api/projects/{project['id']}/")


@pytest.fixture
def run(tmp_path):
    run = ask(write_world(tmp_path, (TEXT,), backend="label_studio"))
    with closing(run.store):
        yield run


class Project:
    """The project of the campaign, as people at Label Studio's page change it."""

    def __init__(self, studio):
        self.studio = studio
        (self.project,) = studio.projects()
        self.tasks = [each["id"] for each in studio.tasks(self.project["id"])]

    def answer(self, task, label):
        """Answer a task; returns the annotation's id."""
        body = {"result": result(label), "lead_time": 1.5}
        return self.studio._call("POST", f"/api/tasks/{task}/annotations/", body)["id"]

    def change(self, annotation, label):
        self.studio._call("PATCH", f"/api/annotations/{annotation}/", {"result": result(label)})

    def delete(self, annotation):
        self.studio._call("DELETE", f"/api/annotations/{annotation}/")

    def delete_task(self, task):
        self.studio._call("DELETE", f"/api/tasks/{task}/")


def result(label):
    named = {"from_name": "label", "to_name": "text", "type": "choices"}
    return [{**named, "value": {"choices": [label]}}]


def labels_of(run):
    return sorted(each.label for each in run.store.answers("tiny"))


def test_answers_changes_and_deletions_arrive_once(run, studio):
    asked = push(run, studio)
    project = Project(studio)
    first, second, third, *_ = project.tasks
    annotation = project.answer(first, "good")
    assert (pull(run, studio), pull(run, studio)) == (1, 0)
    project.answer(second, "good")
    assert (pull(run, studio), pull(run, studio)) == (1, 0)
    assert run.store.progress("tiny", 2) == (2, asked)

    project.change(annotation, "bad")
    assert (pull(run, studio), pull(run, studio)) == (1, 0)
    assert labels_of(run) == ["bad", "good"]

    project.delete(annotation)
    assert (pull(run, studio), pull(run, studio)) == (1, 0)
    assert labels_of(run) == ["good"]
    assert run.store.progress("tiny", 2) == (1, asked)

    project.answer(first, "bad")
    project.answer(third, "bad")
    assert (pull(run, studio), pull(run, studio)) == (2, 0)
    assert labels_of(run) == ["bad", "bad", "good"]


def test_a_deleted_task_is_asked_again(run, studio):
    asked = push(run, studio)
    project = Project(studio)
    project.answer(project.tasks[0], "good")
    assert pull(run, studio) == 1
    project.delete_task(project.tasks[0])
    pull(run, studio)
    assert (labels_of(run), run.store.progress("tiny", 2)) == ([], (0, asked))
    assert push(run, studio) == 1
