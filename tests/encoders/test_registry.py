"""Suffixes: N samples, D embedding dimension."""

import io

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from tests.tiny import write_encoder
from umc_ray.config.encoder import EncoderConfig
from umc_ray.encoders.registry import encoder_hash, load_encoder
from umc_ray.errors import ConfigError
from umc_ray.ingest import pixels

WORDS = ["good word1 word2", "bad", "", "good good", "unknown words only", "word3 " * 9]


def png(seed, size=(12, 20), mode="L"):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "PNG")
    return file.getvalue()


def static(folder, **settings):
    return EncoderConfig(kind="static_text", path=str(folder), **settings)


def encode(config, payloads):
    encoder = load_encoder(config)
    return encoder.encode([encoder.prepare(payload) for payload in payloads])


@pytest.fixture
def config(kind, weights, transformer):
    path = {"static_text": str(weights), "transformers": str(transformer)}.get(kind)
    return EncoderConfig(kind=kind, path=path)


PAYLOADS = {
    "static_text": WORDS,
    "transformers": WORDS,
    "gradients": [png(i) for i in range(6)],
    "pixels": [png(i, mode=mode) for i, mode in enumerate(["L", "RGB", "RGBA", "P", "1", "LA"])],
}


@pytest.mark.parametrize("kind", PAYLOADS)
def test_an_embedding_does_not_depend_on_its_batch_or_place(kind, config):
    payloads = PAYLOADS[kind]
    together_ND = encode(config, payloads)
    assert together_ND.dtype == np.float16
    assert together_ND.shape[0] == len(payloads)
    order = np.random.default_rng(0).permutation(len(payloads))
    shuffled_ND = encode(config, [payloads[i] for i in order])
    np.testing.assert_allclose(shuffled_ND, together_ND[order], atol=1e-3)
    for payload, embedding_D in zip(payloads, together_ND, strict=True):
        np.testing.assert_allclose(encode(config, [payload])[0], embedding_D, atol=1e-3)


@pytest.mark.parametrize("kind", PAYLOADS)
def test_embeddings_have_length_one_or_are_zero(kind, config):
    lengths_N = np.linalg.norm(encode(config, PAYLOADS[kind]).astype(np.float32), axis=1)
    assert np.all(np.isclose(lengths_N, 1, atol=2e-3) | (lengths_N == 0))
    assert (lengths_N > 0).sum() >= len(lengths_N) - 1  # the empty text has no direction


def test_a_text_is_the_mean_of_its_tokens(weights):
    vectors_VD = load_file(weights / "model.safetensors")["embedding.weight"]
    mean_D = (vectors_VD[1] + vectors_VD[4]) / 2  # good, bad
    expected_D = mean_D / np.linalg.norm(mean_D)
    (found_D,) = encode(static(weights), ["good bad"])
    np.testing.assert_allclose(found_D, expected_D, atol=1e-3)


def test_long_texts_are_cut(weights):
    config = static(weights, max_tokens=2)
    found_ND = encode(config, ["good bad", "good bad word1 word2"])
    np.testing.assert_array_equal(found_ND[0], found_ND[1])


def test_pixels_are_the_image_in_grey():
    config = EncoderConfig(kind="pixels", image_px=8)
    half = Image.new("L", (8, 8))
    half.paste(200, (4, 0, 8, 8))
    file = io.BytesIO()
    half.save(file, "PNG")
    (found_D,) = encode(config, [file.getvalue()])
    expected_HW = np.tile([0, 0, 0, 0, 1, 1, 1, 1], (8, 1)) / np.sqrt(32)
    np.testing.assert_allclose(found_D.reshape(8, 8), expected_HW, atol=1e-3)


def test_a_hash_covers_what_decides_the_numbers_and_nothing_else(weights, tmp_path):
    def hashed(path=weights, **settings):
        return encoder_hash(static(path, **settings))

    same = hashed()
    assert hashed(batch_size=3, workers=2, num_gpus=0.5) == same
    write_encoder(tmp_path / "copy")
    assert hashed(tmp_path / "copy") == same
    write_encoder(tmp_path / "other", seed=1)
    others = {hashed(tmp_path / "other"), hashed(max_tokens=9), same}
    assert len(others) == 3


def test_features_of_images_made_under_other_rules_are_not_used(weights, monkeypatch):
    images, texts = EncoderConfig(kind="pixels"), static(weights)
    before = encoder_hash(images), encoder_hash(texts)
    monkeypatch.setattr(pixels, "VERSION", "another")
    assert encoder_hash(images) != before[0]
    assert encoder_hash(texts) == before[1]


def test_features_of_earlier_versions_are_found_again():
    assert encoder_hash(EncoderConfig(kind="gradients")) == "2243786f605770d8"
    assert encoder_hash(EncoderConfig(kind="pixels", image_px=8)) == "f9f0c16cb5152a5f"


@pytest.mark.parametrize("missing", ["model.safetensors", "tokenizer.json"])
def test_missing_weights_are_named(tmp_path, missing):
    write_encoder(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(ConfigError, match=f"static_text: {missing} not found in folder {tmp_path}"):
        load_encoder(static(tmp_path))


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(ConfigError, match="none is not a folder"):
        encoder_hash(static(tmp_path / "none"))
