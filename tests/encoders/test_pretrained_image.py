"""Tiny networks with random weights, saved as a hub has them, against transformers itself.

Suffixes: N images, D embedding dimension.
"""

import json
import sys

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.encoders.images import noise, png
from umc_ray.config.encoder import EncoderConfig
from umc_ray.encoders import pretrained_image
from umc_ray.encoders.efficientnet_lite import EfficientNetLite0
from umc_ray.encoders.registry import ENCODERS, encoder_hash
from umc_ray.errors import ConfigError
from umc_ray.ingest.pixels import decode_rgb

IMAGES = [noise(i, size) for i, size in enumerate([(40, 56), (30, 30), (64, 20)])]
VIT = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
TOWER = {"num_hidden_layers": 2, "image_size": 32, "patch_size": 8, **VIT}
TEXT = {"num_hidden_layers": 1, "vocab_size": 9, "max_position_embeddings": 8, **VIT}
STAGES = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 16, 16]}

MODELS = {
    "vit": lambda: hf.ViTModel(hf.ViTConfig(**TOWER)),
    "dinov2": lambda: hf.Dinov2Model(hf.Dinov2Config(**TOWER)),
    "registers": lambda: hf.Dinov2WithRegistersModel(
        hf.Dinov2WithRegistersConfig(num_register_tokens=3, **TOWER)
    ),
    "clip_tower": lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**TOWER)),
    "clip": lambda: hf.CLIPModel(hf.CLIPConfig(vision_config=TOWER, text_config=TEXT)),
    "siglip_tower": lambda: hf.SiglipVisionModel(hf.SiglipVisionConfig(**TOWER)),
    "siglip": lambda: hf.SiglipModel(hf.SiglipConfig(vision_config=TOWER, text_config=TEXT)),
    "resnet": lambda: hf.ResNetModel(hf.ResNetConfig(embedding_size=8, **STAGES)),
    "convnext": lambda: hf.ConvNextModel(hf.ConvNextConfig(**STAGES)),
    "swin": lambda: hf.SwinModel(
        hf.SwinConfig(
            image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4
        )
    ),
}
OWN = {"clip", "clip_tower", "siglip", "siglip_tower", "resnet", "convnext", "swin", "dinov2"}
"""Models that pool themselves; the others have a CLS token."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Every model, saved with a processor that resizes, crops and scales as CLIP's does."""
    processor = hf.CLIPImageProcessorPil(
        size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32}
    )
    folders = {}
    for name, make in MODELS.items():
        torch.manual_seed(0)
        folders[name] = tmp_path_factory.mktemp(name)
        make().save_pretrained(folders[name])
        processor.save_pretrained(folders[name])
    return folders


def encoder(folder, kind="transformers_image", **settings):
    """An encoder in float32: by default, some processors would have it in bfloat16."""
    return ENCODERS[kind](EncoderConfig(kind=kind, path=str(folder), precision="fp32", **settings))


def encode(model, payloads):
    return model.encode([model.prepare(payload) for payload in payloads])


def direct(folder, payloads):
    """What transformers returns for the images, without our code."""
    processor = hf.AutoImageProcessor.from_pretrained(folder, backend="pil")
    model = hf.AutoModel.from_pretrained(folder).eval()
    images = [decode_rgb(payload) for payload in payloads]
    with torch.inference_mode():
        return getattr(model, "vision_model", model)(
            **processor(images=images, return_tensors="pt")
        )


def assert_alike(found_ND, expected_ND):
    expected_ND = torch.nn.functional.normalize(expected_ND, dim=1).numpy()
    assert found_ND.dtype == np.float16
    np.testing.assert_allclose(found_ND, expected_ND, atol=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_auto_is_what_the_model_pools_itself_or_cls(folders, name):
    output = direct(folders[name], IMAGES)
    expected = output.pooler_output if name in OWN else output.last_hidden_state[:, 0]
    assert_alike(encode(encoder(folders[name]), IMAGES), expected.flatten(1))


@pytest.mark.parametrize(
    ("name", "leading"),
    [("vit", 1), ("registers", 4), ("clip", 1), ("siglip", 0), ("swin", 0)],
)
def test_the_mean_is_over_the_patches_alone(folders, name, leading):
    hidden = direct(folders[name], IMAGES).last_hidden_state
    found_ND = encode(encoder(folders[name], pooling="mean"), IMAGES)
    assert_alike(found_ND, hidden[:, leading:].mean(1))


def test_the_mean_of_a_convolution_is_over_its_places(folders):
    hidden = direct(folders["convnext"], IMAGES).last_hidden_state
    found_ND = encode(encoder(folders["convnext"], pooling="mean"), IMAGES)
    assert_alike(found_ND, hidden.mean((2, 3)))


@pytest.mark.parametrize("name", ["clip", "registers"])
def test_cls_is_the_first_token(folders, name):
    hidden = direct(folders[name], IMAGES).last_hidden_state
    assert_alike(encode(encoder(folders[name], pooling="cls"), IMAGES), hidden[:, 0])


@pytest.mark.parametrize("name", ["siglip", "resnet", "swin"])
def test_cls_of_a_model_without_one_is_refused(folders, name):
    with pytest.raises(ConfigError, match="has no CLS token"):
        encoder(folders[name], pooling="cls")


@pytest.mark.parametrize("name", ["vit", "clip", "resnet"])
def test_an_embedding_does_not_depend_on_its_batch(folders, name):
    model = encoder(folders[name])
    together_ND = encode(model, IMAGES)
    alone_ND = np.concatenate([encode(model, [payload]) for payload in IMAGES])
    np.testing.assert_allclose(together_ND, alone_ND, atol=1e-3)


def test_colors_matter(folders):
    red, blue = (png(Image.new("RGB", (40, 40), color)) for color in ("#c82828", "#2828c8"))
    found_ND = encode(encoder(folders["vit"]), [red, blue]).astype(np.float32)
    assert np.linalg.norm(found_ND[0] - found_ND[1]) > 0.01


def test_weights_that_are_not_in_the_folder_are_not_made_up(folders, tmp_path):
    copy = _copied(folders["vit"], tmp_path)
    tensors = load_file(copy / "model.safetensors")
    lost = next(name for name in tensors if "pooler" not in name)
    del tensors[lost]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=f"lack 1 tensors of ViTModel, such as {lost}"):
        encoder(copy)


def test_pickled_weights_are_not_opened(folders, tmp_path):
    copy = _copied(folders["vit"], tmp_path)
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"transformers_image: \*.safetensors not found"):
        encoder(copy)


def test_a_folder_without_a_processor_is_named(folders, tmp_path):
    copy = _copied(folders["vit"], tmp_path)
    (copy / "preprocessor_config.json").unlink()
    with pytest.raises(ConfigError, match=f"transformers_image: {copy}"):
        encoder(copy)


def _copied(folder, target):
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


@pytest.fixture
def lite(tmp_path):
    """EfficientNet-Lite0 with random weights, as timm stores it."""
    torch.manual_seed(0)
    network = EfficientNetLite0()
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):  # as they come, nothing would be left at the end
            torch.nn.init.kaiming_normal_(layer.weight)
    tensors = network.state_dict()
    tensors["classifier.weight"], tensors["classifier.bias"] = torch.ones(9, 1280), torch.ones(9)
    save_file(tensors, tmp_path / "model.safetensors")
    trained = {"input_size": [3, 64, 64], "mean": [0.5, 0.4, 0.3], "std": [0.5, 0.2, 0.1]}
    config = {"architecture": "tf_efficientnet_lite0", "num_classes": 9, "pretrained_cfg": trained}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def test_efficientnet_lite_scales_images_as_its_config_says(lite):
    model = encoder(lite, "efficientnet_lite")
    found_ND = encode(model, IMAGES)
    assert found_ND.shape == (3, 1280)
    small = decode_rgb(IMAGES[0]).resize((64, 64), Image.Resampling.BICUBIC)
    pixels = (torch.tensor(np.array(small)) / 255 - torch.tensor([0.5, 0.4, 0.3])) / torch.tensor(
        [0.5, 0.2, 0.1]
    )
    with torch.inference_mode():
        assert_alike(found_ND[:1], model.model(pixels.permute(2, 0, 1)[None]))


def test_a_batch_is_split_into_passes_that_fit_a_processor(lite, monkeypatch):
    model, sizes = encoder(lite, "efficientnet_lite", image_px=32), []
    together_ND = encode(model, IMAGES)
    model.model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    encode(model, IMAGES)
    monkeypatch.setattr(pretrained_image, "CPU_PIXELS", 2 * 32 * 32)
    np.testing.assert_allclose(encode(model, IMAGES), together_ND, atol=1e-3)
    assert sizes == [3, 2, 1]


def test_efficientnet_lite_takes_smaller_images(lite):
    assert encoder(lite, "efficientnet_lite", image_px=32).prepare(IMAGES[0]).shape == (32, 32, 3)


def test_another_network_is_not_taken_for_efficientnet_lite(lite):
    config = (lite / "config.json").read_text().replace("tf_efficientnet_lite0", "resnet18")
    (lite / "config.json").write_text(config)
    with pytest.raises(ConfigError, match="holds resnet18, not tf_efficientnet_lite0"):
        encoder(lite, "efficientnet_lite")


def test_the_hash_of_features_tells_sizes_and_poolings_apart(lite):
    def hashed(kind, **settings):
        return encoder_hash(EncoderConfig(kind=kind, path=str(lite), **settings))

    told = {
        hashed("efficientnet_lite"),
        hashed("efficientnet_lite", image_px=96),
        hashed("timm"),
        hashed("transformers_image"),
        hashed("transformers_image", pooling="mean"),
    }
    assert len(told) == 5


def test_timm_gives_what_our_network_gives(lite):
    pytest.importorskip("timm", exc_type=(ImportError, RuntimeError))
    square = [noise(i, (64, 64)) for i in range(3)]
    config = json.loads((lite / "config.json").read_text())
    config["pretrained_cfg"] |= {"crop_pct": 1.0, "interpolation": "bicubic"}
    config["pretrained_cfg"] |= {"classifier": "classifier", "first_conv": "conv_stem"}
    (lite / "config.json").write_text(json.dumps(config))
    found_ND = encode(encoder(lite, "timm"), square)
    np.testing.assert_allclose(
        found_ND, encode(encoder(lite, "efficientnet_lite"), square), atol=2e-3
    )


def test_timm_that_is_not_installed_is_named(lite, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match="cannot import timm"):
        encoder(lite, "timm")
