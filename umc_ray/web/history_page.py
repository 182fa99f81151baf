"""The page on which people find and change their own answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from umc_ray.annotation.history import GivenAnswer, given_by
from umc_ray.web.auth import Annotator
from umc_ray.web.pages import page
from umc_ray.web.samples import Sample
from umc_ray.web.site import CurrentSite, Queue, page_name
from umc_ray.web.view_models import similar_text

MOST = 5000
"""Answers that are searched."""

PER_PAGE = 50
router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class HistoryRow:
    """An answer as the page shows it; `text` is None for an image."""

    given: GivenAnswer
    text: str | None

    @property
    def label(self) -> str:
        """What was answered."""
        label = self.given.answer.label
        return "skipped" if label is None else label

    @property
    def name(self) -> str:
        """What the page calls the question."""
        return page_name(self.given.question)


@router.get("/history")
def history_page(
    request: Request,
    site: CurrentSite,
    queue: Queue,
    person: Annotator,
    find: Annotated[str, Query(max_length=200)] = "",
    number: Annotated[int, Query(alias="page", ge=1, le=MOST)] = 1,
) -> Response:
    """Show a person's own answers, newest first; those of open rounds can be changed."""
    given = given_by(site.store, queue, person.name, MOST)
    first = PER_PAGE * (number - 1)
    if not find.strip():
        given = given[first : first + PER_PAGE + 1]
    samples = site.samples.get([each.question for each in given])
    found = [pair for pair in zip(given, samples, strict=True) if _has(*pair, find)]
    shown = found[first : first + PER_PAGE + 1] if find.strip() else found
    return page(
        request,
        "history.html",
        person,
        here="History",
        rows=_rows(shown[:PER_PAGE]),
        find=find,
        number=number,
        has_more=len(shown) > PER_PAGE,
    )


def _has(given: GivenAnswer, sample: Sample, find: str) -> bool:
    """Return whether an answer or its sample has a text in it."""
    question = given.question
    texts = given.answer.label, given.answer.reason, question.task, question.domain, sample.text
    return any(find.strip().casefold() in (text or "").casefold() for text in texts)


def _rows(pairs: Sequence[tuple[GivenAnswer, Sample]]) -> list[HistoryRow]:
    return [HistoryRow(given, similar_text(sample)) for given, sample in pairs]
