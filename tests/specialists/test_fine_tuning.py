"""Fine-tuned specialists: every way of tuning on several architectures.

Suffixes: N samples, C outputs.
"""

import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.multiprocessing
from PIL import Image
from safetensors.torch import load
from torch.nn.parallel import DistributedDataParallel

from tests.examples import relabeled
from tests.networks import IMAGE, TEXT, write_image_network, write_text_network
from umc_ray.config.campaign import TrainingConfig
from umc_ray.config.encoder import EncoderConfig
from umc_ray.config.specialist import FINE_TUNED, SpecialistConfig
from umc_ray.errors import ConfigError
from umc_ray.specialists import fine_tuning, network
from umc_ray.specialists.fine_tuned import TUNINGS, FineTuned, TunedRef, try_tuning
from umc_ray.specialists.fine_tuning import FineTuning
from umc_ray.specialists.network import layers_of, trainable_encoder
from umc_ray.specialists.specialist import Examples, FitJob
from umc_ray.specialists.top_layers import TopEncoder, lower_outputs
from umc_ray.storage import Storage
from umc_ray.tasks.classification import Classification
from umc_ray.tasks.multi_label import MultiLabel

KIND = Classification(("bad", "good"))
LONG = "word3 word4 " * 5


def texts(n=40):
    return [f"{('bad ', 'good ')[i % 2] * (4 + 8 * (i % 3 == 0))} word{i % 7}" for i in range(n)]


def images(n=40):
    found = []
    for i in range(n):
        pixels = np.random.default_rng(i).integers(0, 100, (36, 36, 3), dtype=np.uint8)
        pixels[:, :, 2 * (i % 2)] += 150
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        found.append(file.getvalue())
    return found


def examples(payloads, kind=KIND):
    labels = tuple(("bad", "good")[i % 2] for i in range(len(payloads)))
    ones = np.ones(len(payloads), np.float32)
    return Examples(
        texts_N=labels,
        targets=kind.encode(labels),
        features={},
        domains_N=np.array(["d"] * len(payloads)),
        ids_N=np.arange(len(payloads)),
        audit_N=ones > 0,
        random_N=ones > 0,
        rounds_N=ones.astype(np.int64),
        agreement_N=ones,
        payloads_N=tuple(payloads),
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Random networks are not pretrained: the new layer has to learn faster."""
    monkeypatch.setattr(fine_tuning, "OUTPUT_RATE", 3e-2)


@pytest.fixture(scope="module")
def text_folders(tmp_path_factory):
    return {name: write_text_network(tmp_path_factory.mktemp(name), name) for name in TEXT}


@pytest.fixture(scope="module")
def image_folders(tmp_path_factory):
    return {name: write_image_network(tmp_path_factory.mktemp(name), name) for name in IMAGE}


def text_encoder(folder, precision="auto"):
    return EncoderConfig(kind="transformers", path=str(folder), precision=precision)


def job(storage, encoder, kind="top_layers", answers=KIND, **settings):
    own = {"top_layers": {"layers": 1}, "lora": {"rank": 4}, "full": {}}[kind]
    settings = {**own, "epochs": 8, "learning_rate": 1e-2, **settings}
    specialist = SpecialistConfig(kind=kind, encoder="e", **settings)
    return FitJob(
        specialist, answers, storage, "models/t/0001/tuned", None, 0, TrainingConfig(), encoder
    )


def fit(job, data):
    folds_N = np.arange(len(data)) // 2 % 3
    return FineTuned.fit(job, data, np.ones(len(data), np.float32), folds_N, "cpu")


def stored(fitted, job):
    """Store a specialist, and load it as the pass over a pool does."""
    job.storage.write_json(f"{job.folder}/config.json", job.specialist.model_dump())
    fitted.save(job.storage, job.folder)
    return TunedRef(job.storage, job.folder, "v1").load(job.encoder)


def outputs(encoder, payloads):
    return encoder.encode([encoder.prepare(payload) for payload in payloads])


@pytest.mark.parametrize("kind", FINE_TUNED)
@pytest.mark.parametrize("name", TEXT)
def test_texts_are_learned_and_a_stored_network_says_the_same_in_any_batch(
    text_folders, name, kind, tmp_path
):
    task, data = job(Storage(str(tmp_path)), text_encoder(text_folders[name]), kind), texts()
    fitted, held_out_NC, report = fit(task, examples(data))
    assert held_out_NC.shape == (40, 2)
    assert report.epochs in range(1, 9)
    encoder = stored(fitted, task)
    found_NC = outputs(encoder, data)
    assert (found_NC.argmax(1) == np.arange(40) % 2).mean() > 0.9
    alone_NC = np.concatenate([outputs(encoder, [text]) for text in data])
    np.testing.assert_allclose(found_NC, alone_NC, atol=2e-2)


@pytest.mark.parametrize("kind", FINE_TUNED)
@pytest.mark.parametrize("name", IMAGE)
def test_images_are_learned(image_folders, name, kind, tmp_path):
    encoder = EncoderConfig(kind="transformers_image", path=str(image_folders[name]))
    task, data = job(Storage(str(tmp_path)), encoder, kind), images()
    if name == "resnet" and kind == "lora":
        with pytest.raises(ConfigError, match="no linear layers"):
            fit(task, examples(data))
        return
    fitted, _, _ = fit(task, examples(data))
    found_NC = outputs(stored(fitted, task), data)
    assert (found_NC.argmax(1) == np.arange(40) % 2).mean() > 0.9


@pytest.mark.parametrize("name", TEXT)
def test_top_layers_on_stored_lower_outputs_are_the_whole_network(text_folders, name):
    """The pretrained network, cut in two, gives what it gives in one piece."""
    encoder = trainable_encoder(text_encoder(text_folders[name]))
    tuning = TUNINGS["top_layers"](encoder, texts(7), SpecialistConfig(kind="top_layers", layers=1))
    cut = tuning.network(2).eval()
    with torch.no_grad():
        whole_ND = encoder.embed(encoder.collate(texts(7)))
        cut_NC = tuning.outputs(cut, range(7))
    torch.testing.assert_close(cut_NC, cut.output(whole_ND), atol=2e-3, rtol=2e-3)


def test_only_the_top_layers_change(text_folders, tmp_path):
    task = job(Storage(str(tmp_path)), text_encoder(text_folders["bert"]), layers=2)
    fitted, _, _ = fit(task, examples(texts()))
    names = {name.split(".")[3] for name in fitted.tensors if name.startswith("model.")}
    assert names == {"1", "2"}
    assert any(name.startswith("output.") for name in fitted.tensors)


def test_updates_of_low_rank_are_merged(text_folders, tmp_path):
    """What is stored has the names and shapes of the pretrained network, and rank 4 changes."""
    task = job(Storage(str(tmp_path)), text_encoder(text_folders["bert"]), "lora")
    fitted, _, _ = fit(task, examples(texts()))
    before = trainable_encoder(task.encoder).model.state_dict()
    changes = {n.removeprefix("model."): v for n, v in fitted.tensors.items() if n[:5] == "model"}
    assert len(changes) == 3 * 6
    for name, value in changes.items():
        assert torch.linalg.matrix_rank(value - before[name], atol=1e-5) <= 4


def test_the_pretrained_network_is_left_as_it_was(text_folders, tmp_path):
    encoder = text_encoder(text_folders["bert"])
    model = trainable_encoder(encoder).model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for kind in FINE_TUNED:
        fit(job(Storage(str(tmp_path)), encoder, kind, epochs=1), examples(texts(12)))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_same_seed_gives_the_same_network(text_folders, tmp_path):
    task = job(Storage(str(tmp_path)), text_encoder(text_folders["bert"]))
    first, second, other = (
        fit(replace(task, seed=seed), examples(texts()))[2].weights for seed in (0, 0, 1)
    )
    assert first == second != other


class Lost(Exception):
    """A worker is killed."""


@pytest.mark.parametrize("at", [(0, 0), (1, 7), (3, 0)])
def test_training_that_was_interrupted_ends_as_if_it_had_not_been(text_folders, tmp_path, at):
    task = job(Storage(str(tmp_path)), text_encoder(text_folders["bert"]))
    whole, held_out_NC, report = fit(task, examples(texts()))
    states = []

    def interrupt(epoch, state):
        states.append(state())
        if (epoch.stage, epoch.epoch) == at:
            raise Lost

    with pytest.raises(Lost):
        fit(replace(task, on_epoch=interrupt), examples(texts()))
    seen = []
    again = replace(
        task,
        resume=states[-1],
        on_epoch=lambda epoch, _: seen.append((epoch.stage, epoch.epoch)),
    )
    resumed, found_NC, found = fit(again, examples(texts()))
    assert at not in seen
    np.testing.assert_array_equal(found_NC, held_out_NC)
    assert (found.weights, found.epochs) == (report.weights, report.epochs)
    assert resumed.tensors.keys() == whole.tensors.keys()


def _in_group(rank, folder, encoder, place):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{place}", rank=rank, world_size=2
    )
    torch.set_num_threads(1)
    fine_tuning.OUTPUT_RATE = 3e-2
    network.DROPOUT = 0.0  # processes draw their own; without it they agree with one process
    task = job(Storage(folder), encoder, accumulate=2)
    losses, waits, no_sync = [], [], DistributedDataParallel.no_sync
    DistributedDataParallel.no_sync = lambda module: waits.append(1) or no_sync(module)
    task = replace(task, on_epoch=lambda epoch, _: losses.append(epoch.loss))
    fitted, held_out_NC, _ = fit(task, examples(texts(41)))
    if rank == 0:
        fitted.save(task.storage, "group")
        np.savez(f"{folder}/group.npz", held_out=held_out_NC, losses=losses, waits=len(waits))
    torch.distributed.destroy_process_group()


def test_two_processes_train_as_one(text_folders, tmp_path, monkeypatch):
    """41 samples: some batches have a row for one of the processes only; steps have 1 or 2."""
    monkeypatch.setattr(network, "DROPOUT", 0.0)
    # It has no dropout of its own; in bf16, what is rounded depends on how rows are divided.
    encoder = text_encoder(text_folders["llama"], "fp32")
    losses = []
    task = job(Storage(str(tmp_path)), encoder, accumulate=2)
    task = replace(task, on_epoch=lambda epoch, _: losses.append(epoch.loss))
    alone, held_out_NC, _ = fit(task, examples(texts(41)))
    torch.multiprocessing.spawn(
        _in_group, (str(tmp_path), encoder, str(tmp_path / "place")), nprocs=2
    )
    with np.load(tmp_path / "group.npz") as group:
        np.testing.assert_allclose(group["losses"], losses, atol=1e-4)
        # Two batches of a fold's 26 to 28 rows are one step; all 41 rows are three, in two steps.
        assert group["waits"] == len(losses)
        np.testing.assert_allclose(group["held_out"], held_out_NC, atol=1e-3)
    tensors = load(Storage(str(tmp_path)).read_bytes("group/model.safetensors"))
    for name, value in alone.tensors.items():
        torch.testing.assert_close(tensors[name], value, atol=1e-4, rtol=1e-3)


def test_a_step_on_several_batches_is_that_on_one_larger(text_folders, monkeypatch):
    """Its loss is the weighted mean over all samples."""
    monkeypatch.setattr(network, "DROPOUT", 0.0)
    encoder = trainable_encoder(text_encoder(text_folders["llama"], "fp32"))
    config = SpecialistConfig(kind="top_layers", layers=1)
    data, weights_N = texts(20), np.linspace(0.2, 2, 20, dtype=np.float32)
    tuning = TUNINGS["top_layers"](encoder, data, config)
    loop = FineTuning(
        tuning,
        KIND,
        np.arange(20) % 2,
        np.ones(20, np.float32),
        np.arange(20) % 3,
        [len(text) for text in data],
        training_weights_N=weights_N,
        epochs=1,
        learning_rate=1e-2,
        accumulate=2,
        seed=0,
        on_epoch=job(None, None).on_epoch,
    )
    found = []
    rows = list(range(20))
    for batches in ([rows], [rows[:7], rows[7:15], rows[15:]]):
        torch.manual_seed(0)
        trained = tuning.network(2).train()
        before_NC = tuning.outputs(trained, rows).detach().double()
        loss = loop._step(trained, fine_tuning._optimizer(trained, 1e-2), batches, 1.0)
        found.append([value.detach().clone() for value in trained.parameters()])
        losses_N = -before_NC.log_softmax(1)[range(20), np.arange(20) % 2].numpy()
        assert loss == pytest.approx((losses_N * weights_N).sum() / weights_N.sum(), rel=1e-4)
    for one, several in zip(*found, strict=True):
        torch.testing.assert_close(several, one, atol=1e-4, rtol=1e-3)


def test_batches_make_steps():
    """67 samples are five batches of 16."""
    loop = SimpleNamespace(seed=0, sizes_N=[1] * 67, accumulate=2)
    steps = FineTuning._steps(loop, list(range(67)), 0, 0)
    assert [len(batches) for batches in steps] == [2, 2, 1]
    assert sorted(row for batches in steps for batch in batches for row in batch) == [*range(67)]


def test_class_weights_are_for_training_not_for_what_is_held_out(text_folders, tmp_path):
    encoder = text_encoder(text_folders["bert"])
    task = job(Storage(str(tmp_path)), encoder, epochs=1, class_weights="balanced")
    data = examples(texts(24))
    rare = relabeled(data, KIND, ["bad" if i % 4 else "good" for i in range(24)])
    _, held_out_NC, report = fit(task, rare)
    calibration = KIND.calibrate(held_out_NC, rare.targets, rare.agreement_N)
    probs_NC = KIND.activation([calibration])(torch.from_numpy(held_out_NC)[None])[0]
    losses_N = KIND.log_loss(probs_NC, torch.from_numpy(rare.targets))
    assert report.loss == pytest.approx(float(losses_N.mean()), rel=1e-5)


def test_several_labels_are_learned(text_folders, tmp_path):
    kind = MultiLabel(("bad", "good"))
    task = job(Storage(str(tmp_path)), text_encoder(text_folders["bert"]), answers=kind)
    fitted, _, _ = fit(task, examples(texts(), kind))
    found_NC = outputs(stored(fitted, task), texts())
    assert ((found_NC > 0) == (kind.encode(examples(texts(), kind).texts_N) > 0)).mean() > 0.9


def test_a_network_that_diverges_is_refused_with_what_to_do(text_folders, tmp_path):
    task = job(Storage(str(tmp_path)), text_encoder(text_folders["bert"]), "full", epochs=1)
    wild = task.specialist.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(ConfigError, match=r"tuned diverged, .* learning_rate below 1e\+30"):
        fit(replace(task, specialist=wild), examples(texts(40)))


def test_what_cannot_be_tuned_is_found_without_training(text_folders, image_folders):
    bert = text_encoder(text_folders["bert"])
    try_tuning(SpecialistConfig(kind="top_layers", layers=2), bert, "a text")
    with pytest.raises(ConfigError, match="layers: 99, but the network has "):
        try_tuning(SpecialistConfig(kind="top_layers", layers=99), bert, "a text")
    resnet = EncoderConfig(kind="transformers_image", path=str(image_folders["resnet"]))
    with pytest.raises(ConfigError, match="no linear layers to update"):
        try_tuning(SpecialistConfig(kind="lora"), resnet, images(1)[0])


def test_a_network_of_another_architecture_is_refused(text_folders, tmp_path):
    task = job(Storage(str(tmp_path)), text_encoder(text_folders["bert"]))
    fitted, _, _ = fit(task, examples(texts(12)))
    stored(fitted, task)
    other = TunedRef(task.storage, task.folder, "v2")
    with pytest.raises(ConfigError, match="fine-tuned from another network"):
        other.load(text_encoder(text_folders["distilbert"]))


def test_lower_outputs_have_no_padding(text_folders):
    encoder = trainable_encoder(text_encoder(text_folders["bert"]))
    rows, _ = lower_outputs(encoder, ["good", LONG], 1)
    assert [len(row) for row in rows] == [2, 11]
    alone, _ = lower_outputs(encoder, ["good"], 1)
    torch.testing.assert_close(rows[0], alone[0], atol=2e-3, rtol=2e-3)


def test_layers_are_those_that_the_input_passes(text_folders):
    for name, folder in text_folders.items():
        assert len(layers_of(trainable_encoder(text_encoder(folder)).model)) == 3, name


def test_an_encoder_without_a_network_is_refused():
    with pytest.raises(ConfigError, match="no network to fine-tune"):
        trainable_encoder(EncoderConfig(kind="gradients"))


def test_a_stored_top_network_knows_its_frozen_layers(text_folders, tmp_path):
    task = job(Storage(str(tmp_path)), text_encoder(text_folders["bert"]))
    fitted, _, _ = fit(task, examples(texts(12)))
    encoder = stored(fitted, task)
    assert isinstance(encoder, TopEncoder)
    np.testing.assert_array_equal(
        outputs(encoder, texts(5)), encoder.encode_lower(texts(5), encoder.lower(texts(5)))
    )
