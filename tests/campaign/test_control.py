import pytest
import yaml

from tests import tiny
from umc_ray.campaign.control import check_answers, share_inputs, write_variant, write_variants
from umc_ray.campaign.freeze import freeze
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.errors import ConfigError


def written(folder, **changes):
    return tiny.write_campaign(folder, tiny.campaign(folder, **changes))


def test_a_control_differs_in_selection_and_split_only_and_spends_everything(tmp_path):
    rules = {"selection": {"acquisition": "entropy"}, "allocation": {"objective": "worst"}}
    campaign = written(tmp_path, stop={"labels": 30}, **rules)
    path = write_variant(campaign, "control", 7)
    assert path == tmp_path / "campaign-control-7.yaml"
    control, ours = load_campaign(path).model_dump(), load_campaign(campaign).model_dump()
    changed = {key for key in ours if control[key] != ours[key]}
    assert changed == {"name", "seed", "selection", "allocation", "stop"}
    assert (control["name"], control["seed"]) == ("tiny-control-7", 7)
    assert control["selection"] == {**ours["selection"], "strategy": "random"}
    assert control["allocation"] == {**ours["allocation"], "policy": "uniform"}
    assert control["stop"]["labels"] is None


def test_seeds_follow_the_campaigns_own_which_is_not_repeated(tmp_path):
    campaign = written(tmp_path, seed=3)
    paths = write_variants(campaign, seeds=2, paired=True)
    assert [path.name for path in paths] == [
        "campaign-control-3.yaml",
        "campaign-control-4.yaml",
        "campaign-seed-4.yaml",
    ]
    repeat = yaml.safe_load(paths[-1].read_text())
    assert repeat == {**yaml.safe_load(campaign.read_text()), "name": "tiny-seed-4", "seed": 4}


def test_a_file_that_is_no_control_is_not_overwritten(tmp_path):
    campaign = written(tmp_path)
    mine = tmp_path / "campaign-control-0.yaml"
    mine.write_text("name: mine\n")
    with pytest.raises(ConfigError, match="is not a file of `umc control`: rename it"):
        write_variant(campaign, "control", 0)
    assert mine.read_text() == "name: mine\n"
    mine.unlink()
    assert write_variant(campaign, "control", 0).read_text() == (
        write_variant(campaign, "control", 0).read_text()
    )


def test_where_people_answer_a_control_says_what_it_would_cost(tmp_path):
    config = load_campaign(written(tmp_path, annotation={"backend": "sheet", "votes": 1}))
    with pytest.raises(ConfigError, match=r"people answer .*sheet.* label 90 more samples"):
        check_answers(config)
    check_answers(load_campaign(written(tmp_path)))


def open_run(path):
    run = Run(load_campaign(path))
    freeze(run)
    return run


def test_inputs_are_shared_where_sources_and_encoders_are_the_same(tmp_path):
    campaign = written(tmp_path)
    donor = open_run(campaign)
    donor.storage.write_json("pool/pool/mood/posts/manifest.json", {})
    donor.storage.write_bytes("pool/pool/mood/posts/part-0.parquet", b"rows")
    donor.storage.write_bytes("features/x/pool/mood/posts/part-0.parquet", b"vectors")
    donor.storage.write_bytes("random_orders/x", b"by seed")
    control = Run(load_campaign(write_variant(campaign, "control", 1)))
    share_inputs(control, [control, donor])
    assert control.storage.keys("") == [
        *donor.storage.keys("features"),
        *donor.storage.keys("pool"),
    ]
    key = "pool/pool/mood/posts/part-0.parquet"
    control.storage.write_bytes(key, b"changed")
    assert donor.storage.read_bytes(key) == b"rows"

    other = tiny.campaign(tmp_path, ingest={"rows_per_part": 10})
    other = Run(load_campaign(tiny.write_campaign(tmp_path, {**other, "name": "other"})))
    share_inputs(other, [donor])
    assert other.storage.keys("") == []
