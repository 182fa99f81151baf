"""Encoders of text.

Suffixes: N samples, D embedding dimension, T tokens, V vocabulary.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from tokenizers import Tokenizer
from torch import Tensor

from umc_ray.config.encoder import EncoderConfig
from umc_ray.encoders.encoder import Half, of_pairs, to_device, unit_length
from umc_ray.encoders.precision import autocast, with_precision
from umc_ray.encoders.weights import (
    POOLING_CARD,
    load_tokenizer,
    load_transformers,
    weights_folder,
)
from umc_ray.errors import ConfigError
from umc_ray.methods.text_pair import parts_of

CPU_TOKENS = 1024
"""Tokens of a forward pass on a CPU. What 64 texts of MiniLM pass from layer to layer does not fit
its caches: per text 11.6 CPU ms in one pass, 8.1 in passes of this size; 21.6 and 14.3 if a few
texts are long (one busy core, in turns)."""


class StaticText:
    """Mean of static token vectors: 7,000 short texts a second on one core."""

    column = "text"

    def __init__(self, config: EncoderConfig) -> None:
        folder = weights_folder(config, "model.safetensors", "tokenizer.json")
        vectors_VD = load_file(folder / "model.safetensors")["embedding.weight"]
        self.vectors_VD = torch.from_numpy(vectors_VD.astype(np.float32))
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(config.max_tokens)

    def prepare(self, payload: Any) -> Any:  # noqa: ANN401 - str or bytes, by column
        """Return the text as it is, or those of a pair."""
        return prepared_text(payload)

    def encode(self, prepared: Sequence[Any]) -> Half:
        """Average the vectors of each text's tokens; those of a pair become one embedding."""
        if are_pairs(prepared):
            return of_pairs(self.encode(list(chain.from_iterable(prepared))))
        encodings = self.tokenizer.encode_batch_fast(list(prepared), add_special_tokens=False)
        ids = [encoding.ids for encoding in encodings]
        offsets = np.concatenate([[0], np.cumsum([len(each) for each in ids])[:-1]])
        mean_ND = torch.nn.functional.embedding_bag(
            torch.tensor([token for each in ids for token in each], dtype=torch.int64),
            self.vectors_VD,
            torch.from_numpy(offsets.astype(np.int64)),
            mode="mean",
        )
        return unit_length(mean_ND)


class TransformersText:
    """A text model of transformers, pooled as its folder says."""

    column = "text"

    def __init__(self, config: EncoderConfig) -> None:
        folder = weights_folder(config, "config.json", "*.safetensors")
        self.device = "cuda" if config.num_gpus else "cpu"
        self.autocast = partial(autocast, with_precision(config))
        self.max_tokens = config.max_tokens
        self.prefix = config.prefix
        self.pool = POOLS[pooling_of(folder) if config.pooling == "auto" else config.pooling]
        self.tokenizer = load_tokenizer(config, folder)
        model = load_transformers(config, folder)
        self.model = (model.get_encoder() if model.config.is_encoder_decoder else model).to(
            self.device
        )

    def prepare(self, payload: Any) -> Any:  # noqa: ANN401 - str or bytes, by column
        """Put the prefix before the text, or before both of a pair."""
        return prepared_text(payload, self.prefix)

    @torch.inference_mode()
    def encode(self, prepared: Sequence[Any]) -> Half:
        """Run the model in its precision, on each text by itself."""
        if are_pairs(prepared):
            return of_pairs(self.encode(list(chain.from_iterable(prepared))))
        tokens = self.collate(prepared)
        passes = split_to_fit(tokens) if self.device == "cpu" else [tokens]
        with self.autocast():
            return unit_length(torch.cat([self.embed(each) for each in passes]))

    def collate(self, prepared: Sequence[Any]) -> dict[str, Tensor]:
        """Return the tokens of a batch, padded to its longest text, on the device.

        A fine-tuned network reads both texts of a pair together, the longer one cut first.
        """
        pairs = zip(*prepared, strict=True) if are_pairs(prepared) else (prepared,)
        encoded = self.tokenizer(
            *map(list, pairs),
            padding=True,
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        )
        return {name: to_device(self.device, values) for name, values in encoded.items()}

    def embed(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """Return the embeddings ND of a batch; gradients pass through."""
        hidden_NTD = self.model(**tokens).last_hidden_state
        return self.pool(hidden_NTD, tokens["attention_mask"])


def prepared_text(payload: str, prefix: str = "") -> str | tuple[str, ...]:
    """Return a text with a prefix, or a tuple of those of a pair."""
    parts = parts_of(payload)
    return prefix + payload if len(parts) == 1 else tuple(prefix + part for part in parts)


def are_pairs(prepared: Sequence[Any]) -> bool:
    """Return whether prepared samples are pairs of texts."""
    return bool(prepared) and isinstance(prepared[0], tuple)


def split_to_fit(tokens: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Split a batch into even parts of at most about CPU_TOKENS, each cut to its longest text."""
    count = max(1, math.ceil(tokens["attention_mask"].numel() / CPU_TOKENS))
    for part in zip(*(values.chunk(count) for values in tokens.values()), strict=True):
        named = dict(zip(tokens, part, strict=True))
        longest = max(1, int(named["attention_mask"].sum(1).max()))
        yield {name: values_NT[:, :longest] for name, values_NT in named.items()}


def pool_mean(hidden_NTD: Tensor, mask_NT: Tensor) -> Tensor:
    """Average the tokens of each text; zeros for a text without any."""
    mask_NT1 = mask_NT[:, :, None].to(hidden_NTD.dtype)
    return (hidden_NTD * mask_NT1).sum(1) / mask_NT1.sum(1).clamp_min(1)


def pool_cls(hidden_NTD: Tensor, _: Tensor) -> Tensor:
    """Return the first token, which stands for the text."""
    return hidden_NTD[:, 0]


def pool_last(hidden_NTD: Tensor, mask_NT: Tensor) -> Tensor:
    """Return the last token, which has read all others; zeros for a text without any."""
    lengths_N = mask_NT.sum(1)
    rows_N = torch.arange(len(lengths_N), device=lengths_N.device)
    last_ND = hidden_NTD[rows_N, (lengths_N - 1).clamp_min(0)]
    return last_ND * (lengths_N > 0)[:, None]


POOLS = {"mean": pool_mean, "cls": pool_cls, "last": pool_last}

CARD_MODES = {
    "mean": "mean",
    "mean_tokens": "mean",
    "cls": "cls",
    "cls_token": "cls",
    "lasttoken": "last",
}
"""What sentence-transformers calls these poolings, in its files of today and of before."""


def pooling_of(folder: Path) -> str:
    """Return how a model is pooled: as sentence-transformers' file in its folder says, or mean.

    Raises:
        ConfigError: it says something else than mean, cls or last.
    """
    file = folder / POOLING_CARD
    if not file.exists():
        return "mean"
    card = json.loads(file.read_bytes())
    flags = [name for name, value in card.items() if value is True]
    asked = [name.removeprefix("pooling_mode_") for name in flags if "pooling_mode_" in name]
    asked = [card["pooling_mode"]] if "pooling_mode" in card else asked
    if len(asked) != 1 or asked[0] not in CARD_MODES:
        raise ConfigError(
            f"{file} asks for {' and '.join(asked) or 'no pooling that is known'}: "
            "set pooling to mean, cls or last"
        )
    return CARD_MODES[asked[0]]
