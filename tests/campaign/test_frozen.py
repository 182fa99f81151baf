"""A run directory whose campaign file has changed: what reads its results refuses, and says why."""

import copy
import sys

import pytest
import typer

from tests import tiny
from umc_ray import cli
from umc_ray.campaign.campaign import republish
from umc_ray.campaign.documents import BanditUpdate, RoundMetrics
from umc_ray.campaign.freeze import freeze
from umc_ray.campaign.frozen import check_frozen
from umc_ray.campaign.history import History
from umc_ray.campaign.run import Run, open_run
from umc_ray.campaign.state import LABEL_CHANGES
from umc_ray.config.loading import load_campaign
from umc_ray.errors import ConfigError, StoreError
from umc_ray.ingest.manifest import INDEX, NOTHING, store_manifest
from umc_ray.report.summary import update_status

ARGUMENTS = {
    "annotate": [],
    "check": [],
    "control": [],
    "forget": ["mood/posts", "posts.csv#1"],
    "import": ["labels.csv"],
    "labelstudio pull": ["--url", "http://127.0.0.1:9", "--api-key", "k"],
    "labelstudio push": ["--url", "http://127.0.0.1:9", "--api-key", "k"],
    "labelstudio sync": ["--url", "http://127.0.0.1:9", "--api-key", "k"],
    "labels add": ["mood", "mixed"],
    "labels merge": ["mood", "bad", "--into", "good"],
    "labels rename": ["mood", "bad", "poor"],
    "plan": [],
    "publish": [],
    "relabel": ["mood/posts", "posts.csv#1", "good"],
    "release": [],
    "report": [],
    "restore-answers": [],
    "run": [],
    "score": ["posts.csv", "--output", "scores", "--domain", "mood/posts"],
    "serve": [],
    "status": [],
}
"""What reads results of a run by its campaign file, or adds to them, with further arguments."""

OTHERS = {
    "account": "knows people, not samples",
    "discover": "replaces domains",
    "repair": "must work where campaign.json is damaged, and freezes before it computes",
    "verify": "compares files with what was stored",
}
"""Commands that take a campaign file and read no result by it."""


@pytest.fixture
def values(tmp_path):
    return tiny.campaign(tmp_path)


@pytest.fixture
def write(tmp_path, values):
    """Write the campaign file of the tiny campaign with some sections changed."""
    return lambda **changes: tiny.write_campaign(tmp_path, {**values, **changes})


@pytest.fixture
def begun(write):
    """A run directory of the tiny campaign whose pools were read."""
    run = Run(load_campaign(write()))
    freeze(run)
    for domain_key in run.config.domains():
        store_manifest(run.storage, domain_key, "pool", NOTHING, INDEX.empty_table())
    return run


def with_task(values, **changes):
    tasks = copy.deepcopy(values["tasks"])
    tasks["mood"] |= changes
    return tasks


def without_posts(values):
    tasks = copy.deepcopy(values["tasks"])
    del tasks["mood"]["domains"]["posts"]
    return tasks


def commands(group, prefix=""):
    found = {}
    for name, each in group.commands.items():
        is_group = hasattr(each, "commands")
        found |= commands(each, f"{name} ") if is_group else {f"{prefix}{name}": each}
    return found


def of_campaigns():
    """The commands that take a campaign file."""
    known = commands(typer.main.get_command(cli.app))
    first = ("campaign", "campaigns")
    return {name for name, each in known.items() if any(p.name in first for p in each.params)}


def test_of_every_command_that_takes_a_campaign_file_it_is_known_whether_it_reads_results():
    assert of_campaigns() == {*ARGUMENTS, *OTHERS}


@pytest.mark.parametrize("command", sorted(ARGUMENTS))
def test_what_reads_a_run_refuses_another_campaign_file(
    command, begun, write, values, tmp_path, monkeypatch, capsys
):
    changed = {"seed": 7, "tasks": with_task(values, labels=["good", "bad"])}
    only_labels = command.startswith("labels ")  # they change these, so another key is compared
    path = write(**changed) if only_labels else write(tasks=changed["tasks"])
    files = {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()}
    monkeypatch.setattr(sys, "argv", ["umc", *command.split(), str(path), *ARGUMENTS[command]])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    said = " ".join(capsys.readouterr().out.split())
    key = "seed is 7, but" if only_labels else "tasks.mood.labels is ['good', 'bad'], but"
    assert f"error: {key} {begun.storage.root} was begun with" in said
    assert {each: each.read_bytes() for each in files} == files


@pytest.mark.parametrize("changes", [{}, {"stop": {"labels": 30}}, {"annotation": {"votes": 1}}])
def test_what_may_change_is_not_refused(changes, begun, write):
    annotation = {"backend": "replay", **changes.pop("annotation", {})}
    assert open_run(write(**changes, annotation=annotation)).storage.root == begun.storage.root


def test_a_domain_that_is_gone_or_a_seed_that_is_another_is_refused(begun, write, values):
    with pytest.raises(ConfigError, match=r"tasks\.mood\.domains\.posts is missing, but .* begun"):
        open_run(write(tasks=without_posts(values)))
    with pytest.raises(
        ConfigError, match=r"seed is 7, but .* was begun with 0: change it back, or"
    ):
        open_run(write(seed=7))


def test_a_run_that_was_not_begun_is_bound_to_nothing(write):
    run = open_run(write(seed=7))
    assert not run.storage.exists("campaign.json")


def test_a_run_with_rounds_that_has_lost_what_it_was_begun_with_is_not_read(begun, write):
    begun.storage.delete_file("campaign.json")
    begun.storage.write_bytes("rounds/0001/batch.parquet", b"")
    with pytest.raises(StoreError, match=r"tiny has rounds and no campaign\.json, so nothing says"):
        open_run(write())


def test_reading_results_does_not_read_weights_but_publishing_does(begun, write, values, tmp_path):
    encoder = {**values["tasks"]["mood"]["encoder"], "path": "other"}
    run = Run(load_campaign(write(tasks=with_task(values, encoder=encoder))))
    check_frozen(run.storage, run.config)  # there is no folder of this name
    tiny.write_encoder(tmp_path / "other", seed=1)
    check_frozen(run.storage, run.config)
    said = r"tasks\.mood\.encoders\.static_text is '[0-9a-f]{16}', but .* was begun with"
    with pytest.raises(ConfigError, match=said):
        republish(run, None, back=False)


def finish(run, rounds):
    for number in range(1, rounds + 1):
        metrics = RoundMetrics(
            labels=30, cost=30.0, domains={}, audit_utility=None, test_utility=None
        )
        run.storage.write_record(f"rounds/{number:04d}/metrics.json", metrics)
        run.storage.write_record(f"rounds/{number:04d}/bandit.json", BanditUpdate([]))
        run.storage.seal([f"rounds/{number:04d}/metrics.json"])


def test_a_round_that_learned_other_labels_is_not_published(begun):
    finish(begun, 2)
    begun.storage.write_json(LABEL_CHANGES, {"mood": 2})
    said = r"round 1 of tiny has learned the labels of mood as they were .*: publish round 2 or"
    with pytest.raises(StoreError, match=said):
        republish(begun, 1, back=False)


def test_a_newest_round_that_has_not_learned_its_labels_is_not_published(begun):
    finish(begun, 2)
    begun.storage.delete_file("rounds/0002/metrics.json")
    with pytest.raises(StoreError, match=r"labels of tiny have changed .* have not learned them"):
        republish(begun, None, back=False)


def test_a_lost_file_of_the_newest_round_is_named_rather_than_a_change_of_labels(begun, tmp_path):
    finish(begun, 2)
    (tmp_path / "runs/tiny/rounds/0002/metrics.json").unlink()
    run = Run(begun.config)
    said = r"damaged files: rounds/0002/metrics\.json \(it is missing\); .*umc repair"
    with pytest.raises(StoreError, match=said):
        update_status(run.config)
    with pytest.raises(StoreError, match=said):
        History.of(run)
