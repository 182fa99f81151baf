"""What changing labels refuses, and what it makes of a campaign file that was edited by hand."""

import copy
from contextlib import closing

import pytest
import yaml

from tests import tiny
from umc_ray.campaign.commands import merge
from umc_ray.campaign.freeze import freeze
from umc_ray.campaign.label_changes import change_labels
from umc_ray.campaign.run import Run, open_run
from umc_ray.config.loading import load_campaign
from umc_ray.errors import ConfigError
from umc_ray.ingest.manifest import INDEX, NOTHING, store_manifest
from umc_ray.records import DomainKey


@pytest.fixture
def path(tmp_path):
    """A campaign file whose run directory was begun."""
    path = tiny.write_campaign(tmp_path, tiny.campaign(tmp_path, annotation={"backend": "sheet"}))
    run = Run(load_campaign(path))
    with closing(run.store):
        freeze(run)
    for domain_key in (DomainKey.named(name) for name in tiny.DOMAINS):
        store_manifest(run.storage, domain_key, "pool", NOTHING, INDEX.empty_table())
    return path


def test_a_label_merged_into_itself_alone_is_an_error(path):
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="name a label to merge into 'good' besides itself"):
        merge(path, "mood", ["good"], "good")
    assert path.read_bytes() == before


def test_a_label_that_is_there_is_not_added(path):
    with pytest.raises(ConfigError, match="mood has a label 'good' already"):
        change_labels(path, "mood", {}, ["mixed", "good"])
    assert change_labels(path, "mood", {}, ["mixed"]) == ["bad", "good", "mixed"]
    assert open_run(path).config.tasks["mood"].labels == ["bad", "good", "mixed"]


def test_a_label_that_was_renamed_by_hand_is_renamed_with_its_old_name_as_a_synonym(path):
    values = yaml.safe_load(path.read_text())
    edited = copy.deepcopy(values)
    edited["tasks"]["mood"]["labels"] = ["bad", "positive"]
    path.write_text(yaml.safe_dump(edited, sort_keys=False))
    with pytest.raises(ConfigError, match=r"tasks\.mood\.labels is .*use umc labels to rename"):
        open_run(path)
    assert change_labels(path, "mood", {"good": "positive"}) == ["bad", "positive"]
    assert open_run(path).config.tasks["mood"].synonyms == {"good": "positive"}
