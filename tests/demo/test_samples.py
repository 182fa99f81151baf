"""What `umc init --sample` writes."""

import json

import pytest

from umc_ray.campaign.check import check_campaign
from umc_ray.config.loading import load_campaign
from umc_ray.config.template import KINDS
from umc_ray.demo import samples
from umc_ray.demo.fetch import cache_dir
from umc_ray.demo.samples import SAMPLES, campaign_of, write_sample
from umc_ray.errors import ConfigError


def written(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def without(row, name):
    return {key: value for key, value in row.items() if key != name}


def test_each_kind_of_task_has_a_sample():
    assert set(SAMPLES) == set(KINDS)


@pytest.mark.parametrize("kind", SAMPLES)
def test_the_campaign_of_a_sample_is_valid(tmp_path, kind):
    path = tmp_path / "campaign.yaml"
    path.write_text(campaign_of(kind), encoding="utf-8")
    config = load_campaign(path)
    assert config.tasks["sample"].kind == kind
    assert config.annotation.backend == "replay"


def test_a_sample_can_run_as_it_is_written(tmp_path):
    path = tmp_path / "campaign.yaml"
    write_sample("regression", path, tmp_path / "cache")
    names = ("pool", "test", "unlabeled")
    pool, test, unlabeled = (written(tmp_path / "sample" / f"{name}.jsonl") for name in names)
    assert (len(pool), len(test)) == (332, 110)
    assert not {json.dumps(row) for row in pool} & {json.dumps(row) for row in test}
    assert unlabeled == [without(row, "progression") for row in pool]
    assert check_campaign(load_campaign(path), reads_all=True).problems == ()
    asks = path.read_text(encoding="utf-8").replace("pool.jsonl", "unlabeled.jsonl")
    path.write_text(asks.replace("backend: replay", "backend: sheet"), encoding="utf-8")
    found = check_campaign(load_campaign(path), reads_all=True)
    assert found.problems == ()
    assert found.splits[0].inspection.unlabeled == 332


def test_pieces_of_dialogue_have_those_who_speak(tmp_path, monkeypatch):
    lines = [("Ross", "Hi."), ("Guest", "Hey, Joey!"), ("Monica", "Well."), ("Ross", "No.")]
    monkeypatch.setattr(samples, "episodes", lambda _: {"one": lines + lines})
    first, second = samples.scenes(tmp_path)
    assert first == {
        "text": "- Hi.\n- Hey, Joey!\n- Well.\n- No.\n- Hi.\n- Hey, Joey!",
        "speakers": ["Monica", "Ross"],
    }
    assert second == {"text": "- Well.\n- No.", "speakers": ["Monica", "Ross"]}


def test_an_unknown_kind_is_named_with_those_that_are_known(tmp_path):
    with pytest.raises(ConfigError, match="unknown kind 'poetry'; known: classification, "):
        write_sample("poetry", tmp_path / "campaign.yaml", tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("kind", SAMPLES)
def test_each_sample_is_there_and_can_run(tmp_path, kind):
    path = tmp_path / "campaign.yaml"
    write_sample(kind, path, cache_dir())
    assert check_campaign(load_campaign(path), reads_all=True).problems == ()
