"""What domains lacked after a round: patterns of their pools with few labels, and rare classes."""

from collections.abc import Mapping

from umc_ray.campaign.run import Run
from umc_ray.campaign.state import GAPS, RunState, round_folder
from umc_ray.diversity.gaps import DomainGaps, Gaps
from umc_ray.passes.gap_candidates import CANDIDATES_OF_GAPS
from umc_ray.records import DomainKey
from umc_ray.selection.gap_share import GapShare


def gaps_after(run: RunState, number: int) -> Gaps:
    """Return the gaps that were found after a round; none if nobody looked."""
    key = f"{round_folder(number)}/{GAPS}"
    return run.storage.read_record(key, Gaps) if run.storage.exists(key) else Gaps({})


def pattern_name(gap_id: str) -> str:
    """Name a pattern, for people."""
    return f"gap {gap_id}"


def class_name(label: str) -> str:
    """Name a rare class, for people."""
    return f"label {label}"


def made_for(gap: str, label: str) -> str:
    """Name what a synthetic sample was made for; files say no more than its label."""
    return gap or class_name(label)


def lack_names(found: DomainGaps) -> dict[str, str]:
    """Name what a domain lacks, by the id of a gap and by the label of a rare class."""
    patterns = {gap.id: pattern_name(gap.id) for gap in found.sought}
    return patterns | {label: class_name(label) for label in found.rare}


def lacking(gaps: Gaps, domain_key: DomainKey) -> dict[str, float]:
    """Return how many labels a domain's patterns and classes lack, by name."""
    found = gaps.domains.get(str(domain_key))
    if found is None:
        return {}
    patterns = {pattern_name(gap.id): gap.missing for gap in found.sought}
    return patterns | {class_name(label): n for label, n in found.rare.items()}


def gap_share(
    run: Run, number: int, domain_key: DomainKey, shares: Mapping[str, float]
) -> GapShare | None:
    """Return what a domain spends on what it lacks after a round; None where that is nothing."""
    if not shares or run.config.selection.strategy == "random":
        return None
    table = f"{round_folder(number)}/{CANDIDATES_OF_GAPS}"
    return GapShare(shares, lacking(gaps_after(run, number), domain_key), table)
