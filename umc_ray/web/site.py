"""What all routes share: a campaign, its store, and who looks at what."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Query, Request

from umc_ray.annotation.leases import LeaseManager
from umc_ray.annotation.recorder import Recorder
from umc_ray.annotation.store import Question
from umc_ray.campaign.run import Run
from umc_ray.config.section import NAME
from umc_ray.errors import ConfigError, DataError, StoreError
from umc_ray.web.accounts import Accounts, Person
from umc_ray.web.guidelines import read_guidelines
from umc_ray.web.samples import Sample, Samples
from umc_ray.web.similar import SimilarSamples
from umc_ray.web.view_models import Card, card


class Site:
    """A campaign as its annotators see it."""

    def __init__(self, run: Run) -> None:
        """Open a campaign that asks on the page.

        Raises:
            ConfigError: it asks elsewhere, or its guidelines cannot be read.
        """
        self.run, self.config = run, run.config.annotation
        if self.config.backend != "web":
            raise ConfigError(
                f"annotation.backend of {run.config.name} is {self.config.backend}: "
                "only web asks on the page"
            )
        self.name = run.config.name
        self.guidelines = read_guidelines(self.config.guidelines)
        self.store = run.store
        self.recorder = Recorder(self.store)
        self.accounts = Accounts(self.store)
        self.samples = Samples(run)
        self.similar = SimilarSamples(run)

    def queue(self, batch: str | None) -> str:
        """Name what is asked: the campaign's rounds, or a batch that came over the API."""
        return self.name if batch is None else f"{self.name}/{batch}"

    def desk(self, person: Person, queue: str) -> LeaseManager:
        """Return a person's place."""
        return LeaseManager(
            self.store, queue, person.name, self.config.lease_s, self.config.gold_every
        )

    def claim(self, person: Person, queue: str, count: int) -> list[Question]:
        """Return the questions that a person holds, completed to `count` where there are more."""
        desk = self.desk(person, queue)
        held = desk.held()
        return held if len(held) >= count else held + desk.claim(count - len(held))

    def progress(self, queue: str) -> tuple[int, int]:
        """Return how many questions of the round at work have all their answers, and all of it."""
        return self.store.progress(queue, self.store.current_round(queue))

    def labels(self, task: str) -> tuple[str, ...]:
        """Return a task's label set.

        Raises:
            DataError: there is no such task.
        """
        if task not in self.run.classes:
            raise DataError(f"no task {task}; there are {', '.join(self.run.classes)}")
        return self.run.classes[task]

    def check_label(self, task: str, label: str | None) -> None:
        """Refuse a label that a task does not have; None is a skip.

        Raises:
            DataError: names those that it has.
        """
        known = self.labels(task)
        if label is not None and label not in known:
            raise DataError(f"{label!r:.100} is no label of task {task}: {', '.join(known)}")

    def question(self, queue: str, task: str, sample_id: int) -> Question:
        """Return what was asked about a sample.

        Raises:
            StoreError: nothing.
        """
        question = self.store.question((queue, task, sample_id))
        if question is None:
            raise StoreError(f"sample {sample_id} of task {task} was never asked in {queue}")
        return question

    def cards(self, questions: Sequence[Question]) -> list[Card]:
        """Prepare questions for the screen."""
        samples = self.samples.of(questions)
        return [
            self._card(question, sample)
            for question, sample in zip(questions, samples, strict=True)
        ]

    def _card(self, question: Question, sample: Sample) -> Card:
        labels = self.labels(question.task)
        hidden = question.hide_prediction or self.config.suggestion == "hidden"
        near = [] if hidden else self.similar.neighbours(question)
        shown = self.samples.of([each.question for each in near])
        peers = list(zip(near, shown, strict=True))
        return card(question, sample, labels, self.config.suggestion, peers)


async def the_site(request: Request) -> Site:  # not for threads: each costs every request
    """Return what an application serves."""
    site: Site = request.app.state.site
    return site


async def the_queue(
    request: Request,
    batch: Annotated[
        str | None, Query(pattern=NAME, max_length=100, description="default: the rounds")
    ] = None,
) -> str:
    """Return the name of what is asked."""
    return (await the_site(request)).queue(batch)


Here = Annotated[Site, Depends(the_site)]
Queue = Annotated[str, Depends(the_queue)]
