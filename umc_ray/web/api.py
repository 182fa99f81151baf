"""The REST API of people at work: what the page does, and what a program can do in its place."""

from asyncio import wrap_future
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from umc_ray.annotation.review import decide
from umc_ray.annotation.store import Answer, Question
from umc_ray.web.accounts import Person
from umc_ray.web.auth import Annotator, Reviewer
from umc_ray.web.messages import (
    AnswersIn,
    QuestionRef,
    DecisionIn,
    Problem,
    Progress,
    QuestionOut,
    RemarkIn,
    Saved,
    UndoIn,
    Undone,
)
from umc_ray.web.site import CurrentSite, Queue, Site

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem} for status in (400, 401, 403, 409, 413, 422)
}
router = APIRouter(prefix="/api", responses=PROBLEMS)


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request, person: Annotator) -> dict[str, Any]:
    """Describe this API."""
    described: dict[str, Any] = request.app.openapi()
    return described


@router.get("/progress")
def progress(site: CurrentSite, queue: Queue, person: Annotator) -> Progress:
    """Say how far people are."""
    done, asked = site.progress(queue)
    return Progress(done=done, asked=asked)


@router.get("/questions")
def questions(
    site: CurrentSite, queue: Queue, person: Annotator, n: Annotated[int, Query(ge=1, le=50)] = 10
) -> list[QuestionOut]:
    """Lease questions to the account; those that it holds already come first."""
    held = site.claim(person, queue, n)
    return [
        QuestionOut(
            sample=question_ref(question),
            text=sample.text,
            image=None if sample.image is None else image_path(question),
            labels=list(site.labels(question.task)),
            why="" if question.hide_prediction else question.why,
        )
        for question, sample in zip(held, site.samples.get(held), strict=True)
    ]


@router.post("/answers")
async def answers(body: AnswersIn, site: CurrentSite, queue: Queue, person: Annotator) -> Saved:
    """Answer questions; when this returns, the answers are on disk."""
    given = [_answer(site, body, each, queue, person) for each in body.samples]
    keys = [f"{client_key(person, body.client_key)}/{i}" for i in range(len(given))]
    await wrap_future(site.recorder.record(given, keys))  # together with those of others
    return Saved(saved=len(given))


@router.post("/undo")
def undo(body: UndoIn, site: CurrentSite, queue: Queue, person: Annotator) -> Undone:
    """Take the last answer back."""
    undone = site.leases(person, queue).undo(client_key(person, body.client_key))
    return Undone(samples=[question_ref(each) for each in undone])


@router.post("/remarks", status_code=204)
def remarks(body: RemarkIn, site: CurrentSite, queue: Queue, person: Annotator) -> None:
    """Flag a sample, or note something about it."""
    remark = _event(body.sample, queue, person, None, body.text)
    site.store.record_as(body.kind, [remark], [client_key(person, body.client_key)])


@router.post("/heartbeat", status_code=204)
def heartbeat(site: CurrentSite, queue: Queue, person: Annotator) -> None:
    """Keep the questions that are on the screen."""
    site.leases(person, queue).heartbeat()


@router.post("/release", status_code=204)
def release(site: CurrentSite, queue: Queue, person: Annotator) -> None:
    """Give the questions on the screen back."""
    site.leases(person, queue).release()


@router.post("/decisions", status_code=204)
def decision(body: DecisionIn, site: CurrentSite, queue: Queue, person: Reviewer) -> None:
    """Decide where people disagree."""
    site.check_label(body.sample.task, body.label)
    decided = _event(body.sample, queue, person, body.label, None)
    decide(site.store, decided, client_key(person, body.client_key))


def question_ref(question: Question) -> QuestionRef:
    """Name a question for a client."""
    return QuestionRef(
        task=question.task,
        domain=question.domain,
        sample_id=str(question.sample_id),
        round=question.round,
    )


def image_path(question: Question) -> str:
    """Return where a sample's image is, from the root of the page."""
    return f"images/{question.task}/{question.sample_id}"


def client_key(person: Person, key: str) -> str:
    """Make a client's key one that no other person's client can take."""
    return f"web/{person.name}/{key}"


def _answer(site: Site, body: AnswersIn, sample: QuestionRef, queue: str, person: Person) -> Answer:
    site.check_label(sample.task, body.label)
    return replace(
        _event(sample, queue, person, body.label, body.reason),
        seconds=body.seconds,
        guideline=body.guideline,
        seen=body.seen,
        bulk=body.bulk,
    )


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
