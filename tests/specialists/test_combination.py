"""From held-out outputs to an ensemble. Suffixes: S specialists, N samples, C classes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.specialists.test_training import samples
from umc_ray.config.campaign import TrainingConfig
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.config.task import TaskConfig
from umc_ray.methods.identity import uniform
from umc_ray.methods.stacking import sharpen, sharpen_groups, stack
from umc_ray.specialists.combination import (
    DECISION_FOLDS,
    SELECTED_WEIGHT,
    EnsembleJob,
    combine,
)
from umc_ray.specialists.ensemble import EnsembleRef, decision_key, heads_key
from umc_ray.specialists.held_out import keep, read_held_out, write_held_out
from umc_ray.specialists.specialist import FitReport, outputs_of
from umc_ray.specialists.training import _fit_jobs
from umc_ray.storage import Storage
from umc_ray.tasks.decisions import in_domain

TASK = TaskConfig.model_validate(
    {
        "kind": "classification",
        "labels": ["a", "b", "c"],
        "encoder": {"kind": "transformers", "path": "x"},
        "domains": {"near": {"source": "x", "text": "t"}},
    }
)
KIND, TUNED = TASK.task_kind(), "tuned-transformers"
NAMED = TaskConfig.model_validate(
    {
        **TASK.model_dump(),
        "specialists": {"near": {}, "far": {}, TUNED: {"kind": "top_layers"}},
    }
)
TOP = SpecialistConfig(kind="top_layers", encoder="encoder")
FOLDER, BEFORE = "models/mood/0002", "models/mood/0001"


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path))


def outputs(data, signal, seed):
    """Outputs of a specialist that sees the class, with noise."""
    noise_NC = np.random.default_rng(seed).normal(size=(len(data), 3))
    return torch.from_numpy((signal * np.eye(3)[data.targets] + noise_NC).astype(np.float32))


def combined(storage, data, task=TASK, before=None, **signals):
    reports = {}
    for seed, (name, signal) in enumerate(signals.items()):
        write_held_out(storage, f"{FOLDER}/{name}", outputs(data, signal, seed), data, len(data))
        reports[name] = FitReport(0.5, None, f"weights-of-{name}")
    job = EnsembleJob(task, data, FOLDER, before)
    return combine(job, reports, storage)


def test_what_is_said_of_audits_is_decided_without_them(storage):
    """Weights and certainty of each fold by brute force, from the others."""
    data = samples(90)
    found = combined(storage, data, near=1.0, **{TUNED: 2.5})
    importance_N = np.where(data.random_N, 1.0, SELECTED_WEIGHT / (~data.random_N).sum())
    probs = []
    for seed, signal in enumerate((1.0, 2.5)):
        outputs_NC = outputs(data, signal, seed)
        calibration = KIND.calibrate(outputs_NC.numpy(), data.targets, importance_N)
        probs.append(KIND.activation([calibration])(outputs_NC[None])[0])
    probs_SNC, how = torch.stack(probs), (KIND.pooling, KIND.log_loss)
    folds_N = (uniform(data.ids_N, 0, "decision") * DECISION_FOLDS).astype(int)
    y = torch.from_numpy(data.targets)
    for fold in range(DECISION_FOLDS):
        others, rows = np.flatnonzero(folds_N != fold), np.flatnonzero(folds_N == fold)
        shares = stack(probs_SNC[:, others], y[others], *how)
        weights = sharpen(
            probs_SNC[:, others], y[others], shares, torch.from_numpy(importance_N[others]), *how
        )
        factors = sharpen_groups(
            probs_SNC[:, others], y[others], weights, data.domains_N[others], *how
        )
        for row in rows:
            own = torch.tensor(weights) * factors[data.domains_N[row]]
            mean_NC = KIND.pooling(probs_SNC[:, [row]])(own)
            np.testing.assert_allclose(found.certainty_N[row], mean_NC.amax(), atol=1e-4)
            assert [found.predicted_N[row]] == KIND.predict(mean_NC, {})


def test_a_fine_tuned_specialist_that_pays_joins_and_one_that_does_not_is_dropped(storage):
    data = samples(200)
    found = combined(storage, data, near=1.0, **{TUNED: 3.0})
    assert found.ref.specialists == ("near", TUNED)
    assert found.ref.tuned == ((TUNED, f"weights-of-{TUNED}"),)
    assert found.specialists[TUNED].weight > found.specialists["near"].weight
    poor = combined(storage, data, near=3.0, **{TUNED: 0.0})
    rejected = ((TUNED, 200),)
    assert poor.ref == EnsembleRef(FOLDER, ("near",), poor.ref.version, rejected=rejected)
    assert poor.specialists[TUNED].weight == 0
    assert poor.specialists[TUNED].dropped.startswith("held-out log-loss 0.")


def test_one_that_did_not_pay_is_tried_again_with_half_as_many_labels_more(storage):
    before = EnsembleRef(BEFORE, ("near",), "v", rejected=((TUNED, 120),))

    def due(labels, **job):
        job = EnsembleJob(TASK, samples(labels), FOLDER, before, **job)
        fits = _fit_jobs(job, TrainingConfig(refit_growth=1.5), storage, seed=0)
        return TUNED in [fit.name for fit in fits]

    assert [due(179), due(180), due(179, last=True)] == [False, True, True]
    assert combined(storage, samples(150), before=before, near=1.0).ref.rejected == ((TUNED, 120),)
    again = combined(storage, samples(200), before=before, near=3.0, **{TUNED: 0.0})
    assert again.ref.rejected == ((TUNED, 200),)
    paid = combined(storage, samples(200), before=before, near=1.0, **{TUNED: 3.0})
    assert paid.ref.rejected == ()


def test_heads_beside_a_fine_tuned_specialist_have_weights_of_their_own_too(storage):
    data = samples(200)
    signals = {"near": 1.0, "far": 0.5, TUNED: 3.0}
    found = combined(storage, data, NAMED, **signals)
    assert found.ref.heads == ("near", "far")
    alone = storage.read_json(heads_key(FOLDER))
    together = storage.read_json(decision_key(FOLDER))
    assert len(together["weights"]) == 3
    del signals[TUNED]
    combined(storage, data, NAMED, **signals)
    assert storage.read_json(decision_key(FOLDER)) == alone


def test_heads_alone_are_not_weighed_twice(storage):
    combined(storage, samples(200), near=3.0, **{TUNED: 0.0})
    assert not storage.exists(heads_key(FOLDER))


def test_an_ensemble_is_less_sure_in_the_domain_that_it_knows_less_of(storage):
    """Also one of a single specialist, whose weight is 1."""
    data = samples(300)
    noisy_N = data.domains_N == "far"
    outputs_NC = outputs(data, 3.0, 0)
    outputs_NC[noisy_N] = outputs(data, 0.0, 1)[noisy_N] * 3
    write_held_out(storage, f"{FOLDER}/near", outputs_NC, data, len(data))
    job = EnsembleJob(TASK, data, FOLDER, None)
    found = combine(job, {"near": FitReport(0.5, None, "w")}, storage)
    decision = storage.read_json(decision_key(FOLDER))
    assert decision["weights"] == [1.0]
    assert decision["domains"]["far"] < 0.9 < 1.1 < decision["domains"]["near"]
    assert in_domain(decision, "near")["weights"] == [decision["domains"]["near"]]
    assert in_domain(decision, None) == in_domain(decision, "new") == decision
    assert found.certainty_N[noisy_N].mean() < found.certainty_N[~noisy_N].mean() - 0.2


def test_a_task_of_one_domain_has_no_factors(storage):
    data = samples(60)
    one = replace(data, domains_N=np.repeat("near", len(data)))
    combined(storage, one, near=1.0)
    assert storage.read_json(decision_key(FOLDER)) == {}


def test_all_that_was_drawn_at_random_counts_in_full(storage):
    """Not audits alone: a batch without selection is as good."""
    data = samples(90)
    drawn = replace(data, random_N=np.ones(len(data), np.bool_))
    found = combined(storage, drawn, near=1.0).specialists["near"].calibration
    outputs_NC = outputs(data, 1.0, 0).numpy()
    assert found == KIND.calibrate(outputs_NC, data.targets, np.ones(len(data), np.float32))
    assert found != combined(storage, data, near=1.0).specialists["near"].calibration


def test_specialists_that_the_campaign_names_stay(storage):
    named = {"near": {}, TUNED: {"kind": "top_layers"}}
    task = TaskConfig.model_validate({**TASK.model_dump(), "specialists": named})
    assert combined(storage, samples(200), task, near=3.0, **{TUNED: 0.0}).ref.specialists == (
        "near",
        TUNED,
    )


def rows_of(data, rows):
    return data.rows(slice(rows))


@pytest.fixture
def known(storage):
    """A network that learned the first 60 of 80 samples, and what it says of all of them."""
    data = samples(80)
    first, said_NC = rows_of(data, 60), outputs(data, 2.0, 0)
    folder = f"{BEFORE}/{TUNED}"
    write_held_out(storage, folder, said_NC[:60] - 1, first, 60)
    storage.write_record(f"{folder}/report.json", FitReport(0.4, None, "w1", 3))
    storage.write_json(f"{folder}/config.json", TOP.model_dump())
    for name in ("model.safetensors", "outputs.json"):
        storage.write_bytes(f"{folder}/{name}", name.encode())
    return replace(data, features={outputs_of(TUNED): said_NC.numpy()})


def kept(storage, data, growth=1.5, tuned=((TUNED, "w1"),), specialist=TOP):
    before = EnsembleRef(BEFORE, (TUNED,), "v", tuned)
    settings = TrainingConfig(refit_growth=growth)
    return keep(storage, before, specialist, f"{FOLDER}/{TUNED}", data, settings)


def test_a_network_is_kept_with_what_it_says_of_samples_that_it_has_not_seen(storage, known):
    order = np.random.default_rng(0).permutation(80)
    shuffled = replace(
        known,
        ids_N=known.ids_N[order],
        targets=known.targets[order],
        features={name: x_NC[order] for name, x_NC in known.features.items()},
    )
    assert kept(storage, shuffled) == FitReport(0.4, None, "w1", 3)
    found = read_held_out(storage, f"{FOLDER}/{TUNED}")
    said_NC = known.features[outputs_of(TUNED)]
    expected_NC = np.where((np.arange(80) < 60)[:, None], said_NC - 1, said_NC)[order]
    np.testing.assert_allclose(found.outputs_NC.numpy(), expected_NC, atol=1e-6)
    assert found.learned == 60
    assert storage.read_bytes(f"{FOLDER}/{TUNED}/model.safetensors") == b"model.safetensors"


def test_a_network_is_trained_anew_when_labels_have_grown_or_changed(storage, known):
    assert kept(storage, known, growth=80 / 60) is None
    assert kept(storage, known, tuned=()) is None
    assert kept(storage, known, specialist=TOP.model_copy(update={"epochs": 5})) is None
    assert kept(storage, known, specialist=TOP.model_copy(update={"cache_gib": 1.0})) is not None
    relabeled = replace(known, targets=(known.targets + (np.arange(80) == 3)) % 3)
    assert kept(storage, relabeled) is None
    new = replace(known, targets=(known.targets + (np.arange(80) == 70)) % 3)
    assert kept(storage, new) is not None
    gone = known.rows(slice(1, None))
    assert kept(storage, gone) is None
    unknown = {outputs_of(TUNED): np.full((80, 3), np.nan)}
    assert kept(storage, replace(known, features=unknown)) is None
    assert kept(storage, replace(known, features={})) is None
