"""The gaps of a campaign as the report shows them: what is missing, how much, and examples."""

from collections.abc import Sequence
from dataclasses import dataclass

from umc_ray.campaign.gaps import gaps_after
from umc_ray.campaign.history import History
from umc_ray.campaign.run import Run
from umc_ray.console import counted, first_of
from umc_ray.diversity.gaps import DomainGaps, FoundGap, read_members
from umc_ray.records import DomainKey
from umc_ray.report.gallery import short_text, thumbnail

EXAMPLES = 6
"""Samples of a gap that the report shows."""


@dataclass(frozen=True)
class Example:
    """A typical sample of a gap; `text` is untrusted, `image` is a data URI."""

    text: str | None
    image: str | None


@dataclass(frozen=True)
class GapRow:
    """A gap after the last round, with examples; `since` is the round in which it was found."""

    domain: str
    gap: FoundGap
    since: int
    description: str
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class GapSection:
    """The gaps of all domains, and what was passed over because models are right there."""

    open: list[GapRow]
    passed_over: int
    closed: int  # gaps of earlier rounds that are none any more
    domains: dict[str, DomainGaps]
    rare: dict[str, list[str]]  # classes with few labels, by domain
    share: float  # of a round's labels that may be spent on what is lacking


def gap_section(history: History) -> GapSection | None:
    """Return what the report says of gaps; None if nobody looked for any."""
    run, rounds = history.run, range(1, history.rounds + 1)
    by_round = [gaps_after(run, number).domains for number in rounds]
    last = by_round[-1]
    if not last:
        return None
    opened: dict[tuple[str, str], int] = {}
    for number, domains in zip(rounds, by_round, strict=True):
        for name, found in domains.items():
            for gap in found.open:
                opened.setdefault((name, gap.id), number)
    rows = [
        GapRow(name, gap, opened[name, gap.id], describe(gap), examples_of(history, name, gap))
        for name, found in last.items()
        for gap in found.open
    ]
    passed_over = sum(len(each.gaps) - len(each.open) for each in last.values())
    return GapSection(
        open=rows,
        passed_over=passed_over,
        closed=len(opened) - len(rows),
        domains=last,
        rare={name: list(found.rare) for name, found in last.items() if found.rare},
        share=run.config.refine.share,
    )


def describe(gap: FoundGap) -> str:
    """Say in words what lies in a gap."""
    shares = sorted(gap.predicted.items(), key=lambda pair: -pair[1])
    labels = ", ".join(f"{label} ({share:.0%})" for label, share in shares)
    words = f"; words: {', '.join(gap.words)}" if gap.words else ""
    return f"predicted as {labels}{words}"


def examples_of(history: History, name: str, gap: FoundGap) -> tuple[Example, ...]:
    """Return typical samples of a domain's gap."""
    domain_key = DomainKey.named(name)
    column = history.run.config.tasks[domain_key.task].payload
    run = history.run
    members = read_members(run.storage, run.pool(domain_key), column, gap, EXAMPLES)
    return tuple(_example(each) for each in members)


def _example(payload: str | bytes) -> Example:
    if isinstance(payload, bytes):
        return Example(None, thumbnail(payload))
    return Example(short_text(payload), None)


def gap_lines(run: Run) -> list[str]:
    """Say for `umc status` how many gaps are open, and which labels are rare, by domain."""
    domains = gaps_after(run, run.finished_rounds).domains
    gaps = [f"{name}: {_counted(found.open)}" for name, found in domains.items() if found.open]
    rare = [
        f"{name}: few samples with label {first_of(list(found.rare))}"
        for name, found in domains.items()
        if found.rare
    ]
    return [*gaps, *rare]


def _counted(gaps: Sequence[FoundGap]) -> str:
    share = sum(gap.share for gap in gaps)
    return f"{counted(len(gaps), 'gap')} with few labels, {share:.0%} of the pool"
