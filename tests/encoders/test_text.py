"""Suffixes: N samples, T tokens, D embedding dimension."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import AutoModel, LlamaConfig, LlamaModel, PreTrainedTokenizerFast

from tests.tiny import write_encoder
from umc_ray.config.encoder import EncoderConfig
from umc_ray.encoders import text as texts
from umc_ray.encoders.text import StaticText, TransformersText, pooling_of
from umc_ray.errors import ConfigError
from umc_ray.methods.text_pair import joined

TEXTS = ["good word1 word2", "bad", "fine poor sad word3 word4"]


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    """A model made to write: it reads from left to right, ends with [END], has no padding token."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("writer")
    write_encoder(folder / "words")
    words = Tokenizer.from_file(str(folder / "words" / "tokenizer.json"))
    words.add_special_tokens(["[END]"])
    last = ("[END]", words.token_to_id("[END]"))
    words.post_processor = TemplateProcessing(single="$A [END]", special_tokens=[last])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="[END]", padding_side="left"
    )
    tokenizer.save_pretrained(folder)
    size = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=words.get_vocab_size(), num_hidden_layers=2, **size)
    LlamaModel(config).save_pretrained(folder)
    return folder


def encoder(folder, **settings):
    return TransformersText(EncoderConfig(kind="transformers", path=str(folder), **settings))


def encode(model, texts):
    return model.encode([model.prepare(text) for text in texts])


def direct(folder, text):
    """The hidden states of one text, T x D, without our code."""
    words = Tokenizer.from_file(str(folder / "words" / "tokenizer.json"))
    ids = [*words.encode(text).ids, words.get_vocab_size()]
    with torch.inference_mode():
        return AutoModel.from_pretrained(folder)(torch.tensor([ids])).last_hidden_state[0]


POOLED = {
    "mean": lambda hidden_TD: hidden_TD.mean(0),
    "cls": lambda hidden_TD: hidden_TD[0],
    "last": lambda hidden_TD: hidden_TD[-1],
}


@pytest.mark.parametrize("pooling", POOLED)
def test_a_pooling_takes_its_tokens_of_each_text_in_a_batch(writer, pooling):
    found_ND = encode(encoder(writer, pooling=pooling), TEXTS)
    for text, found_D in zip(TEXTS, found_ND, strict=True):
        expected_D = POOLED[pooling](direct(writer, text))
        np.testing.assert_allclose(found_D, expected_D / expected_D.norm(), atol=1e-3)


def test_a_batch_is_split_into_passes_that_fit_a_processor(writer, monkeypatch):
    model, sizes = encoder(writer), []
    together_ND = encode(model, TEXTS)
    model.model.register_forward_pre_hook(
        lambda _, args, given: sizes.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    encode(model, TEXTS)
    monkeypatch.setattr(texts, "CPU_TOKENS", 12)  # the batch has three texts of six tokens
    np.testing.assert_allclose(encode(model, TEXTS), together_ND, atol=1e-3)
    assert sizes == [(3, 6), (2, 4), (1, 6)]


def test_a_prefix_is_read_before_each_text(writer):
    with_prefix_ND = encode(encoder(writer, prefix="great word9 "), TEXTS)
    longer = [f"great word9 {text}" for text in TEXTS]
    np.testing.assert_array_equal(with_prefix_ND, encode(encoder(writer), longer))


def test_a_long_text_keeps_its_last_special_token(writer):
    model = encoder(writer, pooling="last", max_tokens=3)
    np.testing.assert_allclose(
        *encode(model, ["good bad", "good bad word1 word2 word3"]), atol=1e-3
    )


@pytest.mark.parametrize(
    ("card", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_mean_tokens": True, "include_prompt": True}, "mean"),
        ({"pooling_mode_lasttoken": True, "word_embedding_dimension": 8}, "last"),
        ({"pooling_mode": "lasttoken", "include_prompt": True}, "last"),
        (None, "mean"),
    ],
)
def test_auto_is_the_pooling_of_the_models_card(tmp_path, card, pooling):
    if card is not None:
        (tmp_path / "1_Pooling").mkdir()
        (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(card))
    assert pooling_of(tmp_path) == pooling


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ({"pooling_mode_max_tokens": True}, "asks for max_tokens: set pooling"),
        ({"pooling_mode": "weightedmean"}, "asks for weightedmean: set pooling"),
        (
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
            "cls_token and mean_tokens: set pooling",
        ),
        ({}, "no pooling that is known: set pooling"),
    ],
)
def test_a_pooling_that_we_have_not_is_named(tmp_path, card, said):
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(card))
    with pytest.raises(ConfigError, match=said):
        pooling_of(tmp_path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "gradients", "pooling": "mean"}, "has no pooling mean"),
        ({"kind": "transformers_image", "path": "x", "pooling": "last"}, "has no pooling last"),
        ({"kind": "static_text", "path": "x", "prefix": "query: "}, "does not use a prefix"),
        ({"kind": "static_text", "path": "x", "precision": "bf16"}, "has no network"),
        ({"kind": "timm", "path": "x", "image_px": 96}, "knows its image size"),
        ({"kind": "efficientnet_lite"}, "needs path"),
    ],
)
def test_a_setting_that_a_kind_would_ignore_is_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        EncoderConfig(**settings)


@pytest.mark.parametrize("of", ["static", "transformers"])
def test_a_pair_is_both_embeddings_their_distance_and_their_product(writer, of):
    config = EncoderConfig(kind="static_text", path=str(writer / "words"))
    model = StaticText(config) if of == "static" else encoder(writer, prefix="word5 ")
    pairs = [("good word1", "bad"), ("fine", "poor sad word3 word4")]
    found_ND = encode(model, [joined(pair) for pair in pairs]).astype(float)
    for pair, found_D in zip(pairs, found_ND, strict=True):
        u_D, v_D = encode(model, pair).astype(float)
        expected_D = np.concatenate([u_D, v_D, abs(u_D - v_D), u_D * v_D])
        expected_D /= np.linalg.norm(expected_D)
        np.testing.assert_allclose(found_D, expected_D, atol=2e-3)


def test_a_fine_tuned_network_reads_both_texts_together(writer):
    model = encoder(writer, max_tokens=6)
    pairs = [("good word1", "bad"), ("fine", "poor sad word3 word4 word5")]
    found = model.collate([model.prepare(joined(pair)) for pair in pairs])
    expected = model.tokenizer(
        [pair[0] for pair in pairs],
        [pair[1] for pair in pairs],
        padding=True,
        truncation=True,
        max_length=6,
    )
    assert found["input_ids"].tolist() == expected["input_ids"]
    assert found["attention_mask"].sum(1).tolist() == [3, 6]
