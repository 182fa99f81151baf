"""Who is in the ensembles: the weight of each specialist, and those that were left out."""

from umc_ray.campaign.documents import Rescored
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import RESCORED, RunState, round_folder
from umc_ray.console import counted
from umc_ray.specialists.combination import SpecialistReport
from umc_ray.specialists.ensemble import decision_key

SHOWN_DIFFERENCE = 0.05
"""Domains in which an ensemble is nearly as sure as overall are not named."""

DOMAINS_SHOWN = 12


def ensemble_lines(run: Run | RunState) -> list[str]:
    """Describe the newest ensembles: their specialists, if several, and how sure they are where."""
    training = run.training(run.finished_rounds + 1)
    if training is None:
        return []
    rescored = _rescored(run)
    lines = []
    for task, reports in training.specialists.items():
        waiting = [
            f"{name} left out: it did not pay with {labels} labels"
            for name, labels in training.ensembles[task].rejected
            if name not in reports
        ]
        if len(reports) + len(waiting) > 1:
            said = "; ".join([_members(reports), *waiting])
            lines.append(f"{task}: {said}{rescored.get(task, '')}")
        if by_domain := _sureness(run, training.ensembles[task].folder):
            lines.append(f"{task}: {by_domain}")
    return lines


def _sureness(run: Run | RunState, folder: str) -> str:
    """Say in which domains an ensemble is to be surer than over all, and where less sure."""
    factors = run.storage.read_json(decision_key(folder)).get("domains", {})
    told = [item for item in factors.items() if abs(item[1] - 1) >= SHOWN_DIFFERENCE]
    most = sorted(told, key=lambda item: -abs(item[1] - 1))[:DOMAINS_SHOWN]
    ordered = sorted(most, key=lambda item: -item[1])
    said = ", ".join(f"{factor:.2f} in {domain}" for domain, factor in ordered)
    more = f" and so on in {len(told) - len(most)} more" if len(told) > len(most) else ""
    return f"as sure as overall times {said}{more}" if said else ""


def _rescored(run: Run | RunState) -> dict[str, str]:
    """Say by task how much of its pool fine-tuned specialists scored, where heads score first."""
    key = f"{round_folder(run.newest(run.finished_rounds + 1))}/{RESCORED}"
    if not run.storage.exists(key):
        return {}
    tasks = run.storage.read_record(key, Rescored).tasks
    return {
        task: f"; fine-tuned specialists re-scored {each.samples:,} of {each.pool:,} samples, "
        "heads scored the others"
        for task, each in tasks.items()
    }


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
    return f" (fine-tuned, {counted(report.epochs, 'epoch')})" if report.epochs else ""
