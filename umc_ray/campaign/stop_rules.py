"""When a campaign ends."""

from collections.abc import Sequence

from umc_ray.campaign.documents import RoundMetrics
from umc_ray.campaign.run import Run
from umc_ray.config.campaign import StopConfig


def stop_reason(run: Run, rounds: int) -> str | None:
    """Return why a campaign is over after some rounds, or None if it goes on."""
    if rounds == 0:
        return None
    spent = sum(each.round <= rounds for each in run.store.questions(run.config.name))
    if spent >= run.config.budget.labels:
        return f"the budget of {run.config.budget.labels} labels is spent"
    return rules_hold(run.config.stop, run.round_metrics(rounds))


def rules_hold(rules: StopConfig, metrics: Sequence[RoundMetrics]) -> str | None:
    """Return which stop rules hold after rounds with these metrics, if they end the campaign."""
    curve = [each.audit_utility or 0.0 for each in metrics]
    holds: dict[str, bool] = {}
    if rules.labels is not None:
        holds[f"{rules.labels} labels are there"] = metrics[-1].labels >= rules.labels
    if rules.accuracy is not None:
        holds[f"audit accuracy reached {rules.accuracy}"] = curve[-1] >= rules.accuracy
    if rules.plateau is not None:
        stale = len(metrics) - 1 - curve.index(max(curve))
        holds[f"no better audit accuracy in {rules.plateau} rounds"] = stale >= rules.plateau
    if not holds or not (any if rules.when == "any" else all)(holds.values()):
        return None
    return "; ".join(reason for reason, held in holds.items() if held)
