"""What a campaign has tried for what its domains lacked: search in the pool, synthetic samples."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from umc_ray.campaign.gaps import class_name, gaps_after, made_for, pattern_name
from umc_ray.campaign.history import History
from umc_ray.diversity.gaps import DomainGaps, FoundGap
from umc_ray.diversity.validation import VALIDATED, Acceptance, Standing
from umc_ray.records import DomainKey, Split
from umc_ray.report.gaps import Example, describe, example_of, examples_of
from umc_ray.selection.batch import picked_for
from umc_ray.selection.gather import gather

USED: tuple[Standing, ...] = ("accepted", "fixed", "admitted")
"""What models learn from."""

CLOSED_SHOWN = 6
"""Gaps that are closed of which the report shows examples, at most."""

LACKS_SHOWN = 200
"""Of all that was lacking, the report shows so much at most."""

SHOWN = 18
"""Synthetic samples of a generator that the report shows, at most."""


@dataclass(frozen=True)
class Seen:
    """Something that a domain lacked after a round: a gap, or a label with few samples."""

    name: str
    what: str
    missing: float  # labels that it lacked
    gap: FoundGap | None = None
    of: Split = "pool"  # that its samples are of


@dataclass(frozen=True)
class Attempt:
    """What a generator made for something that was lacking, in all rounds."""

    generator: str
    made: int
    validated: int
    used: int

    @classmethod
    def of(cls, generator: str, groups: Iterable[Acceptance]) -> "Attempt":
        """Sum up over labels and gaps."""
        own = [each for each in groups if each.generator == generator]
        return cls(
            generator=generator,
            made=sum(each.made for each in own),
            validated=sum(each.validated for each in own),
            used=sum(each.count(standing) for each in own for standing in USED),
        )


@dataclass(frozen=True)
class Lack:
    """What a domain lacked, from when to when, and what was tried.

    `closed` is the round after which it was lacking no more; `searched` are labels of the pool that
    were spent on it.
    """

    domain: str
    seen: Seen
    since: int
    closed: int | None
    searched: int
    attempts: tuple[Attempt, ...]

    @property
    def is_tried(self) -> bool:
        """Whether labels were spent on it, or samples made."""
        return self.searched > 0 or bool(self.attempts)


def lacks(history: History) -> list[Lack]:
    """Return all that was ever lacking, in the order in which it was found."""
    first: dict[tuple[str, str], tuple[int, Seen]] = {}
    last: dict[tuple[str, str], int] = {}
    for number in range(history.rounds + 1):
        for domain, found in gaps_after(history.run, number).domains.items():
            for seen in _seen(found):
                first.setdefault((domain, seen.name), (number, seen))
                last[domain, seen.name] = number
    searched, made = _searched(history), _made_for(history)
    return [
        Lack(
            domain=domain,
            seen=seen,
            since=since,
            closed=None if last[domain, name] == history.rounds else last[domain, name] + 1,
            searched=searched[domain, name],
            attempts=_attempts(made.get((domain, name), [])),
        )
        for (domain, name), (since, seen) in first.items()
    ]


def shown_lacks(found: Sequence[Lack]) -> list[Lack]:
    """Return as many as a page can show, in the same order.

    Gaps first, then what something was tried for, then where most is missing: with many labels and
    domains there can be a hundred thousand.
    """
    order = sorted(
        range(len(found)),
        key=lambda i: (found[i].seen.gap is None, not found[i].is_tried, -found[i].seen.missing),
    )
    return [found[i] for i in sorted(order[:LACKS_SHOWN])]


def closed_gaps(history: History, found: Sequence[Lack]) -> list[tuple[Lack, tuple[Example, ...]]]:
    """Return the first gaps that were closed, with typical samples of each."""
    closed = [(each, each.seen.gap) for each in found if each.closed is not None]
    gaps = [(lack, gap) for lack, gap in closed if gap is not None][:CLOSED_SHOWN]
    return [(lack, examples_of(history, lack.domain, gap, lack.seen.of)) for lack, gap in gaps]


def _seen(found: DomainGaps) -> list[Seen]:
    gaps = [
        Seen(pattern_name(each.id), describe(each), each.missing, each, found.of)
        for each in found.open
    ]
    rare = [
        Seen(class_name(label), "a label with few samples", n) for label, n in found.rare.items()
    ]
    return [*gaps, *rare]


def _searched(history: History) -> Counter[tuple[str, str | None]]:
    """Count the labels of the pool by domain and what they were picked for."""
    columns = (history.batches[name].to_pylist() for name in ("task", "domain", "why"))
    return Counter(
        (f"{task}/{domain}", picked_for(why)) for task, domain, why in zip(*columns, strict=True)
    )


def _made_for(history: History) -> dict[tuple[str, str], list[Acceptance]]:
    """Return what was made by domain and what for; of files, for the label that they have."""
    found: dict[tuple[str, str], list[Acceptance]] = {}
    for each in history.acceptance:
        name = made_for(each.gap, each.label)
        found.setdefault((f"{each.task}/{each.domain}", name), []).append(each)
    return found


def _attempts(own: Sequence[Acceptance]) -> tuple[Attempt, ...]:
    return tuple(Attempt.of(each, own) for each in sorted({each.generator for each in own}))


@dataclass(frozen=True)
class MadeSample:
    """A synthetic sample that people validated; `text` is untrusted, `image` is a data URI."""

    made_for: str
    label: str | None
    standing: str
    text: str | None
    image: str | None


@dataclass(frozen=True)
class MadeGallery:
    """Validated samples of a generator."""

    domain: str
    generator: str
    samples: tuple[MadeSample, ...]


def made_galleries(history: History) -> list[MadeGallery]:
    """Return examples of what people accepted, fixed and rejected, by generator."""
    rows = [row for row in history.standings.to_pylist() if row["standing"] in VALIDATED]
    by_generator: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        group = (row["task"], row["domain"], row["generator"])
        by_generator.setdefault(group, []).append(row)
    return [
        MadeGallery(f"{task}/{domain}", generator, _made_samples(history, task, domain, own))
        for (task, domain, generator), own in sorted(by_generator.items())
    ]


def _made_samples(
    history: History, task: str, domain: str, rows: Sequence[dict[str, Any]]
) -> tuple[MadeSample, ...]:
    """Return some samples; those that were not accepted first, as there are fewer of them."""
    rows = sorted(rows, key=lambda row: VALIDATED.index(row["standing"]), reverse=True)[:SHOWN]
    run, column = history.run, history.run.config.tasks[task].payload
    parts = [part for part in run.synthetic if part.domain_key == DomainKey(task, domain)]
    places = pa.table({name: [row[name] for row in rows] for name in ("part", "row")})
    payloads = gather(run.storage, parts, "pool", places, [column])[column].to_pylist()
    return tuple(
        MadeSample(row["made_for"], row["label"], row["standing"], example.text, example.image)
        for row, example in zip(rows, map(example_of, payloads), strict=True)
    )
