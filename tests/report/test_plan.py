import math
from dataclasses import replace

import pytest

from tests.finished import build_run
from umc_ray.campaign.history import History
from umc_ray.errors import ConfigError
from umc_ray.methods.intervals import wilson_interval
from umc_ray.report.plan import plan_notes, plan_table, plans
from umc_ray.tasks.quality import Estimate

ROUNDS = 6


@pytest.fixture
def history(tmp_path):
    """Six rounds of 100 labels; each label costs 1.5; test accuracy is 0.95 - 2 / sqrt(labels)."""
    history = History.of(build_run(str(tmp_path), rounds=1))
    (first,) = history.metrics
    metrics = []
    for number in range(1, ROUNDS + 1):
        domains = {
            name: replace(
                each,
                labels=100 * number,
                cost=150.0 * number,
                test=replace(each.test, utility=estimate(300 * number)),
            )
            for name, each in first.domains.items()
        }
        metrics.append(replace(first, labels=300 * number, cost=450.0 * number, domains=domains))
    history.__dict__["metrics"] = metrics
    return history


def estimate(labels):
    value = 0.95 - 2 / labels**0.5
    return Estimate(value, *wilson_interval(round(1000 * value), 1000))


def as_audit(domain):
    return replace(domain, audit=replace(domain.audit, utility=domain.test.utility), test=None)


def cells(history, target):
    table = plan_table(plans(history, target), target)
    return list(zip(*(column.cells for column in table.columns), strict=True))


def test_labels_and_cost_are_told_in_all_and_by_task(history):
    everything, mood, shapes = plans(history, 0.92)
    assert [each.name for each in (everything, mood, shapes)] == ["all tasks", "mood", "shapes"]
    # 0.92 at 4,444 labels of the campaign; of three domains two are mood's
    for plan, so_far, share in ((everything, 1800, 1), (mood, 1200, 2 / 3), (shapes, 600, 1 / 3)):
        assert plan.last.labels == so_far
        assert plan.needed.low < share * 4444 < plan.needed.high
        assert plan.more.middle == plan.needed.middle - so_far
        assert plan.cost == 1.5
    name, kind, labels, now, more, cost = cells(history, 0.92)[0]
    assert (name, kind, labels) == ("all tasks", "test", "1,800")
    assert now == "0.903 (0.89-0.91)"
    assert "(" in more and "to" in more and more != cost


def test_a_target_that_is_reached_takes_nothing(history):
    assert {plan.note for plan in plans(history, 0.9)} == {"reached"}
    assert cells(history, 0.9)[0][4:] == ("", "")


def test_a_target_above_the_limit_is_perhaps_never_reached(history):
    found = plans(history, 0.99)
    assert found[0].needed is None or math.isinf(found[0].needed.high)
    assert plan_notes(found)[0].startswith("all tasks: perhaps never: the curve levels off at 9")


def test_without_a_measured_accuracy_there_is_no_plan(history):
    history.__dict__["metrics"] = [
        replace(
            each, domains={n: replace(d, test=None, audit=None) for n, d in each.domains.items()}
        )
        for each in history.metrics
    ]
    with pytest.raises(ConfigError, match="demo has measured no accuracy: name a test"):
        plans(history, 0.9)


def test_few_rounds_tell_nothing(history):
    history.__dict__["metrics"] = history.metrics[:4]
    assert plan_notes(plans(history, 0.92))[0] == (
        "all tasks: unknown: 4 rounds are measured, it takes 5"
    )


def test_audits_tell_a_lower_bound_only(history):
    history.__dict__["metrics"] = [
        replace(
            each,
            domains={
                name: replace(
                    domain, audit=replace(domain.audit, utility=domain.test.utility), test=None
                )
                for name, domain in each.domains.items()
            },
        )
        for each in history.metrics
    ]
    found = plans(history, 0.94)
    assert all(plan.kind == "audit" for plan in found)
    assert 1800 < found[0].needed.low < math.inf == found[0].needed.high
    assert cells(history, 0.94)[0][4].startswith("at least ")
    assert "audits tell a lower bound at most" in plan_notes(found)[0]
