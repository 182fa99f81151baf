"""What a control run says about a run: the comparison, in numbers and in words.

Only domains that both runs measured on the same samples are compared; the others are named.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from umc_ray.campaign.history import History
from umc_ray.errors import ConfigError
from umc_ray.ingest.ingest import load_manifest
from umc_ray.records import DomainKey, Split
from umc_ray.report.comparison import Comparison, Kind, compare_all, kind_of
from umc_ray.report.pages import points


@dataclass(frozen=True)
class Verdict:
    """All comparisons, the mean of all domains first, and why others are not among them."""

    control: str
    seeds: tuple[int, int]
    comparisons: tuple[Comparison, ...]
    domain_keys: tuple[str, ...]
    left_out: Mapping[str, str]


def judge(history: History, control: History) -> Verdict:
    """Compare a run with its control.

    Raises:
        ConfigError: nothing in them can be compared.
    """
    reasons = {
        str(domain_key): _why_not(history, control, domain_key)
        for domain_key in history.run.config.domains()
    }
    domain_keys = [name for name, reason in reasons.items() if reason is None]
    left_out = {name: reason for name, reason in reasons.items() if reason is not None}
    comparisons = compare_all(history.metrics, control.metrics, domain_keys) if domain_keys else []
    if not comparisons:
        told = "; ".join(f"{name} {reason}" for name, reason in left_out.items())
        raise ConfigError(
            f"{control.run.storage.root} cannot be the control of {history.run.storage.root}: "
            f"{told or 'their curves do not overlap'}"
        )
    configs = history.run.config, control.run.config
    return Verdict(
        control=configs[1].name,
        seeds=(configs[0].seed, configs[1].seed),
        comparisons=tuple(comparisons),
        domain_keys=tuple(domain_keys),
        left_out=left_out,
    )


def _why_not(history: History, control: History, domain_key: DomainKey) -> str | None:
    """Say why a domain cannot be compared, or None."""
    if domain_key not in control.run.config.domains():
        return "is not in the control"
    if str(domain_key) not in control.metrics[-1]["domains"]:
        return "was added to the control after its last round"
    kinds = {kind_of(each.metrics, str(domain_key)) for each in (history, control)}
    if len(kinds) > 1:
        return "has a held-out test in one of the runs only"
    runs = (history.run, control.run)
    prints = {load_manifest(run.storage, domain_key, _split(*kinds)).fingerprint for run in runs}
    return "has other samples in the control" if len(prints) > 1 else None


def _split(kind: Kind) -> Split:
    return "test" if kind == "test" else "pool"


def say_difference(found: Comparison) -> str:
    """Say in a sentence which run is ahead, and whether it can be told at all."""
    said = points(found.difference.value)
    at = f"at {found.labels:,.0f} labels"
    if found.difference.low <= 0 <= found.difference.high:
        return (
            f"{said} points against the control {at}: "
            "within what the number of measured samples leaves open"
        )
    return (
        f"{said} points {'ahead of' if found.difference.value > 0 else 'behind'} the control {at}"
    )


def say_saving(found: Comparison) -> str:
    """Say in a sentence how many labels were saved, if any were."""
    target, saved = f"{found.target:.1%}", found.saving
    if saved.control_labels is None:
        return "cannot be told: the control has not held any accuracy for two rounds"
    theirs = f"{saved.control_labels:,.0f}"
    if saved.labels is None or saved.share is None:
        return f"none: the control held {target} after {theirs} labels, this campaign never did"
    ours = f"{saved.labels:,.0f} labels to hold {target}, the control {theirs}"
    if saved.share > 0:
        return f"{saved.share:.0%}: {ours}"
    if saved.share == 0:
        return f"none: {ours}"
    return f"none, {-saved.share:.0%} more were needed: {ours}"
