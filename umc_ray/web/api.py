"""The REST API for annotation, used by the page and by other clients."""

from asyncio import wrap_future
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from umc_ray.annotation.history import count_given, count_left
from umc_ray.annotation.leases import LeaseManager
from umc_ray.annotation.ratings import RATING
from umc_ray.annotation.review import ask_one_more, decide, reopen
from umc_ray.annotation.store import Answer, Question
from umc_ray.errors import DataError
from umc_ray.methods.text_pair import plain
from umc_ray.web.accounts import Person
from umc_ray.web.auth import Annotator, Reviewer
from umc_ray.web.json_body import JsonRoute
from umc_ray.web.messages import (
    AnswersIn,
    DecisionIn,
    Problem,
    Progress,
    QuestionOut,
    QuestionRef,
    ReleaseIn,
    RemarkIn,
    ReviewIn,
    Saved,
    UndoIn,
    Undone,
)
from umc_ray.web.site import CurrentSite, Queue, Site

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem} for status in (400, 401, 403, 409, 413, 422)
}
router = APIRouter(prefix="/api", responses=PROBLEMS, route_class=JsonRoute)


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request, person: Annotator) -> dict[str, Any]:
    """Return the OpenAPI document."""
    document: dict[str, Any] = request.app.openapi()
    return document


@router.get("/progress")
def progress(
    site: CurrentSite,
    queue: Queue,
    person: Annotator,
    since: Annotated[float, Query(ge=0, le=1e11, description="seconds since 1970")] = 0.0,
) -> Progress:
    """Return the progress of the current round, and the account's own."""
    done, total = site.progress(queue)
    by_you = count_given(site.store, queue, person.name, since)
    left = count_left(site.store, queue, person.name, site.domains_of(person))
    return Progress(done=done, asked=total, by_you=by_you, left_for_you=left)


@router.get("/questions")
def questions(
    site: CurrentSite, queue: Queue, person: Annotator, n: Annotated[int, Query(ge=1, le=50)] = 10
) -> list[QuestionOut]:
    """Lease questions to the account; the ones it already holds come first."""
    held = site.claim(person, queue, n)
    return [
        QuestionOut(
            sample=question_ref(question),
            text=None if sample.text is None else plain(sample.text),
            image=None if sample.image is None else image_path(question),
            labels=list(site.kind(question.task).labels),
            hint=site.kind(question.task).form().hint(),
            why="" if question.hide_prediction else question.why,
        )
        for question, sample in zip(held, site.samples.get(held), strict=True)
    ]


@router.post("/answers")
async def answers(body: AnswersIn, site: CurrentSite, queue: Queue, person: Annotator) -> Saved:
    """Store answers; they are on disk when this returns."""
    new = [_answer(site, body, sample, queue, person) for sample in body.samples]
    keys = [f"{client_key(person, body.client_key)}/{i}" for i in range(len(new))]
    await wrap_future(site.recorder.record(new, keys))
    return Saved(saved=len(new))


@router.post("/undo")
def undo(body: UndoIn, site: CurrentSite, queue: Queue, person: Annotator) -> Undone:
    """Undo the last answer."""
    answer = None if body.answer is None else client_key(person, body.answer)
    undone = site.leases(person, queue).undo(client_key(person, body.client_key), answer)
    return Undone(samples=[question_ref(each) for each in undone])


@router.post("/remarks", status_code=204)
def remarks(body: RemarkIn, site: CurrentSite, queue: Queue, person: Annotator) -> None:
    """Flag a sample, add a note, or rate a synthetic sample."""
    question = site.question(queue, body.sample.task, body.sample.id)
    if body.kind == RATING and question.payload.made is None:
        raise DataError(f"sample {body.sample.sample_id} is real: only synthetic ones are rated")
    remark = _event(body.sample, queue, person, None, body.text)
    site.store.record_as(body.kind, [remark], [client_key(person, body.client_key)])


@router.post("/heartbeat", status_code=204)
def heartbeat(site: CurrentSite, queue: Queue, person: Annotator) -> None:
    """Renew the leases of the questions on the screen."""
    for leases in _all_leases(site, person, queue):
        leases.heartbeat()


@router.post("/release", status_code=204)
def release(
    site: CurrentSite, queue: Queue, person: Annotator, body: ReleaseIn | None = None
) -> None:
    """Release the leases of some questions; without a body, all of the account's."""
    keys = None if body is None else [(queue, each.task, each.id) for each in body.samples]
    for leases in _all_leases(site, person, queue):
        leases.release(keys)


@router.post("/decisions", status_code=204)
def decision(body: DecisionIn, site: CurrentSite, queue: Queue, person: Reviewer) -> None:
    """Store a reviewer's decision on a disputed question."""
    label = _label(site, queue, body.sample, body.label)
    event = _event(body.sample, queue, person, label, body.reason)
    decide(site.store, event, client_key(person, body.client_key))


@router.post("/decisions/undo", status_code=204)
def undo_decision(body: ReviewIn, site: CurrentSite, queue: Queue, person: Reviewer) -> None:
    """Take back the account's decision on a question."""
    event = _event(body.sample, queue, person, None, None)
    reopen(site.store, event, client_key(person, body.client_key))


@router.post("/reask", status_code=204)
def reask(body: ReviewIn, site: CurrentSite, queue: Queue, person: Reviewer) -> None:
    """Ask one more person about a question of the current round."""
    event = _event(body.sample, queue, person, None, None)
    ask_one_more(site.store, event, client_key(person, body.client_key))


def _all_leases(site: Site, person: Person, queue: str) -> list[LeaseManager]:
    """Return a person's leases as an annotator and as a reviewer."""
    of_cases = [site.review_leases(person, queue)] if person.may("reviewer") else []
    return [site.leases(person, queue), *of_cases]


def question_ref(question: Question) -> QuestionRef:
    """Return how clients identify a question."""
    return QuestionRef(
        task=question.task,
        domain=question.domain,
        sample_id=str(question.sample_id),
        round=question.round,
    )


def image_path(question: Question) -> str:
    """Return the path of a sample's image, relative to the root of the page."""
    return f"images/{question.task}/{question.sample_id}"


def client_key(person: Person, key: str) -> str:
    """Prefix a client key with the person's name, so that clients cannot collide."""
    return f"web/{person.name}/{key}"


def _answer(site: Site, body: AnswersIn, sample: QuestionRef, queue: str, person: Person) -> Answer:
    label = _label(site, queue, sample, body.label)
    return replace(
        _event(sample, queue, person, label, body.reason),
        seconds=body.seconds,
        guideline=body.guideline,
        seen=body.seen,
        bulk=body.bulk,
    )


def _label(
    site: Site, queue: str, sample: QuestionRef, label: str | list[str] | None
) -> str | None:
    """Return an answer as text; the question is looked up only where its text is needed."""
    marks = label is not None and site.kind(sample.task).form().marks_text
    question = site.question(queue, sample.task, sample.id) if marks else None
    return site.answer_text(sample.task, label, question)


def _event(
    sample: QuestionRef, queue: str, person: Person, label: str | None, reason: str | None
) -> Answer:
    return Answer(
        campaign=queue,
        task=sample.task,
        domain=sample.domain,
        sample_id=sample.id,
        annotator=person.name,
        label=label,
        round=sample.round,
        reason=reason,
    )
