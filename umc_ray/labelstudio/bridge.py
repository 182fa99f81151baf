"""Synchronize a campaign with Label Studio.

Each task of the campaign is one Label Studio project, identified by its title. `push` adds open
questions as Label Studio tasks with predictions of the newest published ensemble, and sets the
project's model version: without it Label Studio shows tasks in random order. `pull` imports
annotations into the annotation store. Both are idempotent.
"""

import base64
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from umc_ray.annotation.asked import asked
from umc_ray.annotation.backends.backend import sample_rows
from umc_ray.annotation.ratings import RATING
from umc_ray.annotation.store import Answer, Question
from umc_ray.campaign.run import Run
from umc_ray.errors import StoreError
from umc_ray.ingest.browser_images import browser_image
from umc_ray.labelstudio.annotations import Reader, annotation_ids, take_back_deleted
from umc_ray.labelstudio.api import LabelStudio
from umc_ray.labelstudio.form import (
    CONTROL,
    form_xml,
    labeled,
    sample_data,
    seconds_since_1970,
)
from umc_ray.labelstudio.notify import take_notifications
from umc_ray.labelstudio.predictions import Prediction, predictions, publication, version_of
from umc_ray.labelstudio.pulled import Pulled, count_pushed
from umc_ray.tasks.forms import Form

Document = dict[str, Any]

IMPORT_BATCH = 100
"""Tasks per import request; requests contain images."""

OVERLAP_S = 60.0
"""A pull also covers this time before the previous pull, because clocks differ."""

POLL_S = 2.0
"""How often `sync` checks for notifications."""

RECONCILE_S = 60.0
"""How often `sync` pulls without a notification."""


@dataclass(frozen=True)
class Project:
    """The Label Studio project of a task; `column` is text or image."""

    id: int
    task: str
    column: str
    form: Form

    def prediction(self, prediction: Prediction, version: str) -> Document:
        """Convert a prediction to Label Studio's format."""
        result = self.form.result(prediction.answer, CONTROL, labeled(self.column, self.form))
        return {"model_version": version, "score": prediction.score, "result": result}


def push(run: Run, studio: LabelStudio) -> int:
    """Add open questions and predictions to all projects; return the number of new tasks."""
    new = 0
    published = publication(run)
    for task in run.config.tasks:
        questions = [q for q in run.store.open_questions(run.config.name) if q.task == task]
        if questions:
            project = _project(run, studio, task)
            existing = {item["data"].get("umc_id") for item in studio.tasks(project.id)}
            predicted = predictions(run, published, task, questions)
            new += _add(run, studio, project, [q for q in questions if _name(q) not in existing])
            _update_predictions(studio, project, questions, predicted, version_of(published))
    return new


def connect(run: Run, studio: LabelStudio, endpoint: str, token: str) -> None:
    """Register the endpoint in Label Studio as ML backend and webhook, with a token."""
    for task in run.config.tasks:
        project = _project(run, studio, task)
        url = f"{endpoint.rstrip('/')}/labelstudio/{task}"
        model_version = studio.project(project.id)["model_version"]
        if url not in [each["url"] for each in studio.backends(project.id)]:
            studio.add_backend(
                url=url,
                project=project.id,
                title="umc_ray",
                auth_method="BASIC_AUTH",
                basic_auth_user="umc",
                basic_auth_pass=token,
            )
            # Registering sets the model version to the backend's title, which makes the order
            # random.
            if model_version:
                studio.change_project(project.id, model_version=model_version)
        _register_webhook(studio, project, f"{url}/webhook", token)


def pull(run: Run, studio: LabelStudio) -> int:
    """Import new answers into the store; return their number."""
    new = 0
    for task in run.config.tasks:
        project_id = _find_project(run, studio, task)
        if project_id is not None:
            new += _pull(run, studio, _opened(run, task, project_id))
    return new


def sync(
    run: Run,
    studio: LabelStudio,
    is_stopped: Callable[[], bool] = lambda: False,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[int]:
    """Pull after each notification, and every RECONCILE_S; yield the number of new answers."""
    last = -RECONCILE_S
    while not is_stopped():
        if take_notifications(run.storage) or time.monotonic() - last >= RECONCILE_S:
            last = time.monotonic()
            yield pull(run, studio)
        sleep(POLL_S)


def _title(run: Run, task: str) -> str:
    return f"{run.config.name}: {task}"


def _find_project(run: Run, studio: LabelStudio, task: str) -> int | None:
    title = _title(run, task)
    ids = [each["id"] for each in studio.projects() if each["title"] == title]
    if len(ids) > 1:
        raise StoreError(
            f"{studio.url} has {len(ids)} projects with the title {title!r}: rename or delete all "
            "but one"
        )
    return ids[0] if ids else None


def _opened(run: Run, task: str, project_id: int) -> Project:
    return Project(project_id, task, run.config.tasks[task].payload, run.kinds[task].form())


def _project(run: Run, studio: LabelStudio, task: str) -> Project:
    """Return the project of a task; create it if there is none."""
    project_id = _find_project(run, studio, task)
    if project_id is None:
        project = studio.create_project(
            title=_title(run, task),
            label_config=_form_xml(run, task),
            sampling="Uncertainty sampling",
            show_collab_predictions=True,
            maximum_annotations=run.config.annotation.votes,
        )
        project_id = int(project["id"])
    return _opened(run, task, project_id)


def _form_xml(run: Run, task: str) -> str:
    config = run.config.tasks[task]
    rates = bool(run.config.refine.generators)
    return form_xml(config.payload, run.kinds[task].form(), config.pair, rates)


def _register_webhook(studio: LabelStudio, project: Project, url: str, token: str) -> None:
    """Register a webhook that sends the token; disable the one without, added by Label Studio."""
    is_registered = False
    for webhook in studio.webhooks(project.id):
        if webhook["url"] == url:
            has_token = bool(webhook.get("headers"))
            is_registered = is_registered or has_token
            if webhook["is_active"] != has_token:
                studio.change_webhook(webhook["id"], is_active=has_token)
    if not is_registered:
        studio.add_webhook(
            url=url,
            project=project.id,
            send_payload=True,
            send_for_all_actions=False,
            actions=["ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED"],
            headers={"X-Umc-Secret": token},
        )


def _name(question: Question) -> str:
    """Return a permanent name of a question, stored with its Label Studio task."""
    return f"{question.campaign}/{question.task}/{question.sample_id}"


def _add(run: Run, studio: LabelStudio, project: Project, questions: Sequence[Question]) -> int:
    """Import questions as Label Studio tasks; return their number."""
    rows = sample_rows(run.storage, (*run.pools, *run.synthetic), questions, "pool")
    items = (_item(project, question, rows[question.key]) for question in questions)
    while batch := list(islice(items, IMPORT_BATCH)):
        studio.import_tasks(project.id, batch)
        count_pushed(run.storage, project.id, len(batch))
    return len(questions)


def _item(project: Project, question: Question, row: Mapping[str, Any]) -> Document:
    sample = sample_data(row["text"])
    if project.column == "image":
        image, media_type = browser_image(row["image"])
        sample = {"image": f"data:{media_type};base64,{base64.b64encode(image).decode()}"}
    data = {
        **sample,
        "umc_id": _name(question),
        "umc_domain": question.domain,
        "umc_round": question.round,
        "umc_why": "" if question.hide_prediction else question.why,
    }
    return {"data": data}


def _update_predictions(
    studio: LabelStudio,
    project: Project,
    questions: Sequence[Question],
    predictions: Mapping[int, Prediction],
    version: str,
) -> None:
    """Add missing predictions, set the project's model version, and delete other versions."""
    if not predictions:  # Label Studio rejects a model version without predictions
        return
    by_name = {_name(question): question for question in questions}
    for item in studio.tasks(project.id):
        question = by_name.get(item["data"].get("umc_id"))
        versions = {each["model_version"] for each in item.get("predictions", ())}
        if question is None or question.sample_id not in predictions or version in versions:
            continue
        prediction = project.prediction(predictions[question.sample_id], version)
        if question.hide_prediction:  # keep the score for the order, but show no label
            prediction["result"] = []
        studio.add_prediction({**prediction, "task": item["id"], "project": project.id})
    studio.change_project(project.id, model_version=version)
    for other in studio.versions(project.id):
        if other != version:
            studio.delete_version(project.id, other)


def _pull(run: Run, studio: LabelStudio, project: Project) -> int:
    """Import annotations that changed since OVERLAP_S before the newest change that was pulled.

    Returns how many answers are new, changed or taken back. All times are Label Studio's: its clock
    may be wrong.
    """
    last, tasks = Pulled.read(run.storage, project.id), studio.count(project.id)
    until = last.until
    since = None if until is None else _iso(datetime.fromtimestamp(until - OVERLAP_S, UTC))
    questions = run.store.questions(run.config.name)
    by_name = {_name(q): q for q in questions if q.task == project.task}
    reader = Reader(studio.url, project.id, project.form)
    answers, scores = dict[str, Answer](), dict[str, Answer]()
    there = set[str]()
    changed = _open(run, by_name) if tasks < last.tasks else {}  # deleted: not among the changes
    for item in studio.tasks(project.id, since):
        at = seconds_since_1970(item["updated_at"])
        until = at if until is None else max(until, at)
        question = by_name.get(item["data"].get("umc_id"))
        if question is not None:
            changed[_name(question)] = question
            there |= annotation_ids([item])
            answers |= reader.answers(question, item)
            scores |= reader.scores(question, item)
    new = run.store.record(list(answers.values()), list(answers))
    run.store.record_as(RATING, list(scores.values()), list(scores))
    new += take_back_deleted(run.store, reader, changed, there, lambda: studio.tasks(project.id))
    Pulled(until, tasks).write(run.storage, project.id)
    return new


def _open(run: Run, by_name: Mapping[str, Question]) -> dict[str, Question]:
    """Return the questions of rounds that are not closed; people may tidy up older ones."""
    there = asked(run.store, run.config.name)
    still = {sample for sample, about in there.items() if not about.closed}
    return {name: each for name, each in by_name.items() if (each.task, each.sample_id) in still}


def _iso(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
