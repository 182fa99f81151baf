"""Who is in the ensembles: the weight of each specialist, and those that were left out."""

from umc_ray.campaign.run import Run
from umc_ray.campaign.state import RunState
from umc_ray.specialists.combination import SpecialistReport


def ensemble_lines(run: Run | RunState) -> list[str]:
    """Describe the newest ensembles of more than one specialist, a line for each task."""
    training = run.training(run.finished_rounds + 1)
    if training is None:
        return []
    return [
        f"{task}: {_members(reports)}"
        for task, reports in training.specialists.items()
        if len(reports) > 1
    ]


def _members(reports: dict[str, SpecialistReport]) -> str:
    """Name specialists by weight, then those that were left out, with the reason."""
    ranked = sorted(reports.items(), key=lambda item: -item[1].weight)
    members = [
        f"{name} counts {report.weight:.0%}{_epochs(report)}"
        for name, report in ranked
        if not report.dropped
    ]
    left_out = [f"{name} left out: {report.dropped}" for name, report in ranked if report.dropped]
    return "; ".join([", ".join(members), *left_out])


def _epochs(report: SpecialistReport) -> str:
    return f" (fine-tuned, {report.epochs} epochs)" if report.epochs else ""
