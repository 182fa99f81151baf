"""The REST API for data: submit batches, export labels, import labels."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Annotated

import torch
from fastapi import APIRouter, Body, Path, Query, Response

from umc_ray.annotation.backends.backend import sample_rows
from umc_ray.annotation.changes import changed_answers
from umc_ray.annotation.events import SampleKey
from umc_ray.annotation.labels import tied
from umc_ray.annotation.overview import QuestionRecord, question_records
from umc_ray.annotation.ratings import RATING, said
from umc_ray.annotation.review import by_sample
from umc_ray.annotation.store import Answer, Payload, Question
from umc_ray.annotation.votes import votes_of
from umc_ray.config.section import NAME
from umc_ray.errors import DataError, UmcError
from umc_ray.methods.identity import sample_ids
from umc_ray.methods.text_pair import joined, parts_of
from umc_ray.records import DomainKey
from umc_ray.tasks.spelling import find_label
from umc_ray.tasks.task import TaskKind
from umc_ray.web.api import PROBLEMS, image_path
from umc_ray.web.auth import Admin, Reviewer
from umc_ray.web.formats import Format, LabeledQuestion, media_type, read_votes, write_labels
from umc_ray.web.json_body import FileRoute
from umc_ray.web.messages import BatchIn, BatchOut, Imported, NewSample, Vote
from umc_ray.web.samples import Sample
from umc_ray.web.site import CurrentSite, Queue, Site

MAX_PROBLEMS = 100
"""Bad rows of an import that are named."""

router = APIRouter(prefix="/api", responses=PROBLEMS, route_class=FileRoute)


@router.post("/batches/{batch}")
def submit_batch(
    batch: Annotated[str, Path(pattern=NAME, max_length=100)],
    body: BatchIn,
    site: CurrentSite,
    person: Reviewer,
) -> BatchOut:
    """Submit samples to label outside the campaign's rounds; each counts once per batch."""
    questions = [_new_question(site, site.queue(batch), body, each) for each in body.samples]
    _check_pool(site, questions)
    new = site.store.submit(questions)
    return BatchOut(new=new, sample_ids=[str(question.sample_id) for question in questions])


@router.get("/labels", response_class=Response)
def labels(
    site: CurrentSite, queue: Queue, person: Reviewer, format: Annotated[Format, Query()] = "jsonl"
) -> Response:
    """Export all questions with their answers, except gold questions."""
    content = write_labels(format, labeled_questions(site, queue))
    return Response(content, media_type=media_type(format))


@router.post("/labels", response_model_exclude_defaults=True)
def import_labels(
    body: Annotated[bytes, Body(media_type="application/octet-stream")],
    site: CurrentSite,
    queue: Queue,
    person: Admin,
    format: Annotated[Format, Query()] = "jsonl",
) -> Imported:
    """Import answers in a format of `GET /api/labels`; known answers are skipped.

    Rows that cannot be used are reported, the others count.
    """
    found = read_votes(format, body, lambda task: site.kind(task).form())
    answers, problems = list[Answer](), list(found.problems)
    for number, vote in found.votes:
        try:
            answers.append(_answer(site, queue, vote))
        except UmcError as error:
            problems.append((number, str(error)))
    if problems and not answers:
        number, reason = min(problems)
        raise DataError(f"no row of the request body can be used; row {number}: {reason}")
    changes = changed_answers(answers, site.store.answers(queue))
    new = site.store.record(list(changes.values()), list(changes))
    lines = [f"row {number}: {reason}" for number, reason in sorted(problems)[:MAX_PROBLEMS]]
    return Imported(read=len(answers), new=new, bad=len(problems), problems=lines)


def labeled_questions(site: Site, queue: str) -> list[LabeledQuestion]:
    """Return the questions of a queue with their samples and answers."""
    records = question_records(site.store, queue)
    answers = [answer for record in records for answer in record.answers]
    labels, ties = _consensus(site, answers), tied(answers, site.run.kinds)
    extra, scores = (by_sample(site.store.events(kind, queue)) for kind in ("extra", RATING))
    samples = site.samples.get([record.question for record in records])

    def labeled(record: QuestionRecord, sample: Sample) -> LabeledQuestion:
        question, decision = record.question, record.decision
        return LabeledQuestion(
            question=question,
            text=sample.text,
            image=None if sample.image is None else image_path(question),
            answers=record.answers,
            form=site.kind(question.task).form(),
            label=labels.get(question.key) if decision is None else decision.label,
            decision=decision,
            tied=question.key[1:] in ties and decision is None,
            extra=extra.get(question.key, ()),
            flags=record.flags,
            notes=(*record.notes, *map(said, scores.get(question.key, ()))),
        )

    return [labeled(*pair) for pair in zip(records, samples, strict=True)]


def _consensus(site: Site, answers: Sequence[Answer]) -> dict[SampleKey, str | None]:
    """Return what most people answered, by sample."""
    labels: dict[SampleKey, str | None] = {}
    for task, kind in site.run.kinds.items():
        own = [answer for answer in answers if answer.task == task]
        keys = {answer.sample_id: answer.key for answer in own}
        found = kind.consensus(votes_of(own))
        labels |= {keys[sample_id]: label for sample_id, label in found.items()}
    return labels


def _new_question(site: Site, queue: str, body: BatchIn, sample: NewSample) -> Question:
    gold = site.answer_text(body.task, sample.gold)
    if (sample.text is None) == (sample.sample_id is None):
        raise DataError("each sample needs either text or sample_id")
    text = joined(sample.text) if isinstance(sample.text, list) else sample.text
    parts = len(site.run.config.tasks[body.task].pair) or 1
    if text is not None and len(parts_of(text)) != parts:
        raise DataError(f"text of task {body.task} must be {'two texts' if parts > 1 else 'one'}")
    payload = Payload(text=text)
    if sample.probabilities:
        payload = _with_prediction(payload, site.kind(body.task), sample.probabilities)
    return Question(
        campaign=queue,
        round=1,
        task=body.task,
        domain=body.domain,
        sample_id=_sample_id(body, sample),
        votes=sample.votes,
        priority=sample.priority,
        why=sample.why,
        payload=payload,
        gold=gold,
        hide_prediction=sample.hide_prediction,
    )


def _with_prediction(
    payload: Payload, kind: TaskKind, probabilities: Mapping[str, float]
) -> Payload:
    """Add what the page shows of a model's probabilities.

    Raises:
        DataError: a label is not of the task.
    """
    try:
        share_by = {find_label(text, kind.labels): share for text, share in probabilities.items()}
    except DataError as error:
        raise DataError(f"probabilities: {error}") from error
    shares = [share_by.get(label, 0.0) for label in kind.labels]
    (found,) = kind.describe(torch.tensor([[shares]], dtype=torch.float64), ["submitted"], {})
    return replace(
        payload,
        probabilities=share_by,
        predicted=found.predicted,
        confidence=found.confidence,
    )


def _sample_id(body: BatchIn, sample: NewSample) -> int:
    if sample.sample_id is not None:
        return int(sample.sample_id)
    text = joined(sample.text) if isinstance(sample.text, list) else sample.text or ""
    name = sample.id or sha256(text.encode()).hexdigest()
    return int(sample_ids(body.task, body.domain, "api", [name])[0])


def _check_pool(site: Site, questions: Sequence[Question]) -> None:
    """Check that samples without a text are in the pool.

    Raises:
        DataError: names the first sample that is missing.
    """
    by_id = [question for question in questions if question.payload.text is None]
    domains = site.run.config.domains()
    known = [each for each in by_id if DomainKey(each.task, each.domain) in domains]
    rows = sample_rows(site.run.storage, site.run.askable_parts(), known, "pool") if known else {}
    for question in by_id:
        if question.key not in rows:
            raise DataError(
                f"sample {question.sample_id} is not in the pool of "
                f"{question.task}/{question.domain}"
            )


def _answer(site: Site, queue: str, vote: Vote) -> Answer:
    question = site.question(queue, vote.task, int(vote.sample_id))
    label = site.answer_text(vote.task, vote.label, question)
    answer = question.answered(vote.annotator, label)
    return replace(answer, reason=vote.reason, seconds=vote.seconds)
