"""Who answers questions, and how."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from umc_ray.config.backends import BACKENDS, BackendTraits
from umc_ray.config.label_hint import LabelHint
from umc_ray.config.section import Location, Section


class AnnotationConfig(Section):
    """Who answers, and how."""

    backend: str = Field(
        "sheet",
        description="sheet: a CSV file per round to fill in; web: `umc annotate`; "
        "label_studio: `umc labelstudio`; replay: known labels",
    )
    votes: int = Field(1, gt=0, description="answers per sample")
    max_votes: int | None = Field(
        None,
        gt=1,
        description="ask for more answers, up to this many, where `votes` leave a label open",
    )
    suggestion: Literal["show", "after_first_choice", "hidden"] = Field(
        "show", description="when the page shows what the models predict; never on audit samples"
    )
    labels: dict[str, dict[str, LabelHint]] = Field(
        {},
        description="by task and label: its key, what it means, and its group, such as "
        "{topics: {sport: {key: p, help: matches and athletes, group: leisure}}} (web)",
    )
    hidden_share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="random share of the other samples that people answer without predictions, as "
        "they do audit samples: neither can be told from the other, and the people page shows what "
        "predictions do to answers",
    )
    skills: dict[str, list[str]] = Field(
        {},
        description="by person: the domains they are asked about, such as {ada: [topics/news]}; "
        "all others are asked about everything. The people page can change it (web)",
    )
    guidelines: Location | None = Field(None, description="Markdown file that the page shows (web)")
    overlap: bool = Field(
        False,
        description="choose the next round while people answer this one: nobody waits, but the "
        "models that choose know one round less (benchmarks/overlap.py measures the cost)",
    )
    review: bool = Field(
        False, description="a round waits until reviewers have decided where people disagree (web)"
    )
    spot_check: float = Field(
        0.0, ge=0, le=1, description="random share of the questions that come up for review (web)"
    )
    lease_s: float = Field(
        300.0, gt=0, description="how long a sample is reserved for the person who opened it (web)"
    )
    verify: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the labels that sources or imports came with that people check, "
        "without seeing them; at most half of a round",
    )
    gold_every: int | None = Field(
        None, gt=1, description="one question in this many is gold, in batches that have gold (web)"
    )
    trusted_proxies: list[str] = Field(
        [],
        description="addresses or networks of proxies in front of the page, such as 127.0.0.1: "
        "X-Forwarded-For and X-Forwarded-Proto count from them only (web)",
    )
    database: str | None = Field(
        None, description="SQLAlchemy URL of the annotation store; default: labels.db in the run"
    )

    @property
    def traits(self) -> BackendTraits:
        """What the backend can do."""
        return BACKENDS[self.backend]

    @model_validator(mode="after")
    def _has_a_key_for_one_label_each(self) -> Self:
        for task, hints in self.labels.items():
            keys = [hint.key for hint in hints.values() if hint.key]
            if twice := {key for key in keys if keys.count(key) > 1}:
                raise ValueError(f"two labels of {task} have the key {min(twice)}")
        return self

    def label_problems(self, labels: Mapping[str, Sequence[str]]) -> Iterator[str]:
        """Say which of the labels that the page is to show are not there, by those of each task."""
        for task, hints in self.labels.items():
            if task not in labels:
                yield f"annotation.labels: there is no task {task}"
            for label in hints if labels.get(task) else ():
                if label not in labels[task]:
                    yield f"annotation.labels: task {task} has no label {label!r}"

    def skill_problems(self, domains: Sequence[str]) -> Iterator[str]:
        """Say which domains of people are not there."""
        for person, own in self.skills.items():
            for name in own:
                if name not in domains:
                    yield (
                        f"annotation.skills: {person} has {name!r}, which is no domain; "
                        f"known: {', '.join(domains)}"
                    )

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.backend not in BACKENDS:
            raise ValueError(f"unknown backend {self.backend!r}; known: {', '.join(BACKENDS)}")
        if self.max_votes is not None and not 2 <= self.votes <= self.max_votes:
            raise ValueError(f"max_votes {self.max_votes} needs votes from 2, found {self.votes}")
        if self.max_votes is not None and not self.traits.votes_can_grow:
            raise ValueError(
                f"backend {self.backend} has a fixed number of votes: "
                "max_votes needs another backend"
            )
        return self
