"""The page on which reviewers look through all questions, and open one to decide it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from umc_ray.annotation.assignments import assign, unassign
from umc_ray.annotation.overview import STATES, QuestionFilter, QuestionRecord, question_records
from umc_ray.annotation.review import Case
from umc_ray.errors import StoreError
from umc_ray.web.accounts import Person
from umc_ray.web.auth import Reviewer, form_values
from umc_ray.web.pages import fragment, page, question_of
from umc_ray.web.site import CurrentSite, Queue, Site, page_name
from umc_ray.web.view_models import similar_text

PER_PAGE = 50
Text = Annotated[str, Query(max_length=2000)]
router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class QuestionRow:
    """A question as the table shows it; `text` is None for an image."""

    record: QuestionRecord
    text: str | None

    @property
    def name(self) -> str:
        """What the page calls the question."""
        return page_name(self.record.question)


@router.post("/questions/assign")
async def assign_questions(
    request: Request, site: CurrentSite, queue: Queue, person: Reviewer
) -> Response:
    """Assign the selected questions to a person, or to nobody in particular; return to the page."""
    fields = await form_values(request)
    who, back = (fields.get(name, [""])[-1] for name in ("who", "back"))
    names = fields.get("sample", [])
    try:
        await run_in_threadpool(_assign, site, queue, person, names, who)
    except StoreError as error:
        back = f"{back}&{urlencode({'problem': str(error)})}"
    root = request.scope.get("root_path", "").rstrip("/")
    return RedirectResponse(f"{root}/questions?{back}", 303)


def _assign(site: Site, queue: str, person: Person, names: Sequence[str], who: str) -> None:
    questions = [question_of(site, queue, *name.rpartition("/")[::2]) for name in names]
    keys = [question.key for question in questions]
    if not keys:
        raise StoreError("no question is selected: tick the first column")
    if not who:
        unassign(site.store, keys)
    elif who in _active(site):
        assign(site.store, keys, who, person.name)
    else:
        raise StoreError(f"there is no active account {who!r:.100}")


def _active(site: Site) -> list[str]:
    return [each.name for each in site.accounts.all() if each.active]


@router.get("/questions")
def questions_page(
    request: Request,
    site: CurrentSite,
    queue: Queue,
    person: Reviewer,
    domain: Text = "",
    label: Text = "",
    who: Text = "",
    state: Text = "",
    problem: Text = "",
    round: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    number: Annotated[int, Query(alias="page", ge=1, le=10**6)] = 1,
) -> Response:
    """Show the questions that fit some conditions, newest round first."""
    records = question_records(site.store, queue)
    records = sorted(records, key=lambda record: -record.question.round)
    wanted = QuestionFilter(domain, label, who, state, round)
    found = [record for record in records if wanted.has(record)]
    first = PER_PAGE * (number - 1)
    shown = found[first : first + PER_PAGE]
    samples = site.samples.get([record.question for record in shown])
    questions = [record.question for record in records]
    return page(
        request,
        "questions.html",
        person,
        here="Questions",
        rows=[
            QuestionRow(record, similar_text(sample))
            for record, sample in zip(shown, samples, strict=True)
        ],
        total=len(found),
        wanted=wanted,
        number=number,
        has_more=len(found) > first + PER_PAGE,
        domains=sorted({f"{each.task}/{each.domain}" for each in questions}),
        people=sorted({name for record in records for name in record.people}),
        rounds=sorted({each.round for each in questions} - {0}),
        states=STATES,
        accounts=_active(site),
        problem=problem,
        back=urlencode(
            [each for each in request.query_params.multi_items() if each[0] != "problem"]
        ),
    )


@router.get("/review/items/{task}/{sample_id}")
def review_item(
    request: Request, site: CurrentSite, queue: Queue, person: Reviewer, task: str, sample_id: str
) -> Response:
    """Return one question as HTML, for a reviewer's decision."""
    question = question_of(site, queue, task, sample_id)
    answers, flags, notes = (
        tuple(each for each in said if each.key == question.key)
        for said in (
            site.store.answers(queue, question.round),
            site.store.events("flag", queue, question.round),
            site.store.events("note", queue, question.round),
        )
    )
    (sample,) = site.samples.get([question])
    case = Case(question, answers, agreement=1.0, flags=flags, notes=notes)
    cards = [site.review_card(case, sample)]
    return fragment(request, site, queue, "items.html", cards=cards, kind="review")
