"""HTML pages, and the fragments that page.js fetches."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import jinja2
from fastapi import APIRouter, Query, Request, Response
from markupsafe import Markup, escape

from umc_ray.annotation.review import review_queue
from umc_ray.annotation.store import Question
from umc_ray.errors import DataError, StoreError
from umc_ray.web.accounts import Person
from umc_ray.web.auth import COOKIE, Annotator, Reviewer, csrf_token
from umc_ray.web.choices import plain_choices
from umc_ray.web.samples import web_image
from umc_ray.web.similar import Group
from umc_ray.web.site import CurrentSite, Queue, Site, page_name
from umc_ray.web.view_models import predicted_alike

PAGES = (
    ("", "Label", "annotator"),
    ("groups", "Groups", "annotator"),
    ("history", "History", "annotator"),
    ("review", "Review", "reviewer"),
    ("questions", "Questions", "reviewer"),
    ("admin", "People", "admin"),
)
MIN_GROUP = 2  # samples
MAX_REVIEWS = 12  # questions per request
ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("umc_ray.web"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
Names = Annotated[str, Query(max_length=100_000)]
"""Names with spaces between them."""

router = APIRouter(include_in_schema=False)


def day(at: float | None) -> str:
    """Return the day of a time in seconds since 1970, a dash for None."""
    return "–" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"


def page(
    request: Request,
    template: str,
    person: Person | None,
    status: int = 200,
    headers: dict[str, str] | None = None,
    **values: Any,  # noqa: ANN401 - values for the template
) -> Response:
    """Render a template; all values are escaped."""
    site: Site = request.app.state.site
    batch = request.query_params.get("batch")
    html = ENVIRONMENT.get_template(template).render(
        name=site.name,
        root=request.scope.get("root_path", "").rstrip("/"),
        batch=batch,
        query="" if batch is None else f"?batch={jinja2.filters.do_urlencode(batch)}",
        person=person,
        csrf=csrf_token(request.cookies.get(COOKIE, "")),
        pages=PAGES,
        **{"here": "", **values},
    )
    return Response(html, status, headers, media_type="text/html")


def exact(text: str | None) -> Markup:
    """Return a text as HTML whose characters all stay: browsers drop carriage returns.

    Marked spans are counted in these characters.
    """
    return Markup(escape(text or "")).replace("\r", Markup("&#13;"))


ENVIRONMENT.filters |= {"date": day, "exact": exact}


@router.get("/")
def label_page(request: Request, site: CurrentSite, queue: Queue, person: Annotator) -> Response:
    """Show the page for labeling."""
    return _workspace(request, site, person, "label", "Label")


@router.get("/groups")
def groups_page(request: Request, site: CurrentSite, queue: Queue, person: Annotator) -> Response:
    """Show the page for labeling groups of similar samples."""
    return _workspace(request, site, person, "group", "Groups")


@router.get("/review")
def review_page(request: Request, site: CurrentSite, queue: Queue, person: Reviewer) -> Response:
    """Show the page for reviewing disputed questions."""
    return _workspace(request, site, person, "review", "Review")


@router.get("/items")
def items(
    request: Request,
    site: CurrentSite,
    queue: Queue,
    person: Annotator,
    n: Annotated[int, Query(ge=1, le=50)] = 12,
    elsewhere: Names = "",
) -> Response:
    """Lease questions and return them as HTML, without those that other windows show."""
    cards = site.cards(site.claim(person, queue, n, set(elsewhere.split())))
    return fragment(request, site, queue, "items.html", cards=cards, kind="label")


@router.get("/items/{task}/{sample_id}")
def item(
    request: Request, site: CurrentSite, queue: Queue, person: Annotator, task: str, sample_id: str
) -> Response:
    """Return one question as HTML."""
    cards = site.cards([question_of(site, queue, task, sample_id)])
    return fragment(request, site, queue, "items.html", cards=cards, kind="label")


@router.get("/groups/next")
def next_group(
    request: Request,
    site: CurrentSite,
    queue: Queue,
    person: Annotator,
    after: Names = "",
    elsewhere: Names = "",
) -> Response:
    """Lease the tightest group that is not in `after` and return it as HTML.

    Samples that the person's other windows show are left out.
    """
    group, questions = _claim_group(site, queue, person, after.split(), set(elsewhere.split()))
    cards = site.cards(questions)
    form = site.kind(group.task).form() if group else None
    mode = "show" if site.config.suggestion == "show" else "hidden"
    choices = site.choices(group.task, plain_choices(form)) if form and group else ()
    outliers = group.outliers if group else ()
    values = {
        "group": group,
        "cards": cards,
        "form": form,
        "choices": choices,
        "mode": mode,
        "alike": predicted_alike(questions, outliers, mode == "show"),
    }
    return fragment(request, site, queue, "group.html", **values)


@router.get("/review/items")
def review_items(
    request: Request, site: CurrentSite, queue: Queue, person: Reviewer, elsewhere: Names = ""
) -> Response:
    """Lease disputed questions and return them as HTML, lowest agreement first.

    Those that other reviewers hold, or the person's other windows show, are left out.
    """
    kinds = site.run.kinds
    found = review_queue(site.store, queue, spot_check=site.config.spot_check, kinds=kinds)
    shown = set(elsewhere.split())
    by_key = {each.question.key: each for each in found if page_name(each.question) not in shown}
    asked = [each.question for each in by_key.values()]
    held = site.review_leases(person, queue).claim_cases(asked, MAX_REVIEWS)
    cases = [by_key[each.key] for each in held]
    samples = site.samples.get([case.question for case in cases])
    cards = [site.review_card(case, sample) for case, sample in zip(cases, samples, strict=True)]
    return fragment(request, site, queue, "items.html", cards=cards, kind="review")


@router.get("/images/{task}/{sample_id}")
def image(
    site: CurrentSite, queue: Queue, person: Annotator, task: str, sample_id: str
) -> Response:
    """Return the image of a sample that has a question."""
    (sample,) = site.samples.get([question_of(site, queue, task, sample_id)])
    if sample.image is None:
        raise StoreError(f"sample {sample_id} of task {task} has no image")
    content, media_type = web_image(sample.image, site.run.config.ingest.max_image_pixels)
    headers = {
        "Cache-Control": "private, max-age=3600",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return Response(content, headers=headers, media_type=media_type)


def _workspace(request: Request, site: Site, person: Person, kind: str, here: str) -> Response:
    guidelines = site.guidelines
    return page(request, "workspace.html", person, kind=kind, here=here, guidelines=guidelines)


def fragment(
    request: Request,
    site: Site,
    queue: str,
    template: str,
    **values: Any,  # noqa: ANN401 - values for the template
) -> Response:
    """Render what page.js fetches, with the progress of the queue in its headers."""
    done, total = site.progress(queue)
    headers = {"X-Done": str(done), "X-Asked": str(total)}
    return page(request, template, None, headers=headers, **values)


def question_of(site: Site, queue: str, task: str, sample_id: str) -> Question:
    """Return the question that a path names.

    Raises:
        DataError: the path names no sample.
        StoreError: there is no such question.
    """
    try:
        number = int(sample_id)
    except ValueError:
        raise DataError(f"the sample id must be a number, not {sample_id!r:.100}") from None
    if not -(2**63) <= number < 2**63 or task not in site.run.kinds:
        raise DataError(f"there is no sample {sample_id:.100} of task {task:.100}")
    return site.question(queue, task, number)


def _claim_group(
    site: Site, queue: str, person: Person, after: Sequence[str], elsewhere: Collection[str]
) -> tuple[Group | None, list[Question]]:
    """Lease the next group of the open round that still has at least two open questions."""
    questions = site.store.open_questions(queue) if queue == site.name else []
    open_keys = {question.key for question in questions if page_name(question) not in elsewhere}
    for group in site.similar.groups(questions[0].round) if questions else []:
        keys = [key for key in group.keys if key in open_keys]
        if group.name not in after and len(keys) >= MIN_GROUP:
            held = {q.key: q for q in site.leases(person, queue).claim_samples(keys)}
            if len(held) >= MIN_GROUP:
                return group, [held[key] for key in keys if key in held]
    return None, []
