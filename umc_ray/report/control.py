"""The comparison of a run with a control run, in numbers and in words.

Only domains that both runs measured on the same samples are compared; the others are named.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from umc_ray.campaign.history import History
from umc_ray.errors import ConfigError
from umc_ray.ingest.manifest import load_manifest
from umc_ray.records import DomainKey
from umc_ray.report.comparison import Comparison, compare_all, kind_of
from umc_ray.report.pages import points


@dataclass(frozen=True)
class ControlComparison:
    """All comparisons, the mean over domains first, and why some domains are excluded."""

    control: str
    seeds: tuple[int, int]
    comparisons: tuple[Comparison, ...]
    domain_keys: tuple[str, ...]
    excluded: Mapping[str, str]


def compare_with_control(history: History, control: History) -> ControlComparison:
    """Compare a run with its control.

    Raises:
        ConfigError: the runs have no comparable domain.
    """
    reasons = {
        str(domain_key): _not_comparable(history, control, domain_key)
        for domain_key in history.run.config.domains()
    }
    domain_keys = [name for name, reason in reasons.items() if reason is None]
    excluded = {name: reason for name, reason in reasons.items() if reason is not None}
    comparisons = compare_all(history.metrics, control.metrics, domain_keys) if domain_keys else []
    if not comparisons:
        details = "; ".join(f"{name} {reason}" for name, reason in excluded.items())
        raise ConfigError(
            f"{control.run.storage.root} cannot be the control of {history.run.storage.root}: "
            f"{details or 'their learning curves do not overlap'}"
        )
    return ControlComparison(
        control=control.run.config.name,
        seeds=(history.run.config.seed, control.run.config.seed),
        comparisons=tuple(comparisons),
        domain_keys=tuple(domain_keys),
        excluded=excluded,
    )


def _not_comparable(history: History, control: History, domain_key: DomainKey) -> str | None:
    """Return why a domain cannot be compared, or None."""
    if domain_key not in control.run.config.domains():
        return "is not in the control"
    if str(domain_key) not in control.metrics[-1].domains:
        return "was added to the control after its last round"
    kind = kind_of(history.metrics, str(domain_key))
    if kind != kind_of(control.metrics, str(domain_key)):
        return "has a held-out test in only one of the runs"
    fingerprints = {
        load_manifest(run.storage, domain_key, "test" if kind == "test" else "pool").fingerprint
        for run in (history.run, control.run)
    }
    return "has other samples in the control" if len(fingerprints) > 1 else None


def difference_sentence(comparison: Comparison) -> str:
    """Describe which run is ahead, if the difference is significant."""
    difference = comparison.difference
    gap = f"{points(difference.value)} points"
    at = f"at {comparison.labels:,.0f} labels"
    if difference.low <= 0 <= difference.high:
        return f"{gap} against the control {at}, which is not statistically significant"
    return f"{gap} {'ahead of' if difference.value > 0 else 'behind'} the control {at}"


def saving_sentence(comparison: Comparison) -> str:
    """Describe how many labels were saved, if any."""
    target, saving = f"{comparison.target:.1%}", comparison.saving
    if saving.control_labels is None:
        return "unknown: the control did not hold any accuracy for two rounds"
    control = f"{saving.control_labels:,.0f}"
    if saving.labels is None or saving.share is None:
        return f"none: the control held {target} after {control} labels, this campaign never did"
    labels = f"{saving.labels:,.0f} labels to hold {target}, the control {control}"
    if saving.share > 0:
        return f"{saving.share:.0%}: {labels}"
    if saving.share == 0:
        return f"none: {labels}"
    return f"none, {-saving.share:.0%} more were needed: {labels}"
