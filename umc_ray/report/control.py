"""The comparison of a run with one or several control runs, in numbers and in words.

Only domains that all runs measured on the same samples are compared; the others are named.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from umc_ray.campaign.history import History
from umc_ray.errors import ConfigError
from umc_ray.ingest.manifest import load_manifest
from umc_ray.records import DomainKey
from umc_ray.report.comparison import Comparison, compare_all, kind_of
from umc_ray.report.pages import points


@dataclass(frozen=True)
class ControlComparison:
    """All comparisons, the mean over domains first, and why some domains are excluded.

    With several runs, seed i of `run_seeds` is paired with seed i of `control_seeds`.
    """

    controls: tuple[str, ...]
    run_seeds: tuple[int, ...]
    control_seeds: tuple[int, ...]
    comparisons: tuple[Comparison, ...]
    domain_keys: tuple[str, ...]
    excluded: Mapping[str, str]

    @property
    def control(self) -> str:
        """What the run is compared with."""
        if len(self.controls) == 1:
            return f"the control “{self.controls[0]}”"
        return f"{len(self.controls)} controls"


def compare_with_controls(
    history: History, controls: Sequence[History], repeats: Sequence[History] = ()
) -> ControlComparison:
    """Compare a run with its controls, seed by seed if the run was repeated with their seeds.

    Raises:
        ConfigError: a control has no comparable domain.
    """
    runs, controls = _pairs([history, *repeats], controls)
    reasons = {
        str(domain_key): _not_comparable(history, [*runs, *controls], domain_key)
        for domain_key in history.run.config.domains()
    }
    domain_keys = [name for name, reason in reasons.items() if reason is None]
    excluded = {name: reason for name, reason in reasons.items() if reason is not None}
    of_runs, of_controls = ([each.metrics for each in group] for group in (runs, controls))
    comparisons = compare_all(of_runs, of_controls, domain_keys) if domain_keys else []
    if not comparisons:
        details = "; ".join(f"{name} {reason}" for name, reason in excluded.items())
        roots = " and ".join(each.run.storage.root for each in controls)
        raise ConfigError(
            f"{roots} cannot be the control of {history.run.storage.root}: "
            f"{details or 'their learning curves do not overlap'}"
        )
    return ControlComparison(
        controls=tuple(each.run.config.name for each in controls),
        run_seeds=tuple(each.run.config.seed for each in runs),
        control_seeds=tuple(each.run.config.seed for each in controls),
        comparisons=tuple(comparisons),
        domain_keys=tuple(domain_keys),
        excluded=excluded,
    )


def _pairs(
    runs: Sequence[History], controls: Sequence[History]
) -> tuple[Sequence[History], Sequence[History]]:
    """Pair runs and controls by their seeds; without two pairs, take the first run alone."""
    by_seed = {each.run.config.seed: each for each in runs}
    paired = [each for each in controls if each.run.config.seed in by_seed]
    if len(paired) < 2 or len({each.run.config.seed for each in paired}) < len(paired):
        return runs[:1], controls
    return [by_seed[each.run.config.seed] for each in paired], paired


def _not_comparable(
    history: History, others: Sequence[History], domain_key: DomainKey
) -> str | None:
    """Return why a domain cannot be compared, or None."""
    reasons = (_differs(history, other, domain_key) for other in others if other is not history)
    return next((reason for reason in reasons if reason), None)


def _differs(history: History, control: History, domain_key: DomainKey) -> str | None:
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
