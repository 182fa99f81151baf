"""Small encoders of text, with random weights."""

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from tests.tiny import write_encoder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    write_encoder(folder)
    return folder


@pytest.fixture(scope="module")
def transformer(weights, tmp_path_factory):
    """A BERT of one layer with random weights, over the words of the static vectors."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("transformer")
    words = Tokenizer.from_file(str(weights / "tokenizer.json"))
    words.add_special_tokens(["[CLS]", "[PAD]"])
    first = ("[CLS]", words.token_to_id("[CLS]"))
    words.post_processor = TemplateProcessing(single="[CLS] $A", special_tokens=[first])
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]").save_pretrained(folder)
    size = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2}
    config = BertConfig(vocab_size=words.get_vocab_size(), num_hidden_layers=1, **size)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder
