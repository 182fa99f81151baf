"""How groups of samples fare: for the report, the dataset card and `umc status`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from umc_ray.campaign.documents import DomainFairness, Representation, ThresholdEffect
from umc_ray.campaign.history import History
from umc_ray.campaign.state import RunState
from umc_ray.methods.fairness import Difference
from umc_ray.report.pages import percent
from umc_ray.tasks.group_quality import GroupComparison
from umc_ray.tasks.quality import Estimate

MOST_ROUNDS = 12
"""The newest rounds that a trend shows."""

CLASSES = (
    "Equalized odds: true and false positive rates; demographic parity: how often a class is "
    "predicted. Both are of each class against the rest, and the largest counts."
)

NOT_MEASURED = (
    "Not measured: attributes that are not named above; whether similar samples are treated alike; "
    "whether the recorded labels are themselves biased, which all of these figures take for true."
)

NO_GROUPS = (
    "The campaign names no groups of samples, so it was not measured whether quality differs "
    "between groups."
)


@dataclass(frozen=True)
class GroupRow:
    """A group: its quality, if it was measured, and its shares of the pool and of the labels."""

    by: str
    name: str
    n: int | None
    utility: Estimate | None
    calibration_error: Estimate | None
    pool: float | None
    labels: float | None


@dataclass(frozen=True)
class DifferenceRow:
    """A largest difference between groups."""

    by: str
    name: str
    difference: Difference


@dataclass(frozen=True)
class TrendRow:
    """The differences of a round, by the finest groups."""

    round: int
    equalized_odds: Difference | None
    utility: Difference | None
    representation: Difference | None


@dataclass(frozen=True)
class FairnessSection:
    """A domain's groups in the report."""

    domain: str
    by: str
    measured_on: str
    classes: str
    warnings: list[str]
    notes: list[str]
    groups: list[GroupRow]
    differences: list[DifferenceRow]
    trend: list[TrendRow]


def fairness_sections(history: History, controls: Sequence[History]) -> list[FairnessSection]:
    """Return a section for each domain whose groups the last round has measured."""
    if history.rounds not in history.fairness:
        return []
    found = history.fairness[history.rounds].domains
    return [_section(history, controls, name, domain) for name, domain in found.items()]


def _section(
    history: History, controls: Sequence[History], name: str, domain: DomainFairness
) -> FairnessSection:
    return FairnessSection(
        domain=name,
        by=domain.representation[-1].by,
        measured_on="test data" if domain.test else "audit samples",
        classes=CLASSES,
        warnings=[*_warnings(domain), *_against_controls(name, domain, controls)],
        notes=list(_notes(domain)),
        groups=[row for each in domain.representation for row in _group_rows(domain, each)],
        differences=list(_differences(domain)),
        trend=[
            _trend_row(number, fairness.domains[name])
            for number, fairness in list(history.fairness.items())[-MOST_ROUNDS:]
            if name in fairness.domains
        ],
    )


def _compared(domain: DomainFairness) -> list[GroupComparison]:
    return domain.test or domain.audit


def _group_rows(domain: DomainFairness, shares: Representation) -> Iterator[GroupRow]:
    """Return the groups by one attribute or intersection: those of the pool, then other ones."""
    measured = next((each for each in _compared(domain) if each.by == shares.by), None)
    quality = {each.name: each for each in measured.groups} if measured else {}
    counts = {each.name: each for each in shares.groups}
    labels = sum(each.labeled for each in shares.groups)
    pool = sum(each.pool for each in shares.groups)
    for name in dict.fromkeys([*counts, *quality]):
        known, count = quality.get(name), counts.get(name)
        yield GroupRow(
            by=shares.by,
            name=name,
            n=known.n if known else None,
            utility=known.utility if known else None,
            calibration_error=known.calibration_error if known else None,
            pool=None if count is None else count.pool / pool,
            labels=None if count is None or not labels else count.labeled / labels,
        )


def _differences(domain: DomainFairness) -> Iterator[DifferenceRow]:
    rows: list[tuple[str, str, Difference | None]] = []
    for each in _compared(domain):
        rows.append((each.by, "equalized odds", each.equalized_odds))
        rows.append((each.by, "demographic parity", each.demographic_parity))
        rows.append((each.by, "quality", each.utility_gap))
    rows += [(each.by, "share of labels and of pool", each.gap) for each in domain.representation]
    rows += [(each.by, "disagreement of annotators", each.gap) for each in domain.annotators]
    for by, name, difference in rows:
        if difference is not None:
            yield DifferenceRow(by, name, difference)


def _trend_row(number: int, domain: DomainFairness) -> TrendRow:
    quality = domain.quality
    return TrendRow(
        round=number,
        equalized_odds=quality.equalized_odds if quality else None,
        utility=quality.utility_gap if quality else None,
        representation=domain.representation[-1].gap,
    )


def _warnings(domain: DomainFairness) -> Iterator[str]:
    """Say in words which differences chance does not explain."""
    for row in _differences(domain):
        found = row.difference
        if found.is_beyond_chance:
            yield (
                f"{row.name} by {row.by} differ by {percent(found.value)} between groups "
                f"(95 %: {percent(found.low)} to {percent(found.high)}); by chance, it would be "
                f"{percent(found.floor_mean)}"
            )


def _notes(domain: DomainFairness) -> Iterator[str]:
    """Say what could not be measured, and what thresholds of groups do."""
    compared = _compared(domain)
    if not compared:
        yield "quality by group is not measured yet: there are no audit samples and no test data"
    for each in compared:
        if each.utility_gap is None:
            yield (
                f"by {each.by}, fewer than two groups have enough samples to be compared: "
                f"there are {each.n}; more audit samples or test data are needed"
            )
        elif each.equalized_odds is None:
            yield f"by {each.by}, no class has enough samples in two groups for equalized odds"
        if each.merged or each.left_out:
            yield (
                f"by {each.by}, {each.merged} samples of small groups count together as other, "
                f"{each.left_out} are left out"
            )
    if domain.thresholds is not None:
        yield _about_thresholds(domain.thresholds)


def _about_thresholds(effect: ThresholdEffect) -> str:
    """Say what thresholds of groups bring and cost on test data."""
    odds = "equalized odds cannot be compared"
    if effect.odds is not None and effect.odds_before is not None:
        before, now = effect.odds_before.value, effect.odds.value
        odds = f"equalized odds differ by {percent(now)} with them, {percent(before)} without"
    shifts = ", ".join(f"{name} {shift:+.2f}" for name, shift in effect.shifts.items())
    return (
        f"thresholds of groups on test data: {odds}; {percent(effect.utility.value)} are right "
        f"with them, {percent(effect.utility_before.value)} without. Added to the log-odds: "
        f"{shifts or 'nothing, no group has enough samples'}. Certificates are those of the common "
        "threshold: what a group's threshold decides otherwise goes to people"
    )


def _against_controls(
    name: str, domain: DomainFairness, controls: Sequence[History]
) -> Iterator[str]:
    """Say where the campaign is less fair than a control, beyond the intervals of both."""
    own = _odds(domain)
    for control in controls:
        found = control.fairness.get(control.rounds)
        theirs = _odds(found.domains.get(name)) if found else None
        if own and theirs and own.low > theirs.high:
            yield (
                f"less fair than {control.run.config.name}, whose samples are drawn at random: "
                f"equalized odds differ by {percent(own.value)} between groups, there by "
                f"{percent(theirs.value)}; consider fairness.reweighing and fairness.group_floor"
            )


def _odds(domain: DomainFairness | None) -> Difference | None:
    quality = None if domain is None else domain.quality
    return None if quality is None else quality.equalized_odds


def group_lines(run: RunState) -> list[str]:
    """Return a line on the groups of each domain after the last round, for `umc status`."""
    rounds = run.finished_rounds
    found = run.fairness(rounds).get(rounds)
    domains = {} if found is None else found.domains
    return [f"groups of {name}: {_summary(domain)}" for name, domain in domains.items()]


def _summary(domain: DomainFairness) -> str:
    quality = domain.quality
    if quality is None or quality.equalized_odds is None:
        return "not enough audit samples or test data to compare them yet"
    odds = quality.equalized_odds
    return (
        f"equalized odds differ by {percent(odds.value)} by {quality.by} "
        f"(95 %: {percent(odds.low)} to {percent(odds.high)}; by chance {percent(odds.floor_mean)})"
    )


def ethics_lines(history: History) -> list[str]:
    """Say for the dataset card what was measured of groups, what was not, and what to beware of."""
    found = history.fairness.get(history.rounds)
    if found is None:
        return [NO_GROUPS]
    lines = []
    for name, domain in found.domains.items():
        named = ", ".join(each.by for each in domain.representation)
        where = "test data" if domain.test else "audit samples"
        lines.append(f"{name}: groups by {named}, measured on {where}: {_summary(domain)}.")
        lines += [f"Warning, {name}: {each}." for each in _warnings(domain)]
        lines += [f"{name}: {each}." for each in _notes(domain)]
    rules = history.run.config.fairness
    if rules.reweighing or rules.group_floor:
        lines.append(
            f"Done about it: reweighing with exponent {rules.reweighing:g}, at least "
            f"{percent(rules.group_floor)} of the selected labels for each group."
        )
    return [*lines, NOT_MEASURED]
