"""What is published, and what is refused."""

import numpy as np
import pytest
import torch
from safetensors.torch import save

from tests import tiny
from umc_ray.campaign.publish import (
    PUBLISHED,
    load_published,
    publish_round,
    read_published,
    round_before,
)
from umc_ray.config.loading import load_campaign
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.errors import DataError, StoreError
from umc_ray.serving.live import LivePublication
from umc_ray.specialists.ensemble import EnsembleRef
from umc_ray.storage import Storage

ENCODER = "static_text"
NAMES = ("reviews", "generalist")


def write_models(storage, number, seed, width=8, classes=2):
    """Two heads of random numbers."""
    rng = np.random.default_rng(seed)
    folder = f"models/mood/{number:04d}"
    for name in NAMES:
        weight = torch.from_numpy(rng.normal(0, 2, (1, width, classes))).float()
        head = save({"weight": weight, "bias": torch.zeros(1, classes)})
        storage.write_bytes(f"{folder}/{name}/model.safetensors", head)
        storage.write_json(f"{folder}/{name}/calibration.json", {"temperature": 1.5})
        config = SpecialistConfig(encoder=ENCODER)
        storage.write_json(f"{folder}/{name}/config.json", config.model_dump())
        storage.write_json(f"{folder}/{name}/report.json", {"loss": 0.5})
    storage.write_json(f"{folder}/decision.json", {})
    return {"mood": EnsembleRef(folder, NAMES, f"v{seed}")}


@pytest.fixture
def config(tmp_path):
    return load_campaign(tiny.write_campaign(tmp_path, tiny.campaign(tmp_path)))


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path / "run"))


@pytest.fixture
def live(storage, config):
    """Round 1 answers, round 2 is published."""
    publish_round(storage, config, 1, write_models(storage, 1, seed=1))
    live = LivePublication(storage, config)
    live.refresh()
    publish_round(storage, config, 2, write_models(storage, 2, seed=2))
    return live


def changed(storage, **changes):
    """Change what published.json says of the ensemble."""
    manifest = storage.read_json(PUBLISHED)
    manifest["ensembles"]["mood"].update(changes)
    storage.write_json(PUBLISHED, manifest)


def test_what_was_published_is_loaded(storage, config):
    refs = write_models(storage, 1, seed=1)
    publish_round(storage, config, 1, refs)
    manifest = read_published(storage)
    assert (manifest.round, manifest.ensembles["mood"].ref) == (1, refs["mood"])
    ensemble = load_published(storage, config, manifest).ensembles["mood"]
    assert ensemble.probabilities({ENCODER: np.zeros((3, 8), np.float16)}).shape == (2, 3, 2)


def test_the_version_names_the_round_and_changes_with_the_weights(storage, config):
    versions = set()
    for seed in (1, 2, 1):
        publish_round(storage, config, 1, write_models(storage, 1, seed))
        versions.add(read_published(storage).version)
    assert len(versions) == 2
    assert all(version.startswith("1-") for version in versions)


def test_a_new_publication_answers_after_a_refresh(live):
    assert live.now.manifest.round == 1
    live.refresh()
    assert (live.now.manifest.round, live.refused) == (2, None)


def test_a_publication_is_loaded_once(live):
    live.refresh()
    now = live.now
    live.refresh()
    assert live.now is now


def flip(storage):
    key = "models/mood/0002/reviews/model.safetensors"
    data = bytearray(storage.read_bytes(key))
    data[-1] ^= 1
    storage.write_bytes(key, bytes(data))


def foreign_canaries(storage):
    manifest = storage.read_json(PUBLISHED)["ensembles"]["mood"]
    changed(storage, canaries=[[1 - p for p in row] for row in manifest["canaries"]])


def another_task(storage):
    manifest = storage.read_json(PUBLISHED)
    manifest["ensembles"]["other"] = manifest["ensembles"]["mood"]
    storage.write_json(PUBLISHED, manifest)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (flip, "are not those that were published"),
        (lambda s: s.delete("models/mood/0002/reviews"), "are not those that were published"),
        (lambda s: changed(s, labels=["good", "bad"]), "labels"),
        (lambda s: changed(s, kind="multi_label"), "is a multi_label with the labels"),
        (lambda s: changed(s, encoders={ENCODER: "0" * 16}), "another encoder"),
        (lambda s: changed(s, encoders={}), "another encoder"),
        (lambda s: s.write_json("models/mood/0002/decision.json", {"x": [1]}), "not those that"),
        (foreign_canaries, "other outputs"),
        (lambda s: changed(s, canaries=[]), "other outputs"),
        (another_task, "other"),
        (lambda s: s.write_bytes(PUBLISHED, b'{"round": 2'), PUBLISHED),
        (lambda s: s.write_json(PUBLISHED, {"round": 2, "ensembles": {}}), "version"),
    ],
)
def test_what_is_not_whole_is_refused_and_the_old_one_goes_on(live, harm, message):
    before = live.now
    harm(live.storage)
    live.refresh()
    assert live.now is before
    assert message in live.refused


def test_a_publication_whose_files_come_late_answers_when_they_are_there(live):
    storage = live.storage
    files = {key: storage.read_bytes(key) for key in storage.keys("models/mood/0002/reviews")}
    storage.delete("models/mood/0002/reviews")
    live.refresh()
    assert live.refused
    for key, data in files.items():
        storage.write_bytes(key, data)
    # The hash is that of bytes: written again, they are the same.
    live.refresh()
    assert (live.now.manifest.round, live.refused) == (2, None)


def test_how_a_specialist_was_trained_is_no_part_of_what_is_published(storage, config):
    publish_round(storage, config, 1, write_models(storage, 1, seed=1))
    before = read_published(storage)
    storage.write_json("models/mood/0001/reviews/report.json", {"loss": 0.25})
    storage.write_bytes("models/mood/0001/reviews/held_out.safetensors", b"x")
    load_published(storage, config, before)
    publish_round(storage, config, 1, {"mood": before.ensembles["mood"].ref})
    assert read_published(storage) == before


def test_an_ensemble_of_two_encoders_is_published_with_both(storage, config, tmp_path):
    tiny.write_encoder(tmp_path / "other", seed=1)
    task = config.tasks["mood"]
    second = task.encoder.model_copy(update={"path": str(tmp_path / "other")})
    encoders = {ENCODER: task.encoder, "second": second}
    both = task.model_copy(update={"encoder": None, "encoders": encoders})
    config = config.model_copy(update={"tasks": {"mood": both}})
    refs = write_models(storage, 1, seed=1)
    other = SpecialistConfig(encoder="second")
    storage.write_json("models/mood/0001/generalist/config.json", other.model_dump())
    publish_round(storage, config, 1, refs)
    manifest = read_published(storage)
    assert manifest.ensembles["mood"].encoders.keys() == encoders.keys()
    ensemble = load_published(storage, config, manifest).ensembles["mood"]
    assert ensemble.reads == (ENCODER, "second")
    one = both.model_copy(update={"encoders": {ENCODER: task.encoder}})
    with pytest.raises(DataError, match="another encoder"):
        load_published(storage, config.model_copy(update={"tasks": {"mood": one}}), manifest)


def test_weights_that_are_not_numbers_are_never_answered_with(storage, config):
    refs = write_models(storage, 1, seed=1)
    head = save({"weight": torch.full((1, 8, 2), torch.nan), "bias": torch.zeros(1, 2)})
    storage.write_bytes("models/mood/0001/reviews/model.safetensors", head)
    with pytest.raises(DataError, match="not numbers"):
        publish_round(storage, config, 1, refs)
    assert not storage.exists(PUBLISHED)


def test_there_is_a_round_before_the_second_and_none_before_the_first(live, storage, config):
    assert round_before(storage) == 1
    publish_round(storage, config, 1, write_models(storage, 1, seed=1))
    with pytest.raises(StoreError, match="none before"):
        round_before(storage)
