"""The pages and the pieces of them that the desk fetches."""

from collections.abc import Sequence
from typing import Annotated, Any

import jinja2
from fastapi import APIRouter, Query, Request, Response

from umc_ray.annotation.review import review_queue
from umc_ray.annotation.store import Question
from umc_ray.errors import DataError, StoreError
from umc_ray.web.accounts import Person
from umc_ray.web.auth import COOKIE, Annotator, Reviewer, csrf_token
from umc_ray.web.samples import web_image
from umc_ray.web.similar import Group
from umc_ray.web.site import CurrentSite, Queue, Site
from umc_ray.web.view_models import review_card

PAGES = (
    ("", "Label", "annotator"),
    ("groups", "Groups", "annotator"),
    ("review", "Review", "reviewer"),
    ("admin", "People", "admin"),
)
LEAST_GROUP = 2
REVIEWS = 20
ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("umc_ray.web"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
router = APIRouter(include_in_schema=False)


def page(
    request: Request,
    template: str,
    person: Person | None,
    status: int = 200,
    headers: dict[str, str] | None = None,
    **values: Any,  # noqa: ANN401 - whatever the template shows
) -> Response:
    """Fill a template; everything in it is escaped that is not markup of ours."""
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


@router.get("/")
def label_page(request: Request, site: CurrentSite, queue: Queue, person: Annotator) -> Response:
    """Show the desk."""
    return _desk(request, site, person, "label", "Label")


@router.get("/groups")
def groups_page(request: Request, site: CurrentSite, queue: Queue, person: Annotator) -> Response:
    """Show the desk for groups."""
    return _desk(request, site, person, "group", "Groups")


@router.get("/review")
def review_page(request: Request, site: CurrentSite, queue: Queue, person: Reviewer) -> Response:
    """Show the desk for what is disputed."""
    return _desk(request, site, person, "review", "Review")


@router.get("/items")
def items(
    request: Request,
    site: CurrentSite,
    queue: Queue,
    person: Annotator,
    n: Annotated[int, Query(ge=1, le=50)] = 12,
) -> Response:
    """Lease questions, and give them as they are shown."""
    cards = site.cards(site.claim(person, queue, n))
    return _fragment(request, site, queue, "items.html", cards=cards, kind="label")


@router.get("/items/{task}/{sample_id}")
def item(
    request: Request, site: CurrentSite, queue: Queue, person: Annotator, task: str, sample_id: str
) -> Response:
    """Give one question as it is shown."""
    cards = site.cards([_question(site, queue, task, sample_id)])
    return _fragment(request, site, queue, "items.html", cards=cards, kind="label")


@router.get("/groups/next")
def next_group(
    request: Request,
    site: CurrentSite,
    queue: Queue,
    person: Annotator,
    after: Annotated[str, Query(max_length=100_000)] = "",
) -> Response:
    """Lease the tightest group that is not in `after`, and give it as it is shown."""
    group, held = _claim_group(site, queue, person, after.split())
    cards = site.cards(held)
    plain = [
        review_card(card.question, card.sample, site.labels(card.question.task), [])
        for card in cards[:1]
    ]
    mode = "show" if site.config.suggestion == "show" else "hidden"
    values = {"group": group, "cards": cards, "plain": plain, "mode": mode}
    return _fragment(request, site, queue, "group.html", **values)


@router.get("/review/items")
def review_items(request: Request, site: CurrentSite, queue: Queue, person: Reviewer) -> Response:
    """Give what is disputed, the most divided first."""
    cases = review_queue(site.store, queue)[:REVIEWS]
    samples = site.samples.get([case.question for case in cases])
    cards = [
        review_card(case.question, sample, site.labels(case.question.task), case.answers)
        for case, sample in zip(cases, samples, strict=True)
    ]
    return _fragment(request, site, queue, "items.html", cards=cards, kind="review")


@router.get("/images/{task}/{sample_id}")
def image(
    site: CurrentSite, queue: Queue, person: Annotator, task: str, sample_id: str
) -> Response:
    """Give the image of a sample that was asked about."""
    (sample,) = site.samples.get([_question(site, queue, task, sample_id)])
    if sample.image is None:
        raise StoreError(f"sample {sample_id} has no image")
    content, media_type = web_image(sample.image, site.run.config.ingest.max_image_pixels)
    headers = {
        "Cache-Control": "private, max-age=3600",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return Response(content, headers=headers, media_type=media_type)


def _desk(request: Request, site: Site, person: Person, kind: str, here: str) -> Response:
    return page(request, "desk.html", person, kind=kind, here=here, guidelines=site.guidelines)


def _fragment(
    request: Request,
    site: Site,
    queue: str,
    template: str,
    **values: Any,  # noqa: ANN401 - whatever the template shows
) -> Response:
    done, asked = site.progress(queue)
    headers = {"X-Done": str(done), "X-Asked": str(asked)}
    return page(request, template, None, headers=headers, **values)


def _question(site: Site, queue: str, task: str, sample_id: str) -> Question:
    try:
        number = int(sample_id)
    except ValueError:
        raise DataError("a sample's id is a number") from None
    if not -(2**63) <= number < 2**63 or task not in site.run.classes:
        raise DataError("there is no such sample")
    return site.question(queue, task, number)


def _claim_group(
    site: Site, queue: str, person: Person, after: Sequence[str]
) -> tuple[Group | None, list[Question]]:
    """Lease the next group of the round that is open; none where fewer than two are left."""
    waiting = site.store.open_questions(queue) if queue == site.name else []
    keys = {question.key for question in waiting}
    for group in site.similar.groups(waiting[0].round) if waiting else []:
        left = [key for key in group.keys if key in keys]
        if group.name not in after and len(left) >= LEAST_GROUP:
            held = {q.key: q for q in site.leases(person, queue).claim_samples(left)}
            if len(held) >= LEAST_GROUP:
                return group, [held[key] for key in left if key in held]
    return None, []
