"""State that all routes share: the campaign, its store, accounts and samples."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Query, Request

from umc_ray.annotation.assignments import set_skills, skills
from umc_ray.annotation.leases import LeaseManager
from umc_ray.annotation.recorder import Recorder
from umc_ray.annotation.review import Case
from umc_ray.annotation.schema import REVIEWER
from umc_ray.annotation.store import Question
from umc_ray.campaign.run import Run
from umc_ray.config.section import NAME
from umc_ray.errors import ConfigError, DataError, StoreError
from umc_ray.records import DomainKey
from umc_ray.tasks.task import TaskKind
from umc_ray.web.accounts import Accounts, Person
from umc_ray.web.choices import Choice, with_hints
from umc_ray.web.guidelines import Guidelines, read_guidelines
from umc_ray.web.samples import Sample, Samples
from umc_ray.web.similar import SimilarSamples
from umc_ray.web.view_models import Card, card, review_card


class Site:
    """A campaign that is annotated on the page."""

    def __init__(self, run: Run) -> None:
        """Open a campaign.

        Raises:
            ConfigError: the campaign uses another backend, or its guidelines cannot be read.
        """
        self.run, self.config = run, run.config.annotation
        if not self.config.traits.answered_on_page:
            raise ConfigError(
                f"annotation.backend of {run.config.name} is {self.config.backend}: "
                "set it to web to annotate on the page"
            )
        self.name = run.config.name
        self._guidelines = read_guidelines(self.config.guidelines)
        self.store = run.store
        self.recorder = Recorder(self.store)
        self.accounts = Accounts(self.store)
        self.samples = Samples(run)
        self.similar = SimilarSamples(run)

    @property
    def guidelines(self) -> Guidelines:
        """The guidelines as their file says at the moment or, if it is gone, as it last said."""
        with suppress(ConfigError):
            self._guidelines = read_guidelines(self.config.guidelines)
        return self._guidelines

    def queue(self, batch: str | None) -> str:
        """Return the name of a queue: the campaign's rounds, or a batch submitted to the API."""
        return self.name if batch is None else f"{self.name}/{batch}"

    def leases(self, person: Person, queue: str) -> LeaseManager:
        """Return a person's leases in a queue."""
        lease_s, gold_every = self.config.lease_s, self.config.gold_every
        domains = self.domains_of(person)
        return LeaseManager(self.store, queue, person.name, lease_s, gold_every, domains)

    def domains_of(self, person: Person) -> tuple[DomainKey, ...]:
        """Return the domains that a person is asked about; none: all."""
        return tuple(DomainKey.named(each) for each in self.skills().get(person.name, ()))

    def skills(self) -> dict[str, tuple[str, ...]]:
        """Return the domains of people, by name: as set on the page, else in the campaign file."""
        of_file = {name: tuple(domains) for name, domains in self.config.skills.items()}
        return of_file | skills(self.store, self.name)

    def set_skills(self, name: str, text: str) -> None:
        """Set the domains of a person, written with commas between them; none: all.

        Raises:
            StoreError: a domain is not there.
        """
        domains = [each.strip() for each in text.split(",") if each.strip()]
        known = [str(key) for key in self.run.config.domains()]
        if unknown := [each for each in domains if each not in known]:
            raise StoreError(f"there is no domain {unknown[0]!r:.100}; known: {', '.join(known)}")
        set_skills(self.store, self.name, name, domains)

    def review_leases(self, person: Person, queue: str) -> LeaseManager:
        """Return a reviewer's leases of cases in a queue."""
        return LeaseManager(self.store, queue, f"{REVIEWER}{person.name}", self.config.lease_s)

    def claim(
        self, person: Person, queue: str, count: int, elsewhere: Collection[str] = ()
    ) -> list[Question]:
        """Return the questions that a person holds, and claim more up to `count`.

        Of the last ones, a person gets a fair share, so that all people finish together.

        What the person's other windows show, as task/sample id, is held but not returned.
        """
        leases = self.leases(person, queue)
        count = leases.fair_share(count)
        held = [each for each in leases.held() if page_name(each) not in elsewhere]
        return held if len(held) >= count else held + leases.claim(count - len(held))

    def progress(self, queue: str) -> tuple[int, int]:
        """Return the number of fully answered questions of the current round, and of all."""
        return self.store.progress(queue, self.store.current_round(queue))

    def kind(self, task: str) -> TaskKind:
        """Return a task's kind.

        Raises:
            DataError: there is no such task.
        """
        if task not in self.run.kinds:
            tasks = ", ".join(self.run.kinds)
            raise DataError(f"there is no task {task:.100}; use one of {tasks}")
        return self.run.kinds[task]

    def answer_text(
        self, task: str, label: str | Sequence[str] | None, question: Question | None = None
    ) -> str | None:
        """Return an answer as the task's kind writes it; None is a skip.

        A marked piece of a text must stand in that of its question.

        Raises:
            DataError: it is no answer to this task.
        """
        kind = self.kind(task)
        try:
            return None if label is None else kind.parse(label, self._marked(kind, question))
        except DataError as error:
            raise DataError(f"task {task}: {error!s:.2000}") from error

    def _marked(self, kind: TaskKind, question: Question | None) -> str | None:
        """Return the text of which a question asks to mark a piece; None of other questions."""
        if question is None or not kind.form().marks_text:
            return None
        return self.samples.get([question])[0].text

    def question(self, queue: str, task: str, sample_id: int) -> Question:
        """Return the question about a sample.

        Raises:
            StoreError: there is none.
        """
        question = self.store.question((queue, task, sample_id))
        if question is None:
            raise StoreError(f"{queue} has no question about sample {sample_id} of task {task}")
        return question

    def cards(self, questions: Sequence[Question]) -> list[Card]:
        """Return the view models of questions."""
        samples = self.samples.get(questions)
        return [
            self._card(question, sample)
            for question, sample in zip(questions, samples, strict=True)
        ]

    def _card(self, question: Question, sample: Sample) -> Card:
        form = self.kind(question.task).form()
        is_plain = question.payload.made is None and self.config.suggestion == "hidden"
        hidden = question.hide_prediction or is_plain
        neighbors = [] if hidden else self.similar.neighbors(question)
        samples = self.samples.get([each.question for each in neighbors])
        similar = list(zip(neighbors, samples, strict=True))
        return self.with_hints(card(question, sample, form, self.config.suggestion, similar))

    def review_card(self, case: Case, sample: Sample) -> Card:
        """Return the view model of a reviewer's case."""
        form = self.kind(case.question.task).form()
        return self.with_hints(review_card(case, sample, form))

    def with_hints(self, card: Card) -> Card:
        """Return a card whose labels have the keys and texts that the campaign names."""
        return replace(card, choices=self.choices(card.question.task, card.choices))

    def choices(self, task: str, choices: Sequence[Choice]) -> tuple[Choice, ...]:
        """Return choices of a task with the keys and texts that the campaign names."""
        hints = self.config.labels.get(task, {})
        return with_hints(choices, hints) if hints else tuple(choices)


def page_name(question: Question) -> str:
    """Return what the page calls a question of a queue."""
    return f"{question.task}/{question.sample_id}"


async def current_site(request: Request) -> Site:  # async: a thread per request would be slower
    """Return the application's site."""
    site: Site = request.app.state.site
    return site


async def current_queue(
    request: Request,
    batch: Annotated[
        str | None,
        Query(pattern=NAME, max_length=100, description="name of a batch; default: the rounds"),
    ] = None,
) -> str:
    """Return the name of the queue that a request is about."""
    return (await current_site(request)).queue(batch)


CurrentSite = Annotated[Site, Depends(current_site)]
Queue = Annotated[str, Depends(current_queue)]
