"""What goes to Label Studio and what comes back.

A task of the campaign is a project there, found again by its title. `push` brings it up to date:
open questions are items, predictions are of the newest specialists, and the project's version is
theirs, without which Label Studio asks in random order. `pull` takes answers into the annotation
store. Both can be called again at any time and change nothing that is done.
"""

import base64
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pyarrow as pa

from umc_ray.annotation.backends.backend import sample_rows
from umc_ray.annotation.store import Answer, Question
from umc_ray.campaign.publish import PUBLISHED, Publication, load_published, read_published
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import round_folder
from umc_ray.encoders.registry import load_encoder
from umc_ray.errors import DataError, StoreError
from umc_ray.labelstudio.api import LabelStudio
from umc_ray.labelstudio.form import Form, form_xml, seconds_since_1970, urgency
from umc_ray.labelstudio.notify import take_notifications
from umc_ray.methods.scoring import acquisition, score
from umc_ray.records import embeddings_array

logger = logging.getLogger(__name__)

Document = dict[str, Any]

IMPORT = 100
"""Items of one request: images are in it."""

OVERLAP_S = 60.0
"""What changed so long before the last look is looked at again: clocks differ."""

NOTES_EVERY_S = 2.0
RECONCILE_EVERY_S = 60.0


@dataclass(frozen=True)
class Prediction:
    """What the newest specialists think of a sample; `score` as Label Studio sorts: low first."""

    label: str
    confidence: float
    score: float


@dataclass(frozen=True)
class Project:
    """A task's project in Label Studio."""

    number: int
    task: str
    form: Form

    def prediction(self, found: Prediction, version: str) -> Document:
        """Lay a prediction out."""
        result = self.form.result(found.label)
        return {"model_version": version, "score": found.score, "result": result}


def push(run: Run, studio: LabelStudio) -> int:
    """Bring all projects up to date; returns how many items are new."""
    new = 0
    publication = _publication(run)
    for task in run.config.tasks:
        questions = [q for q in run.store.open_questions(run.config.name) if q.task == task]
        if questions:
            project = _project(run, studio, task)
            there = {item["data"].get("umc_id"): item for item in studio.tasks(project.number)}
            found = _predictions(run, publication, task, questions)
            new += _add(run, studio, project, [q for q in questions if _name(q) not in there])
            _predict(studio, project, questions, found, _version(publication))
    return new


def connect(run: Run, studio: LabelStudio, endpoint: str, token: str) -> None:
    """Have Label Studio ask the endpoint for predictions, and tell it of answers, by a token."""
    for task in run.config.tasks:
        project = _project(run, studio, task)
        url = f"{endpoint.rstrip('/')}/labelstudio/{task}"
        before = studio.project(project.number)["model_version"]
        if url not in [each["url"] for each in studio.backends(project.number)]:
            studio.add_backend(
                url=url,
                project=project.number,
                title="umc_ray",
                auth_method="BASIC_AUTH",
                basic_auth_user="umc",
                basic_auth_pass=token,
            )
            # Registering makes the backend's title the version, and the order random.
            if before:
                studio.change_project(project.number, model_version=before)
        _own_webhook(studio, project, f"{url}/webhook", token)


def pull(run: Run, studio: LabelStudio) -> int:
    """Take answers that are new into the store; returns how many there are."""
    new = 0
    for task in run.config.tasks:
        number = _find(run, studio, task)
        if number is not None:
            new += _pull(run, studio, Project(number, task, _form(run, task)))
    return new


def sync(
    run: Run,
    studio: LabelStudio,
    over: Callable[[], bool] = lambda: False,
    wait: Callable[[float], object] = time.sleep,
) -> Iterator[int]:
    """Pull whenever a webhook left a note, and now and then without; gives what each pull found."""
    last = -RECONCILE_EVERY_S
    while not over():
        if take_notifications(run.storage) or time.monotonic() - last >= RECONCILE_EVERY_S:
            last = time.monotonic()
            yield pull(run, studio)
        wait(NOTES_EVERY_S)


def _title(run: Run, task: str) -> str:
    return f"{run.config.name}: {task}"


def _find(run: Run, studio: LabelStudio, task: str) -> int | None:
    numbers = [each["id"] for each in studio.projects() if each["title"] == _title(run, task)]
    if len(numbers) > 1:
        raise StoreError(f"{studio.url} has {len(numbers)} projects {_title(run, task)!r}")
    return numbers[0] if numbers else None


def _form(run: Run, task: str) -> Form:
    config = run.config.tasks[task]
    return Form.read(form_xml(load_encoder(config.encoder).column, config.labels))


def _project(run: Run, studio: LabelStudio, task: str) -> Project:
    """Find a task's project, or create it."""
    form, number = _form(run, task), _find(run, studio, task)
    if number is None:
        created = studio.create_project(
            title=_title(run, task),
            label_config=form_xml(form.column, form.labels),
            sampling="Uncertainty sampling",
            show_collab_predictions=True,
            maximum_annotations=run.config.annotation.votes,
        )
        number = int(created["id"])
    return Project(number, task, form)


def _own_webhook(studio: LabelStudio, project: Project, url: str, token: str) -> None:
    """Register a webhook that says who it is from, and silence the one that does not."""
    ours = False
    for each in studio.webhooks(project.number):
        if each["url"] == url:
            signed = bool(each.get("headers"))
            ours = ours or signed
            if each["is_active"] != signed:
                studio.change_webhook(each["id"], is_active=signed)
    if not ours:
        studio.add_webhook(
            url=url,
            project=project.number,
            send_payload=True,
            send_for_all_actions=False,
            actions=["ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED"],
            headers={"X-Umc-Secret": token},
        )


def _publication(run: Run) -> Publication | None:
    if not run.storage.exists(PUBLISHED):
        return None
    return load_published(run.storage, run.config, read_published(run.storage))


def _version(publication: Publication | None) -> str:
    return "none" if publication is None else publication.manifest.version


def _predictions(
    run: Run, publication: Publication | None, task: str, questions: Sequence[Question]
) -> dict[int, Prediction]:
    """Say what the newest specialists think of samples, by their ids; nothing without any."""
    if publication is None or task not in publication.ensembles:
        return {}
    wanted = {question.sample_id for question in questions}
    columns = ["sample_id", "embedding"]
    batch = pa.concat_tables(
        run.storage.read_table(
            f"{round_folder(number)}/batch.parquet", columns, [("task", "=", task)]
        )
        for number in sorted({question.round for question in questions})
    )
    probs_SNC = publication.ensembles[task].probabilities(embeddings_array(batch["embedding"]))
    scores, name = score(probs_SNC), run.config.selection.acquisition
    top_probs, tops = scores.mean_NC.max(1)
    specialists, _, classes = probs_SNC.shape
    rows = zip(
        batch["sample_id"].to_pylist(),
        tops.tolist(),
        top_probs.tolist(),
        acquisition(scores, name).tolist(),
        strict=True,
    )
    return {
        sample: Prediction(
            run.config.tasks[task].labels[label],
            prob,
            1 - urgency(priority, name, classes, specialists),
        )
        for sample, label, prob, priority in rows
        if sample in wanted
    }


def _name(question: Question) -> str:
    """Name a question for good: it comes back with all that Label Studio says of the item."""
    return f"{question.campaign}/{question.task}/{question.sample_id}"


def _add(run: Run, studio: LabelStudio, project: Project, questions: Sequence[Question]) -> int:
    """Import questions as items."""
    rows = sample_rows(run.storage, run.parts, questions, "pool")
    items = (_item(project, question, rows[question.key]) for question in questions)
    while some := list(islice(items, IMPORT)):
        studio.import_tasks(project.number, some)
    return len(questions)


def _item(project: Project, question: Question, row: Mapping[str, Any]) -> Document:
    value = row["text"]
    if project.form.column == "image":
        value = f"data:image/png;base64,{base64.b64encode(row['image']).decode()}"
    data = {
        project.form.key: value,
        "umc_id": _name(question),
        "umc_domain": question.domain,
        "umc_round": question.round,
        "umc_why": "" if question.hide_prediction else question.why,
    }
    return {"data": data}


def _predict(
    studio: LabelStudio,
    project: Project,
    questions: Sequence[Question],
    found: Mapping[int, Prediction],
    version: str,
) -> None:
    """Add the predictions of the newest version, make it the project's, and forget others."""
    if not found:  # a version without a prediction is refused
        return
    open_ones = {_name(question): question for question in questions}
    for item in studio.tasks(project.number):
        question = open_ones.get(item["data"].get("umc_id"))
        known = {each["model_version"] for each in item.get("predictions", ())}
        if question is None or question.sample_id not in found or version in known:
            continue
        prediction = project.prediction(found[question.sample_id], version)
        if question.hide_prediction:  # it has its place in the order, and shows no label
            prediction["result"] = []
        studio.predict({**prediction, "task": item["id"], "project": project.number})
    studio.change_project(project.number, model_version=version)
    for other in studio.versions(project.number):
        if other != version:
            studio.forget_version(project.number, other)


def _pull(run: Run, studio: LabelStudio, project: Project) -> int:
    """Take over what changed since the last look, and a little before."""
    key = f"labelstudio/pulled-{project.number}.json"
    began = datetime.now(UTC).timestamp()
    since = None
    if run.storage.exists(key):
        since = datetime.fromtimestamp(run.storage.read_json(key)["until"] - OVERLAP_S, UTC)
    asked = {_name(q): q for q in run.store.questions(run.config.name) if q.task == project.task}
    answers: dict[str, Answer] = {}
    for item in studio.tasks(project.number, None if since is None else _iso(since)):
        question = asked.get(item["data"].get("umc_id"))
        if question is not None:
            answers |= _answers(studio, project, question, item)
    new = run.store.record(list(answers.values()), list(answers))
    run.storage.write_json(key, {"until": began})
    return new


def _answers(
    studio: LabelStudio, project: Project, question: Question, item: Document
) -> dict[str, Answer]:
    """Return the answers of an item, by a key that changes when one is changed."""
    answers = {}
    for each in sorted(item["annotations"], key=lambda each: each["updated_at"]):
        try:
            label = None if each["was_cancelled"] else project.form.label(each["result"])
        except DataError as error:
            logger.warning("item %s of %s: %s", item["id"], studio.url, error)
            continue
        person = each["completed_by"]
        person = person["id"] if isinstance(person, dict) else person
        answers[f"labelstudio/{project.number}/{each['id']}/{each['updated_at']}"] = Answer(
            campaign=question.campaign,
            task=question.task,
            domain=question.domain,
            sample_id=question.sample_id,
            annotator=f"label-studio-{person}",
            label=label,
            round=question.round,
            seconds=each["lead_time"],
            submitted_at=seconds_since_1970(each["updated_at"]),
            reason=None if label is not None else "skipped in Label Studio",
        )
    return answers


def _iso(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
