"""Suffixes: N samples, D embedding dimension."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from umc_ray.config.encoder import EncoderConfig
from umc_ray.demo.fetch import cache_dir
from umc_ray.encoders import precision
from umc_ray.encoders.precision import cpu_has_bf16, precision_of, with_precision
from umc_ray.encoders.registry import encoder_hash, load_encoder

TEXTS = ["good word1 word2", "bad", "", "fine poor sad word3 word4"]
MIN_COSINE = 0.999


@pytest.fixture
def on_processor(monkeypatch):
    """Returns a function that sets whether the processor has instructions for bfloat16."""
    return lambda fast: monkeypatch.setattr(precision, "cpu_has_bf16", lambda: fast)


def network(path, **settings):
    return EncoderConfig(kind="transformers", path=str(path), **settings)


def encode(config, texts):
    return load_encoder(config).encode(texts)


def cosines(texts, path, **settings):
    """The cosine of each text's embeddings in both precisions."""
    single_ND, half_ND = (
        encode(network(path, precision=each, **settings), texts).astype(np.float32)
        for each in ("fp32", "bf16")
    )
    assert not np.array_equal(single_ND, half_ND)
    return (single_ND * half_ND).sum(1)


@pytest.mark.parametrize(
    ("settings", "fast", "expected"),
    [
        ({}, False, "fp32"),
        ({}, True, "bf16"),
        ({"num_gpus": 0.5}, False, "bf16"),
        ({"num_gpus": 1, "precision": "fp32"}, True, "fp32"),
        ({"precision": "bf16"}, False, "bf16"),
    ],
)
def test_auto_is_what_is_fast_where_it_runs(on_processor, settings, fast, expected):
    on_processor(fast)
    assert precision_of(network("x", **settings)) == expected
    assert with_precision(network("x", **settings)).precision == expected


@pytest.mark.parametrize(
    ("instructions", "expected"), [((), False), (("avx512_bf16",), True), (("amx_tile",), True)]
)
def test_a_processor_is_fast_with_either_kind_of_instructions(monkeypatch, instructions, expected):
    for name in ("avx512_bf16", "amx_tile"):
        found = name in instructions
        monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda found=found: found)
    assert cpu_has_bf16() is expected


def test_a_known_precision_decides_auto_and_nothing_else(on_processor):
    on_processor(True)
    assert with_precision(network("x"), "fp32").precision == "fp32"
    assert with_precision(network("x", precision="bf16"), "fp32").precision == "bf16"
    pixels = EncoderConfig(kind="pixels", num_gpus=1)
    assert with_precision(pixels, "bf16") == pixels


def test_features_of_two_precisions_are_told_apart(transformer, on_processor):
    on_processor(False)
    single, half = (encoder_hash(network(transformer, precision=p)) for p in ("fp32", "bf16"))
    assert single != half
    assert encoder_hash(network(transformer)) == single
    on_processor(True)
    assert encoder_hash(network(transformer)) == half


def test_the_processor_does_not_change_features_without_a_network(weights, on_processor):
    configs = [
        EncoderConfig(kind="gradients"),
        EncoderConfig(kind="static_text", path=str(weights), num_gpus=1),
    ]
    on_processor(False)
    before = [encoder_hash(config) for config in configs]
    on_processor(True)
    assert [encoder_hash(config) for config in configs] == before


def test_an_encoder_keeps_the_precision_that_it_was_loaded_with(transformer, on_processor):
    half_ND = encode(network(transformer, precision="bf16"), TEXTS)
    on_processor(True)
    config = network(transformer, workers=3)  # no other test has it loaded
    loaded = load_encoder(config)
    on_processor(False)
    np.testing.assert_array_equal(loaded.encode(TEXTS), half_ND)


def test_both_precisions_say_nearly_the_same(transformer):
    assert cosines(TEXTS, transformer).min() > MIN_COSINE


def test_both_precisions_of_minilm_say_nearly_the_same_of_real_texts():
    folder = cache_dir() / "models" / "all-minilm-l6-v2"
    files = sorted(cache_dir().glob("demo/*/sentiment/*.parquet"))
    if not folder.exists() or not files:
        pytest.skip("MiniLM and the demo's texts are not in the cache: `make demo` fetches them")
    texts = [text for file in files for text in pq.read_table(file)["text"].to_pylist()[:8]]
    assert cosines(texts, folder, max_tokens=64).min() > MIN_COSINE
