"""Tiny pretrained networks with random weights, saved as a hub has them."""

import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing

from tests.tiny import BAD, GOOD, PLAIN, write_encoder

SIZE = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
VIT = {"num_hidden_layers": 3, "image_size": 32, "patch_size": 8, **SIZE}
DISTIL = {"dim": 16, "hidden_dim": 16, "n_heads": 2, "n_layers": 3}
NO_PADDING = {"pad_token_id": 0, "max_position_embeddings": 64}

TEXT = {
    "bert": lambda words: hf.BertModel(
        hf.BertConfig(vocab_size=words, num_hidden_layers=3, **SIZE), add_pooling_layer=False
    ),
    "distilbert": lambda words: hf.DistilBertModel(hf.DistilBertConfig(vocab_size=words, **DISTIL)),
    "modernbert": lambda words: hf.ModernBertModel(
        hf.ModernBertConfig(
            vocab_size=words, num_hidden_layers=3, pad_token_id=0, cls_token_id=0, **SIZE
        )
    ),
    "llama": lambda words: hf.LlamaModel(
        hf.LlamaConfig(vocab_size=words, num_hidden_layers=3, **SIZE)
    ),
}
T5 = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "dropout_rate": 0.0}
LLAMA = {"num_hidden_layers": 2, "max_position_embeddings": 64, **SIZE}
WRITERS = {
    "t5": lambda words: hf.T5ForConditionalGeneration(
        hf.T5Config(
            vocab_size=words, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0, **T5
        )
    ),
    "llama": lambda words: hf.LlamaForCausalLM(hf.LlamaConfig(vocab_size=words, **LLAMA)),
}
IMAGE = {
    "vit": lambda: hf.ViTModel(hf.ViTConfig(**VIT), add_pooling_layer=False),
    "dinov2": lambda: hf.Dinov2Model(hf.Dinov2Config(**VIT)),
    "resnet": lambda: hf.ResNetModel(
        hf.ResNetConfig(embedding_size=8, depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 16, 16])
    ),
}


def write_text_network(folder, name="bert"):
    """Save a language model over the words of the tiny campaigns."""
    torch.manual_seed(0)
    write_encoder(folder / "words")
    words = Tokenizer.from_file(str(folder / "words" / "tokenizer.json"))
    words.add_special_tokens(["[CLS]", "[PAD]"])
    first = ("[CLS]", words.token_to_id("[CLS]"))
    words.post_processor = TemplateProcessing(single="[CLS] $A", special_tokens=[first])
    hf.PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="[PAD]",
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
    TEXT[name](words.get_vocab_size()).save_pretrained(folder)
    return folder


def write_writer(folder, name="t5"):
    """Save a model that writes the words of the tiny campaigns."""
    torch.manual_seed(0)
    vocabulary = ["[PAD]", "[END]", "[UNK]", *GOOD, *BAD, *PLAIN]
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, "[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    hf.PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="[PAD]",
        eos_token="[END]",
        unk_token="[UNK]",
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
    WRITERS[name](words.get_vocab_size()).save_pretrained(folder)
    return folder


def write_image_network(folder, name="vit"):
    """Save a vision model with a processor."""
    torch.manual_seed(0)
    IMAGE[name]().save_pretrained(folder)
    hf.CLIPImageProcessorPil(
        size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32}
    ).save_pretrained(folder)
    return folder
