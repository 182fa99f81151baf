"""When a campaign ends."""

from collections.abc import Sequence

from umc_ray.campaign.criteria import Criteria, criteria_after
from umc_ray.campaign.documents import RoundMetrics
from umc_ray.campaign.run import Run
from umc_ray.config.stop import StopConfig


def stop_reason(run: Run, rounds: int) -> str | None:
    """Return why a campaign is over after some rounds, or None if it goes on."""
    if rounds == 0:
        return None
    spent = sum(each.round <= rounds for each in run.store.questions(run.config.name))
    if spent >= run.config.budget.labels:
        return f"the budget of {run.config.budget.labels} labels is spent"
    metrics = run.round_metrics(rounds)
    return rules_hold(run.config.stop, metrics, criteria_after(run, rounds, metrics[-1]))


def rules_hold(rules: StopConfig, metrics: Sequence[RoundMetrics], reached: Criteria) -> str | None:
    """Return which stop rules hold after rounds with these metrics, if they end the campaign."""
    curve = [each.audit_utility or 0.0 for each in metrics]
    holds: dict[str, bool] = {}
    if rules.labels is not None:
        holds[f"{rules.labels} labels are there"] = metrics[-1].labels >= rules.labels
    if rules.cost is not None:
        holds[f"people's answers have cost {rules.cost:g}"] = metrics[-1].cost >= rules.cost
    if rules.accuracy is not None:
        holds[f"audit accuracy reached {rules.accuracy}"] = curve[-1] >= rules.accuracy
    if rules.plateau is not None:
        stale = len(metrics) - 1 - curve.index(max(curve))
        holds[f"no better audit accuracy in {rules.plateau} rounds"] = stale >= rules.plateau
    holds |= _criteria_hold(rules, reached)
    if not holds or not (any if rules.when == "any" else all)(holds.values()):
        return None
    return "; ".join(reason for reason, held in holds.items() if held)


def _criteria_hold(rules: StopConfig, reached: Criteria) -> dict[str, bool]:
    """Return which criteria hold; one that nothing measures does not."""
    holds: dict[str, bool] = {}
    if rules.coverage is not None:
        covers = reached.coverage is not None and reached.coverage >= rules.coverage
        holds[f"the labeled samples cover {rules.coverage:.0%} of each pool or target set"] = covers
    if rules.worst_recall is not None:
        recalls = reached.worst_recall is not None and reached.worst_recall >= rules.worst_recall
        holds[f"the recall of each class reached {rules.worst_recall}"] = recalls
    if rules.equalized_odds is not None:
        odds = reached.equalized_odds
        is_fair = odds is not None and odds <= rules.equalized_odds
        holds[f"groups differ by at most {rules.equalized_odds} in equalized odds"] = is_fair
    return holds
