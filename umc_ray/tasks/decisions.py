"""What a decision of an ensemble is for samples of which the domain or the group is known."""

from umc_ray.tasks.task import Calibration


def in_domain(decision: Calibration, domain: str | None) -> Calibration:
    """Return what a decision is for the samples of a domain: `domains` says how sure to be there.

    Of a domain that is not known, it is that of the task.
    """
    factors, weights = decision.get("domains", {}), decision.get("weights")
    assert isinstance(factors, dict)
    if domain not in factors:
        return decision
    assert isinstance(weights, list)  # they are fitted together
    return {**decision, "weights": [weight * factors[domain] for weight in weights]}


def in_group(decision: Calibration, domain: str | None, group: str | None) -> Calibration:
    """Return what a decision is for the samples of a group: `groups` shifts its log-odds.

    A group that is not known, or too small for a threshold of its own, has the common one.
    """
    shifts = decision.get("groups", {})
    assert isinstance(shifts, dict)
    name = group_key(domain, group)
    return {**decision, "shift": shifts[name]} if name in shifts else decision


def group_key(domain: str | None, group: str | None) -> str:
    """Name a group of a domain's samples, such as applications/Female × Black, in a decision."""
    return f"{domain}/{group}"
