"""The gaps of a campaign as the report shows them: what is missing, how much, and examples."""

from dataclasses import dataclass
from typing import Literal

from umc_ray.campaign.gaps import gaps_after
from umc_ray.campaign.history import History
from umc_ray.campaign.refill import tried_so_far
from umc_ray.campaign.run import Run
from umc_ray.campaign.stop_rules import stop_reason
from umc_ray.console import counted, first_of
from umc_ray.diversity.gaps import DomainGaps, FoundGap, read_members
from umc_ray.methods.refill import Arm
from umc_ray.records import DomainKey, Split
from umc_ray.report.gallery import short_text, thumbnail

LINES_SHOWN = 20
"""Of each thing that umc status says by domain."""

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
    share: float | Literal["auto"]  # of a round's labels that may be spent on what is lacking
    tried: list[tuple[str, Arm]]  # by domain


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
        GapRow(
            domain=name,
            gap=gap,
            since=opened[name, gap.id],
            description=describe(gap),
            examples=examples_of(history, name, gap, found.of),
        )
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
        tried=tried_so_far(run, history.rounds + 1),
    )


def describe(gap: FoundGap) -> str:
    """Say in words what lies in a gap."""
    shares = sorted(gap.predicted.items(), key=lambda pair: -pair[1])
    labels = ", ".join(f"{label} ({share:.0%})" for label, share in shares)
    words = f"; words: {', '.join(gap.words)}" if gap.words else ""
    group = f"{gap.group}; " if gap.group else ""
    return f"{group}predicted as {labels}{words}"


def examples_of(history: History, name: str, gap: FoundGap, of: Split) -> tuple[Example, ...]:
    """Return typical samples of a gap of a split of a domain."""
    domain_key = DomainKey.named(name)
    column = history.run.config.tasks[domain_key.task].payload
    run = history.run
    parts = run.of_split(domain_key, of)
    members = read_members(run.storage, parts, column, gap, EXAMPLES)
    return tuple(example_of(each) for each in members)


def example_of(payload: str | bytes) -> Example:
    """Return a sample as the report shows it."""
    if isinstance(payload, bytes):
        return Example(None, thumbnail(payload))
    return Example(short_text(payload), None)


def gap_lines(run: Run) -> list[str]:
    """Say for `umc status` how many gaps are open, and which labels are rare, by domain."""
    domains = gaps_after(run, run.finished_rounds).domains
    gaps = [f"{name}: {_counted(found)}" for name, found in domains.items() if found.open]
    tried = tried_so_far(run, run.finished_rounds + 1)
    plans = bool(tried) and run.config.refine.share == "auto"
    goes_on = plans and stop_reason(run, run.finished_rounds) is None
    rare = [
        f"{name}: few samples with label {first_of(list(found.rare))}"
        for name, found in domains.items()
        if found.rare
    ]
    gave = [f"{domain}: {what_it_gave(arm, goes_on)}" for domain, arm in tried]
    return [*_first_lines(gaps), *_first_lines(rare), *_first_lines(gave)]


def _first_lines(lines: list[str]) -> list[str]:
    more = len(lines) - LINES_SHOWN
    rest = [f"and so on in {counted(more, 'more domain')}: umc report"] if more > 0 else []
    return [*lines[:LINES_SHOWN], *rest]


def what_it_gave(arm: Arm, goes_on: bool) -> str:
    """Say what was tried about something that is lacking, what that gave, and what became of it.

    `goes_on`: whether there is another round.
    """
    said = f"{arm.action} for {arm.lack}: {arm.state}"
    if arm.rounds:
        gain, error = (100 * each for each in (arm.gain, 2 * arm.error))
        said += (
            f" after {counted(arm.rounds, 'round')}: per 100 of cost it lowers the held-out "
            f"log-loss by {gain:+.2f} ({gain - error:+.2f} to {gain + error:+.2f}) more than other "
            "labels"
        )
    plans = goes_on and arm.share
    return f"{said}; planned share of the next round: {arm.share:.0%}" if plans else said


def _counted(found: DomainGaps) -> str:
    share = sum(gap.share for gap in found.open)
    return f"{counted(len(found.open), 'gap')} with few labels, {share:.0%} of the {found.of}"
