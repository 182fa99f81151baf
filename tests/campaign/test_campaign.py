import copy

import pytest

from tests.tiny import campaign, write_campaign, write_encoder
from umc_ray.annotation.store import Question
from umc_ray.campaign.campaign import finished_rounds, freeze, stop_reason
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.errors import ConfigError


@pytest.fixture
def values(tmp_path):
    return campaign(tmp_path)


@pytest.fixture
def begin(tmp_path, values):
    """Open the tiny campaign with some sections changed."""

    def begin(**changes):
        return Run(load_campaign(write_campaign(tmp_path, {**values, **changes})))

    return begin


def after(run, accuracies, labels_per_round=30):
    """Store what rounds of these audit accuracies leave behind."""
    for number, accuracy in enumerate(accuracies, start=1):
        labels = number * labels_per_round
        metrics = {"audit_accuracy": accuracy, "labels": labels}
        run.storage.write_json(f"rounds/{number:04d}/metrics.json", metrics)
        run.storage.write_json(f"rounds/{number:04d}/bandit.json", {})
        ask(run, number, labels_per_round)
    return len(accuracies)


def ask(run, number, n):
    ids = range(number * 1000, number * 1000 + n)
    run.store.submit([Question("tiny", number, "mood", "posts", i) for i in ids])


def test_a_campaign_without_stop_rules_ends_with_its_budget(begin):
    run = begin()
    assert stop_reason(run, 0) is None
    assert stop_reason(run, after(run, [0.5, 1.0])) is None
    assert stop_reason(run, after(run, [0.5, 1.0, 1.0])) == "the budget of 90 labels is spent"


def test_a_round_that_was_asked_but_not_finished_is_not_spent_yet(begin):
    run = begin()
    rounds = after(run, [0.5, 0.6])
    ask(run, 3, 30)
    assert stop_reason(run, rounds) is None


@pytest.mark.parametrize(
    ("rules", "curve", "reason"),
    [
        ({"labels": 60}, [0.5], None),
        ({"labels": 60}, [0.5, 0.5], "60 labels are there"),
        ({"accuracy": 0.9}, [0.89], None),
        ({"accuracy": 0.9}, [0.5, 0.9], "audit accuracy reached 0.9"),
        ({"accuracy": 0.9}, [None], None),  # no audit has been labeled
        ({"plateau": 1}, [0.5, 0.6], None),
        ({"plateau": 1}, [0.6, 0.6], "no better audit accuracy in 1 rounds"),
        ({"plateau": 2}, [0.6, 0.5], None),
        ({"accuracy": 0.9, "labels": 60}, [0.95], "audit accuracy reached 0.9"),
        ({"accuracy": 0.9, "labels": 60, "when": "all"}, [0.95], None),
        (
            {"accuracy": 0.9, "labels": 60, "when": "all"},
            [0.8, 0.95],
            "60 labels are there; audit accuracy reached 0.9",
        ),
    ],
)
def test_stop_rules(begin, rules, curve, reason):
    run = begin(stop=rules)
    assert stop_reason(run, after(run, curve)) == reason


def test_rounds_are_finished_in_sequence(begin):
    run = begin()
    assert finished_rounds(run.storage) == 0
    assert finished_rounds(run.storage) == after(run, []) == 0
    after(run, [0.5, 0.6])
    run.storage.write_json("rounds/0004/bandit.json", {})
    assert finished_rounds(run.storage) == 2


def with_domain(values, name, **domain):
    changed = copy.deepcopy(values["tasks"])
    changed["mood"]["domains"][name] = {"source": "posts.csv", "text": "text", **domain}
    return changed


def test_what_decides_only_the_future_may_change(begin, values):
    freeze(begin())
    freeze(
        begin(
            budget={"labels": 300, "per_round": 10},
            stop={"labels": 50},
            allocation={"policy": "uniform"},
            selection={"strategy": "random"},
            annotation={"backend": "sheet"},
        )
    )
    freeze(begin(tasks=with_domain(values, "news", label="label")))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 1}, "seed is 1, but .*/runs/tiny was begun with 0: "),
        ({"training": {"start": "warm"}}, "training.start is 'warm', but .* begun with 'cold': "),
        ({"ingest": {"rows_per_part": 30}}, "ingest.rows_per_part is 30, but .* begun with 20: "),
    ],
)
def test_what_decided_the_past_may_not_change(begin, changes, said):
    freeze(begin())
    with pytest.raises(ConfigError, match=said) as raised:
        freeze(begin(**changes))
    assert "\n" not in str(raised.value)
    freeze(begin())  # nothing of the refused configuration was kept


def test_a_domain_may_be_added_but_neither_changed_nor_taken_away(begin, values):
    freeze(begin())
    freeze(begin(tasks=with_domain(values, "news", label="label")))
    for tasks in (values["tasks"], with_domain(values, "news", label="other")):
        with pytest.raises(ConfigError, match=r"tasks\.mood\.domains\.news is "):
            freeze(begin(tasks=tasks))


def test_other_weights_are_another_encoder(begin, values, tmp_path):
    freeze(begin())
    write_encoder(tmp_path / "other", seed=1)
    changed = copy.deepcopy(values["tasks"])
    changed["mood"]["encoder"]["path"] = "other"
    with pytest.raises(ConfigError, match=r"tasks\.mood\.encoder is '[0-9a-f]{16}', but"):
        freeze(begin(tasks=changed))
    (tmp_path / "encoder").rename(tmp_path / "moved")
    changed["mood"]["encoder"]["path"] = "moved"
    freeze(begin(tasks=changed))
