"""Who begins a campaign decides its precision, for all who resume or serve it."""

import pytest

from tests import tiny
from umc_ray.campaign.freeze import freeze
from umc_ray.campaign.state import RunState
from umc_ray.config.loading import load_campaign
from umc_ray.encoders import precision
from umc_ray.encoders.registry import encoder_hash
from umc_ray.errors import ConfigError


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Returns a function that opens the campaign on a machine with or without bfloat16."""
    values = tiny.campaign(tmp_path)

    def opened(fast, **settings):
        monkeypatch.setattr(precision, "cpu_has_bf16", lambda: fast)
        encoder = {"kind": "transformers", "path": "encoder", **settings}
        values["tasks"]["mood"]["encoder"] = encoder
        return RunState(load_campaign(tiny.write_campaign(tmp_path, values)))

    return opened


def begin(run):
    freeze(run)
    for domain_key in run.config.domains():
        run.storage.write_json(f"pool/pool/{domain_key}/manifest.json", {})


def encoder(run):
    return run.config.tasks["mood"].default_encoder_config


@pytest.mark.parametrize("fast", [True, False])
def test_another_machine_resumes_with_the_precision_of_the_first(opened, fast):
    first = opened(fast)
    assert encoder(first).precision == ("bf16" if fast else "fp32")
    begin(first)
    second = opened(not fast)
    assert encoder(second) == encoder(first)
    assert encoder_hash(encoder(second)) == encoder_hash(encoder(first))
    freeze(second)


def test_named_encoders_have_a_precision_each(opened, tmp_path):
    values = tiny.campaign(tmp_path)
    del values["tasks"]["mood"]["encoder"]
    network = {"kind": "transformers", "path": "encoder"}
    values["tasks"]["mood"]["encoders"] = {
        "good": network,
        "exact": {**network, "precision": "fp32"},
        "words": {"kind": "static_text", "path": "encoder"},
    }
    opened(True)
    run = RunState(load_campaign(tiny.write_campaign(tmp_path, values)))
    found = {name: each.precision for name, each in run.config.tasks["mood"].encoders.items()}
    assert found == {"good": "bf16", "exact": "fp32", "words": "auto"}


def test_a_run_from_before_there_was_a_choice_keeps_its_features(opened):
    begin(opened(False))
    storage = opened(False).storage
    known = storage.read_json("campaign.json")
    storage.write_json("campaign.json", {k: v for k, v in known.items() if "precision" not in k})
    resumed = opened(True)
    assert encoder(resumed).precision == "fp32"
    freeze(resumed)


def test_another_precision_is_refused_by_name(opened):
    begin(opened(True))
    said = r"tasks\.mood\.encoder_precision\.transformers is 'fp32', but .* was begun with 'bf16'"
    with pytest.raises(ConfigError, match=said):
        freeze(opened(True, precision="fp32"))
