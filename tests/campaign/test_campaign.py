import copy

import pytest

from tests.tiny import campaign, write_campaign, write_encoder
from umc_ray.annotation.store import Question
from umc_ray.campaign.criteria import Criteria
from umc_ray.campaign.documents import BanditUpdate, RoundMetrics
from umc_ray.campaign.freeze import freeze
from umc_ray.campaign.frozen import FORMAT, check_format
from umc_ray.campaign.history import History
from umc_ray.campaign.run import Run
from umc_ray.campaign.stop_rules import rules_hold, stop_reason
from umc_ray.config.loading import load_campaign
from umc_ray.errors import ConfigError, StoreError


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
        metrics = RoundMetrics(
            labels=number * labels_per_round,
            cost=1.5 * number * labels_per_round,
            domains={},
            audit_utility=accuracy,
            test_utility=None,
        )
        run.storage.write_record(f"rounds/{number:04d}/metrics.json", metrics)
        run.storage.write_record(f"rounds/{number:04d}/bandit.json", BanditUpdate([]))
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
        ({"cost": 91}, [0.5, 0.5], None),
        ({"cost": 90}, [0.5, 0.5], "people's answers have cost 90"),
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


@pytest.mark.parametrize(
    ("rules", "reached", "holds"),
    [
        ({"coverage": 0.9}, Criteria(coverage=0.9), True),
        ({"coverage": 0.9}, Criteria(coverage=0.89), False),
        ({"coverage": 0.9}, Criteria(), False),
        ({"worst_recall": 0.7}, Criteria(worst_recall=0.7), True),
        ({"worst_recall": 0.7}, Criteria(coverage=1.0), False),
        ({"equalized_odds": 0.1}, Criteria(equalized_odds=0.1), True),
        ({"equalized_odds": 0.1}, Criteria(equalized_odds=0.2), False),
        ({"equalized_odds": 0.1}, Criteria(), False),
        ({"coverage": 0.5, "worst_recall": 0.7, "when": "all"}, Criteria(0.6, 0.6), False),
        ({"coverage": 0.5, "worst_recall": 0.7, "when": "all"}, Criteria(0.6, 0.8), True),
    ],
)
def test_criteria_hold_by_the_bounds_of_intervals(begin, rules, reached, holds):
    run = begin(stop=rules)
    metrics = run.round_metrics(after(run, [0.5]))
    assert (rules_hold(run.config.stop, metrics, reached) is not None) == holds


def test_rounds_are_finished_in_sequence(begin):
    run = begin()
    assert run.finished_rounds == 0
    assert run.finished_rounds == after(run, []) == 0
    after(run, [0.5, 0.6])
    run.storage.write_json("rounds/0004/bandit.json", {})
    assert run.finished_rounds == 2


def with_domain(values, name, **domain):
    changed = copy.deepcopy(values["tasks"])
    changed["mood"]["domains"][name] = {"source": "posts.csv", "text": "text", **domain}
    return changed


def freeze_ingested(run):
    """Bind a run directory, and bring in the pools."""
    freeze(run)
    for domain_key in run.config.domains():
        run.storage.write_json(f"pool/pool/{domain_key}/manifest.json", {})


def test_what_decides_only_the_future_may_change(begin, values):
    freeze_ingested(begin())
    freeze(
        begin(
            budget={"labels": 300, "per_round": 10},
            stop={"labels": 50},
            allocation={"policy": "uniform"},
            selection={"strategy": "random"},
            annotation={"backend": "sheet"},
            training={"rescore": "candidates", "refit_growth": 3, "workers": 2, "use_gpu": True},
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
    freeze_ingested(begin())
    with pytest.raises(ConfigError, match=said) as raised:
        freeze(begin(**changes))
    assert "\n" not in str(raised.value)
    freeze(begin())  # nothing of the refused configuration was kept


def test_a_campaign_that_keeps_no_column_is_frozen_as_before_there_was_the_option(begin, values):
    run = begin(tasks=with_domain(values, "news", label="label"))
    freeze_ingested(run)
    news = run.storage.read_json("campaign.json")["tasks.mood.domains.news"]
    assert news == {"text": "text", "image": None, "key": None, "label": "label", "ratings": None}
    kept = with_domain(values, "news", label="label", keep=["url"])
    with pytest.raises(ConfigError, match=r"'keep': \['url'\].*, but .* was begun with "):
        freeze(begin(tasks=kept))


def test_a_domain_may_be_added_but_neither_changed_nor_taken_away(begin, values):
    freeze_ingested(begin())
    freeze_ingested(begin(tasks=with_domain(values, "news", label="label")))
    for tasks in (values["tasks"], with_domain(values, "news", label="other")):
        with pytest.raises(ConfigError, match=r"tasks\.mood\.domains\.news is "):
            freeze(begin(tasks=tasks))


@pytest.mark.parametrize(
    "option", [{"encoding": "cp1252"}, {"delimiter": ";"}, {"label_names": ["bad", "good"]}]
)
def test_how_a_table_is_read_may_not_change(begin, values, option):
    freeze_ingested(begin(tasks=with_domain(values, "news", label="label")))
    with pytest.raises(ConfigError, match=r"tasks\.mood\.domains\.news is "):
        freeze(begin(tasks=with_domain(values, "news", label="label", **option)))


def test_other_weights_are_another_encoder(begin, values, tmp_path):
    freeze_ingested(begin())
    write_encoder(tmp_path / "other", seed=1)
    changed = copy.deepcopy(values["tasks"])
    changed["mood"]["encoder"]["path"] = "other"
    with pytest.raises(ConfigError, match=r"mood\.encoders\.static_text is '[0-9a-f]{16}', but"):
        freeze(begin(tasks=changed))
    (tmp_path / "encoder").rename(tmp_path / "moved")
    changed["mood"]["encoder"]["path"] = "moved"
    freeze(begin(tasks=changed))


def with_task(values, **changes):
    """The values with keys of the task changed; None takes a key away."""
    changed = copy.deepcopy(values["tasks"])
    changed["mood"] |= changes
    changed["mood"] = {key: value for key, value in changed["mood"].items() if value is not None}
    return changed


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": ["good", "bad"]}, r"tasks\.mood\.labels is \['good', 'bad'\], but"),
        ({"kind": "multi_label"}, r"tasks\.mood\.kind is 'multi_label', but"),
    ],
)
def test_another_label_space_is_another_task(begin, values, changes, said):
    freeze_ingested(begin())
    with pytest.raises(ConfigError, match=said):
        freeze(begin(tasks=with_task(values, **changes)))


def test_an_encoder_may_be_added_and_none_be_taken_away(begin, values, tmp_path):
    write_encoder(tmp_path / "other", seed=1)
    both = {
        "static_text": values["tasks"]["mood"]["encoder"],
        "second": {"kind": "static_text", "path": "other"},
    }
    freeze_ingested(begin())
    freeze(begin(tasks=with_task(values, encoder=None, encoders=both)))
    with pytest.raises(ConfigError, match=r"tasks\.mood\.encoders\.second is missing, but"):
        freeze(begin())


def test_what_selection_goes_by_may_change(begin, values, tmp_path):
    write_encoder(tmp_path / "other", seed=1)
    small = values["tasks"]["mood"]["encoder"]
    both = {"encoders": {"small": small, "second": {"kind": "static_text", "path": "other"}}}
    freeze_ingested(begin(tasks=with_task(values, encoder=None, **both)))
    second = with_task(values, encoder=None, **both, selection_encoder="second")
    run = begin(tasks=second)
    freeze(run)
    assert run.selection_features["mood"] == run.features["mood"]["second"]
    assert run.features["mood"]["small"] != run.features["mood"]["second"]


def test_what_no_ingested_domain_has_used_may_still_change(begin, values):
    posts = values["tasks"]["mood"]["domains"]["posts"]
    freeze(begin(seed=7))
    freeze(begin(tasks=with_domain(values, "posts", label="wrong")))
    run = begin()
    freeze(run)  # the runs that failed froze nothing
    run.storage.write_json("pool/test/mood/reviews/manifest.json", {})
    run.storage.write_json("pool/pool/mood/posts/manifest.json", {})
    tasks = with_domain(values, "reviews", label="other")
    freeze(begin(tasks=tasks))
    assert not run.storage.exists("pool/test/mood/reviews/manifest.json")  # is read again
    tasks["mood"]["domains"]["posts"] = {**posts, "label": "other"}
    with pytest.raises(ConfigError, match=r"tasks\.mood\.domains\.posts is "):
        freeze(begin(tasks=tasks))


def test_a_run_directory_has_the_format_of_its_files(begin):
    run = begin()
    freeze(run)
    assert run.storage.read_json("campaign.json")["format"] == FORMAT == 3
    check_format(run.storage, run.storage.read_json("campaign.json"))


@pytest.mark.parametrize(
    ("found", "reads"),
    [
        (None, "umc_ray 0.1"),
        (1, "umc_ray 0.1"),
        (2, "the umc_ray that began it"),
        (4, "a newer umc_ray"),
    ],
)
def test_a_run_directory_of_another_format_is_refused_with_what_to_do(begin, found, reads):
    run = begin()
    freeze(run)
    values = run.storage.read_json("campaign.json")
    del values["format"]
    if found is not None:
        values["format"] = found
    run.storage.write_json("campaign.json", values)
    said = (
        rf"runs/tiny has files of format {found or 1}, this version reads 3\. Finish or release it "
        rf"with {reads}, or give the campaign another name: labels of a release can be used"
    )
    with pytest.raises(StoreError, match=said):
        freeze(run)
    assert run.storage.read_json("campaign.json") == values
    after(run, [0.5])
    with pytest.raises(StoreError, match=said):
        History.of(run)


def test_a_run_directory_of_version_0_1_is_refused_before_its_keys_are_compared(begin):
    run = begin()
    run.storage.write_json("campaign.json", {"seed": 5, "tasks.mood.encoder": "0" * 16})
    with pytest.raises(StoreError, match="files of format 1"):
        freeze(run)


def test_a_run_without_a_finished_round_has_no_history(begin):
    run = begin()
    freeze(run)
    with pytest.raises(StoreError, match=r"no round of .*runs/tiny is finished"):
        History.of(run)
